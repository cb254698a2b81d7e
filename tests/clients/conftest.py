"""Programs of others, run as they are by a Python of their own against a real server."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from tests.conftest import SEEN
from tests.e2e.conftest import environment, molva_serve
from tests.http.conftest import wav

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
KEY = "sk-asked-for-by-the-server"

# Silero finds the pause in it where both frameworks cut it, and the model knows both halves.
CLIP = next(clip for clip in SEEN if clip.path.stem == "ru_0537")

Run = Callable[[str, str], dict[str, Any]]


@pytest.fixture(scope="session")
def clients_python() -> Path:
    """The Python of .venv-clients, which is made where it is not there or not up to date."""
    with FileLock(ROOT / ".venv-clients.lock"):
        made = subprocess.run(
            [ROOT / "scripts" / "bootstrap-clients", sys.executable], capture_output=True, text=True, check=False
        )
    if made.returncode != 0:
        pytest.fail(
            "scripts/bootstrap-clients could not make .venv-clients, which needs a package index once. "
            f"`make test ARGS=\"-m 'not clients'\"` goes without.\n{made.stdout}{made.stderr}",
            pytrace=False,
        )
    return ROOT / ".venv-clients" / "bin" / "python"


@pytest.fixture(scope="module")
def base_url(tiny_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    flags = ("--port", "0", "--model", "gigaam-v3-rnnt", "--model-dir", tiny_dir, "--precision", "fp32")
    with molva_serve(*flags, home=tmp_path_factory.mktemp("server"), MOLVA_API_KEY=KEY) as process:
        yield f"{process.url()}/v1"
        process.stop()


@pytest.fixture
def run(clients_python: Path, base_url: str, tmp_path: Path) -> Run:
    """Say CLIP to the server by a variant of a driver, and give back what the driver tells."""

    def run(driver: str, variant: str) -> dict[str, Any]:
        recording = tmp_path / "speech.wav"
        recording.write_bytes(wav(CLIP.samples))
        words = str(len(CLIP.rnnt.split()))
        result = subprocess.run(
            [clients_python, HERE / f"{driver}.py", variant, base_url, KEY, recording, words],
            env=environment(tmp_path),
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        heard: dict[str, Any] = json.loads(result.stdout)
        return heard

    return run
