"""The life of the model in the real process: lazily loaded, unloaded when idle, and its memory given back."""

import platform
import re
import resource
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from molva.runtime.loading import sample_speech
from tests.e2e.conftest import Process, molva_serve
from tests.http.conftest import wav

SPEECH = wav(sample_speech())


def wait_for(url: str, state: str, timeout: float = 60) -> float:
    """Until the model is in this state; when that was seen."""
    deadline = time.monotonic() + timeout
    while (now := httpx2.get(f"{url}/model/status").json()["state"]) != state:
        assert time.monotonic() < deadline, now
        time.sleep(0.05)
    return time.monotonic()


def resident_mib(process: Process) -> float:
    """Memory of the process, without what it shares with nobody's files."""
    status = Path(f"/proc/{process.popen.pid}/status").read_text(encoding="ascii")
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found is not None
    return int(found.group(1)) / 1024


def settled_mib(process: Process) -> float:
    """The same once it falls no more: memory is given back a moment after the state is told."""
    before, now = float("inf"), resident_mib(process)
    while now < before - 1:
        time.sleep(0.5)
        before, now = now, resident_mib(process)
    return now


def cycles(process: Process, url: str, n: int) -> Iterator[float]:
    """Memory after each of some loads, uses and unloads."""
    for _ in range(n):
        for _ in range(2):
            assert httpx2.post(f"{url}/v1/transcribe", content=SPEECH, timeout=120).status_code == 200
        httpx2.post(f"{url}/model/unload")
        wait_for(url, "unloaded")
        yield settled_mib(process)


def test_lazily_it_says_so_and_loads_for_the_first_who_asks(tmp_path: Path, tiny_dir: Path) -> None:
    with molva_serve("--port", "0", "--model-dir", tiny_dir, "--lifecycle", "lazy", home=tmp_path) as process:
        url = process.url()
        assert "loaded when it is first needed" in process.wait_for(r"(?s)try:.*\n").string
        assert httpx2.get(f"{url}/model/status").json()["state"] == "unloaded"
        models = httpx2.get(f"{url}/v1/models").json()
        assert httpx2.post(f"{url}/v1/transcribe", content=SPEECH, timeout=60).json()["words"]
        assert httpx2.get(f"{url}/model/status").json()["state"] == "ready"
        loaded = httpx2.get(f"{url}/v1/models").json()
        assert process.stop(signal.SIGTERM) == 0
    about = ("id", "name", "variant", "encoder", "punctuation", "vocab_size")
    assert [models[key] for key in about] == [loaded[key] for key in about]
    assert loaded["vocab_size"] > 0


def test_lazily_a_damaged_model_is_told_at_start(tmp_path: Path, tiny_dir: Path) -> None:
    shutil.copytree(tiny_dir, tmp_path / "models")
    (tmp_path / "models" / "v3_rnnt_joint.onnx").write_bytes(b"damaged")
    flags = ("--port", "0", "--model-dir", tmp_path / "models", "--model", "gigaam-v3-rnnt", "--lifecycle", "lazy")
    with molva_serve(*flags, home=tmp_path) as process:
        assert process.popen.wait(60) == 1
    assert "v3_rnnt_joint.onnx" in "".join(process.errors)


def test_eagerly_it_is_ready_at_start_and_unloads_when_told(tmp_path: Path, tiny_dir: Path) -> None:
    with molva_serve("--port", "0", "--model-dir", tiny_dir, home=tmp_path) as process:
        url = process.url()
        assert httpx2.get(f"{url}/ready").status_code == 200
        httpx2.post(f"{url}/model/unload")
        wait_for(url, "unloaded", timeout=3)
        assert httpx2.post(f"{url}/v1/transcribe", content=SPEECH, timeout=60).status_code == 200


@pytest.mark.slow
def test_4_idle_it_is_ready_a_second_before_the_time_and_unloaded_after(tmp_path: Path, tiny_dir: Path) -> None:
    flags = ("--port", "0", "--model-dir", tiny_dir, "--model-idle-timeout-secs", "5")
    with molva_serve(*flags, home=tmp_path) as process:
        url = process.url()
        answered = time.monotonic()
        httpx2.post(f"{url}/v1/transcribe", content=SPEECH, timeout=60)
        unloaded = wait_for(url, "unloaded")
        assert unloaded - answered >= 4.9
        httpx2.post(f"{url}/model/load")
        wait_for(url, "ready")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(("model", "times"), [("gigaam-v3-rnnt", 4), ("whisper-base", 2)])
def test_unloading_gives_the_memory_back(tmp_path: Path, tiny_dir: Path, model: str, times: int) -> None:
    flags = ["--port", "0", "--model", model, "--lifecycle", "lazy"]
    flags += ["--model-dir", str(tiny_dir)] if model.startswith("gigaam") else []
    with molva_serve(*flags, home=tmp_path) as process:
        url = process.url()
        before = settled_mib(process)
        after = list(cycles(process, url, times))
    assert max(after) <= before * 1.15, (before, after)
    assert after[-1] <= after[0] * 1.05, (before, after)


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is glibc's malloc that maps; reads /proc")
def test_a_whisper_model_takes_its_blocks_from_the_heap(tmp_path: Path) -> None:
    """A request touched 0.9 GB of new pages in all, and 2.7 GB where each of its large blocks is mapped by itself."""
    with molva_serve("--port", "0", "--model", "whisper-base", home=tmp_path) as process:
        url = process.url()

        def touched() -> int:
            """Bytes of pages that the process was given."""
            numbers = Path(f"/proc/{process.popen.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
            return int(numbers[7]) * resource.getpagesize()

        before = touched()
        assert httpx2.post(f"{url}/v1/transcribe", content=SPEECH, timeout=120).status_code == 200
        assert touched() - before < 1.7e9
