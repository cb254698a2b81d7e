"""Damaged models at the doors of the real process: a clear word, and everybody else is served."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from molva.runtime.loading import sample_speech
from tests.e2e.conftest import Process, molva_serve, run_molva
from tests.http.conftest import wav

SPEECH = wav(sample_speech())
SERVED, DAMAGED = "gigaam-v3-ctc", "gigaam-v3-rnnt"
MESSAGE = "Model file 'v3_rnnt_joint.onnx': is damaged or not an ONNX graph. `molva models verify` says"


@pytest.fixture
def models(tiny_dir: Path, tmp_path: Path) -> Path:
    """One model that is sound, and one whose joint is not."""
    folder = shutil.copytree(tiny_dir, tmp_path / "models")
    (folder / "v3_rnnt_joint.onnx").write_bytes(b"damage" * 1000)
    return folder


@pytest.fixture
def server(models: Path, tmp_path: Path) -> Iterator[Process]:
    arguments: list[str | Path] = [
        "--port",
        "0",
        "--model-dir",
        models,
        "--model",
        SERVED,
        "--precision",
        "fp32",
        "--max-models",
        "2",
    ]
    with molva_serve(*arguments, home=tmp_path) as process:
        yield process


def transcribe(url: str, model: str) -> httpx2.Response:
    return httpx2.post(
        f"{url}/v1/audio/transcriptions", files={"file": ("a.wav", SPEECH)}, data={"model": model}, timeout=60
    )


@pytest.mark.slow
def test_who_asks_for_a_damaged_model_is_told_and_the_others_are_served(server: Process) -> None:
    url = server.url()
    for _ in range(2):
        refused = transcribe(url, DAMAGED)
        assert refused.status_code == 503
        assert MESSAGE in refused.json()["error"]["message"]
        assert transcribe(url, SERVED).status_code == 200
    told = httpx2.post(f"{url}/model/load?model={DAMAGED}")
    assert (told.status_code, told.json()) == (202, {"status": "load_initiated"})
    assert transcribe(url, DAMAGED).status_code == 503  # waits for that attempt
    assert [model["id"] for model in httpx2.get(f"{url}/model/status").json()["models"]] == [SERVED]
    assert httpx2.get(f"{url}/ready").status_code == 200
    assert httpx2.get(f"{url}/v1/models").status_code == 200
    assert MESSAGE in "".join(server.errors)
    assert "Traceback" not in "".join(server.errors)


@pytest.mark.parametrize("lifecycle", ["eager", "lazy"])
def test_a_server_of_a_damaged_model_ends_with_its_name(models: Path, tmp_path: Path, lifecycle: str) -> None:
    arguments: list[str | Path] = ["--port", "0", "--model-dir", models, "--model", DAMAGED, "--lifecycle", lifecycle]
    ended = run_molva("serve", *arguments, "--precision", "fp32", home=tmp_path)
    assert ended.returncode == 1
    assert ended.stdout == b""
    assert "v3_rnnt_joint.onnx" in (words := " ".join(ended.stderr.decode().split()))
    assert "`molva models verify`" in words
    assert "Traceback" not in words
