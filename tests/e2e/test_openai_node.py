"""OpenAI's own client for Node, unmodified, against a real server with real speech. npm fetches it first."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import srt
import webvtt

from tests.conftest import SEEN, TINY
from tests.e2e.conftest import molva_serve
from tests.examples.test_examples import node
from tests.http.openai.realtime import pcm24
from tests.http.wsclient import silence
from tests.speaker_models import write_speaker_models

__all__ = ["node"]

pytestmark = [pytest.mark.slow, pytest.mark.node, pytest.mark.network]

PACKAGE = Path(__file__).parent / "node"
CLIP = SEEN[0]
SPOKEN = next(clip for clip in SEEN if clip.path.stem == "ru_0537")
LONG = TINY / "unseen" / "long.flac"
KEY = "sesame"


@pytest.fixture(scope="module")
def program(node: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The script beside the packages that its lock file pins by their hashes."""
    folder = tmp_path_factory.mktemp("node")
    shutil.copytree(PACKAGE, folder, dirs_exist_ok=True)
    npm = Path(node).parent.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    # Registries behind a company's proxy are signed by a certificate that the system knows, and Node does not.
    command = [node, "--use-system-ca", str(npm), "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=180, check=False)
    assert result.returncode == 0, (
        "npm could not fetch the openai package. This test needs npm's registry or a mirror of it (npm config set "
        f"registry ADDRESS); without one, leave it out: make test ARGS='-m \"not network\"'\n{result.stderr}"
    )
    return folder / "ask.mjs"


@pytest.fixture(scope="module")
def url(tiny_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    models = tmp_path_factory.mktemp("models")
    for file in filter(Path.is_file, tiny_dir.iterdir()):
        (models / file.name).hardlink_to(file)
    write_speaker_models(models)
    flags = ("--port", "0", "--model", "gigaam-v3-rnnt", "--model-dir", models, "--precision", "fp32")
    with molva_serve(*flags, home=tmp_path_factory.mktemp("home"), MOLVA_API_KEY=KEY) as process:
        yield f"{process.url()}/v1"
        assert process.stop() == 0


@pytest.mark.parametrize("transport", ["ws", "websocket"])
def test_live_speech_is_transcribed_over_both_of_its_transports(
    node: str, program: Path, url: str, tmp_path: Path, transport: str
) -> None:
    """The key comes as a header, and as a subprotocol."""
    audio = tmp_path / "speech.pcm"
    audio.write_bytes(pcm24(SPOKEN.samples, silence(1)))
    result = subprocess.run(
        [node, program.with_name("hear.mjs"), url, KEY, audio, transport],
        env={**os.environ, "NODE_EXTRA_CA_CERTS": str(PACKAGE / "localhost.pem")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert json.loads(result.stdout) == {"transcript": SPOKEN.rnnt, "deltas": SPOKEN.rnnt}


@pytest.fixture(scope="module")
def told(node: str, program: Path, url: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """All that the client was answered."""
    junk = tmp_path_factory.mktemp("junk") / "junk.wav"
    junk.write_bytes(b"not audio")
    result = subprocess.run(
        [node, program, url, KEY, CLIP.path, LONG, junk], capture_output=True, text=True, timeout=120, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")
    answers: dict[str, Any] = json.loads(result.stdout)
    return answers


def test_a_clip_is_what_was_said(told: dict[str, Any]) -> None:
    assert told["clip"]["text"] == CLIP.rnnt
    assert "".join(token["token"] for token in told["clip"]["logprobs"]) == CLIP.rnnt


def test_every_format(told: dict[str, Any]) -> None:
    formats = told["formats"]
    text = formats["json"]["text"]
    assert formats["text"] == text
    assert formats["verbose_json"]["text"] == formats["diarized_json"]["text"] == text
    assert " ".join(segment["text"] for segment in formats["verbose_json"]["segments"]) == text
    cues = list(srt.parse(formats["srt"], ignore_errors=False))
    assert " ".join(cue.content for cue in cues) == text
    assert len(webvtt.from_string(formats["vtt"]).captions) == len(cues)


def test_lists_and_objects_in_the_form_are_understood(told: dict[str, Any]) -> None:
    assert " ".join(word["word"] for word in told["words"]["words"]) == CLIP.rnnt
    assert "segments" not in told["words"]
    assert told["cut"]["text"] != told["formats"]["json"]["text"]


@pytest.mark.parametrize("name", ["stream", "speakers"])
def test_deltas_are_the_text_of_the_whole_answer(told: dict[str, Any], name: str) -> None:
    *events, done = told[name]
    deltas = [event["delta"] for event in events if event["type"] == "transcript.text.delta"]
    assert len(deltas) > 5
    assert "".join(deltas) == done["text"] == told["formats"]["json"]["text"]
    assert done["type"] == "transcript.text.done"


def test_models(told: dict[str, Any]) -> None:
    assert told["listed"][0] == "gigaam-v3-rnnt"
    assert told["retrieved"] == "whisper-1"


@pytest.mark.parametrize(
    ("name", "kind", "status", "param", "code"),
    [
        ("key", "AuthenticationError", 401, None, "invalid_api_key"),
        ("model", "BadRequestError", 400, "model", None),
        ("file", "BadRequestError", 400, "file", None),
        ("stream", "BadRequestError", 400, "file", None),
        ("strategy", "BadRequestError", 400, "chunking_strategy", None),
        ("missing", "NotFoundError", 404, "model", "model_not_found"),
        ("translation", "BadRequestError", 400, "model", "unsupported_operation"),
    ],
)
def test_errors_are_the_clients_own(
    told: dict[str, Any], name: str, kind: str, status: int, param: str | None, code: str | None
) -> None:
    error = {"kind": kind, "status": status, "param": param, "code": code, "type": "invalid_request_error"}
    assert told["refusals"][name] == error
