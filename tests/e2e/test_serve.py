"""`molva serve` from its start to its end."""

import json
import shlex
import signal
import socket
import threading
import time
from pathlib import Path

import httpx2
import jiwer
import numpy as np
import pytest

from molva.runtime.loading import sample_speech
from tests.conftest import DATA, read_flac
from tests.e2e.conftest import answers, molva_serve, run_molva
from tests.http.conftest import wav
from tests.text import CLIP_TEXT, plain


def follow_the_printed_line(output: str) -> httpx2.Response:
    """Do what the curl line does, word by word."""
    line = next(line for line in output.splitlines() if line.startswith("try:"))
    curl, flag, at_file, url = shlex.split(line.removeprefix("try:"))
    assert (curl, flag, at_file[0]) == ("curl", "--data-binary", "@")
    return httpx2.post(url, content=Path(at_file[1:]).read_bytes(), timeout=60)


@pytest.mark.slow
def test_a_newcomer_without_any_hub_gets_real_recognition(tmp_path: Path) -> None:
    """whisper-base from the installed packages; it says so, and the printed line transcribes the shipped clip."""
    with molva_serve("--port", "0", home=tmp_path) as process:
        process.url()
        text = process.wait_for(r"(?s)try:.*\n").string
        assert "model: whisper-base" in text
        assert "could not be downloaded" in text
        answer = follow_the_printed_line(text)
        assert plain(answer.json()["text"]) == CLIP_TEXT
        assert answer.json()["language"] == "ru"
        assert process.stop() == 0
    with molva_serve("--port", "0", home=tmp_path) as process:
        assert "already here" in process.wait_for(r"model: .*").group()
        assert process.stop(signal.SIGINT) == 0


def test_gigastts_folder_works_as_it_is(tmp_path: Path, tiny_dir: Path) -> None:
    with molva_serve("--port", "0", "--model-dir", tiny_dir, home=tmp_path) as process:
        process.url()
        assert "model: gigaam-v3-rnnt (GigaAM v3 RNN-T, int8 on cpu)" in process.wait_for(r"(?s)try:.*\n").string
        answer = follow_the_printed_line(process.text)
        assert answer.json()["text"] == CLIP_TEXT
        models = httpx2.get(f"{process.url()}/v1/models").json()
        assert (models["id"], models["encoder"], models["vocab_size"]) == ("gigaam-v3-rnnt", "int8", 34)
        assert process.stop() == 0


def test_health_answers_while_a_hub_keeps_us_waiting_and_a_signal_ends_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent_hub, socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
        probe.close()
        hub = f"http://127.0.0.1:{silent_hub.getsockname()[1]}"
        with molva_serve("--port", str(port), home=tmp_path, HF_ENDPOINT=hub) as process:
            health = answers(f"http://127.0.0.1:{port}/health")
            assert (health.status_code, health.json()["model_state"]) == (200, "loading")
            ready = httpx2.get(f"http://127.0.0.1:{port}/ready")
            assert (ready.status_code, ready.json()["reason"]) == (503, "initializing")
            assert process.stop() == 0
            assert process.text == ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_running_requests_finish(tmp_path: Path, tiny_dir: Path, number: int) -> None:
    pause = np.zeros(4 * 16_000, np.float32)
    body = wav(np.tile(np.concatenate([sample_speech(), pause]), 30))
    with molva_serve("--port", "0", "--model-dir", tiny_dir, "--pool-size", "2", home=tmp_path) as process:
        url, outcome = process.url(), list[httpx2.Response]()
        request = threading.Thread(
            target=lambda: outcome.append(httpx2.post(f"{url}/v1/transcribe", content=body, timeout=60))
        )
        request.start()
        while httpx2.get(f"{url}/ready").json()["pool_available"] == 2:
            time.sleep(0.01)
        assert process.stop(number) == 0
        request.join(20)
        assert outcome[0].status_code == 200
        assert jiwer.wer(" ".join([CLIP_TEXT] * 30), plain(outcome[0].json()["text"])) < 0.1
        with pytest.raises(httpx2.ConnectError):
            httpx2.get(f"{url}/health")


def test_the_drain_has_an_end(tmp_path: Path, tiny_dir: Path) -> None:
    """A client that never reads cannot keep the process alive."""
    flags = ("--port", "0", "--model-dir", tiny_dir, "--shutdown-drain-secs", "1")
    with molva_serve(*flags, home=tmp_path) as process:
        host, port = process.url().removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as stalled:
            stalled.sendall(b"POST /v1/transcribe HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\nRIFF")
            time.sleep(0.3)
            assert process.stop(timeout=8) == 0


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--model", "gigaam-v3-e2e-rnt"), "Did you mean 'gigaam-v3-e2e-rnnt'"),
        (("--host", "0.0.0.0"), "--bind-all"),
        (("--device", "tpu"), "device"),
        (("--device", "cuda", "--model", "gigaam-v3-rnnt"), "cuda"),
        (("--model", "gigaam-v3-ctc"), "HF_ENDPOINT"),
    ],
)
def test_what_cannot_be_served_fails_loudly(
    tmp_path: Path, tiny_dir: Path, args: tuple[str, ...], message: str
) -> None:
    folder = tmp_path / "models" if "gigaam-v3-ctc" in args else tiny_dir
    result = run_molva("serve", "--port", "0", "--model-dir", folder, *args, home=tmp_path)
    assert result.returncode == 1
    errors = result.stderr.decode()
    assert message in errors
    assert "Traceback" not in errors


def test_a_port_in_use_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = run_molva("serve", "--port", str(taken.getsockname()[1]), home=tmp_path)
    assert result.returncode == 1
    assert "Address already in use" in result.stderr.decode()
    assert "--port" in result.stderr.decode()


def test_the_log_holds_no_transcript(tmp_path: Path, tiny_dir: Path) -> None:
    with molva_serve("--port", "0", "--model-dir", tiny_dir, "--log-level", "debug", home=tmp_path) as process:
        answer = httpx2.post(f"{process.url()}/v1/transcribe?download=secret.txt", content=wav(sample_speech()))
        assert process.stop() == 0
    log = "".join(process.errors)
    assert answer.headers["x-request-id"] in log
    assert "POST /v1/transcribe 200" in log
    assert not any(word in log for word in [*CLIP_TEXT.split()[:3], "secret"])


@pytest.mark.slow
def test_word_error_of_real_speech(tmp_path: Path) -> None:
    """whisper-base on a reader it has never heard, over HTTP: the same words as JSON and as events."""
    utterances = json.loads((DATA / "festvox" / "minute.json").read_text(encoding="utf-8"))[:3]
    reference = " ".join(utterance["text"] for utterance in utterances)
    body = wav(read_flac(DATA / "festvox" / "minute.flac")[: round(utterances[-1]["end"] * 16_000)])
    with molva_serve("--port", "0", "--model", "whisper-base", home=tmp_path) as process:
        whole = httpx2.post(f"{process.url()}/v1/transcribe", content=body, timeout=120).json()
        stream = httpx2.post(f"{process.url()}/v1/transcribe/stream", content=body, timeout=120).text
        silence = httpx2.post(f"{process.url()}/v1/transcribe", content=wav(np.zeros(80_000, np.float32)), timeout=60)
        assert process.stop() == 0
    assert jiwer.wer(plain(reference), plain(whole["text"])) <= 0.25
    assert whole["coverage"]["speech"] == whole["coverage"]["transcribed"] > 18
    finals = [json.loads(line.removeprefix("data: ")) for line in stream.splitlines() if line.startswith("data: ")]
    assert [word for final in finals for word in final["words"]] == whole["words"]
    assert (silence.status_code, silence.json()["text"]) == (200, "")
