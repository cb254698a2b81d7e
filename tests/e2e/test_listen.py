"""`molva listen` with a real server and real speech, in a pipe and on a terminal."""

import itertools
import json
import os
import pty
import re
import select
import signal
import subprocess
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from websockets.sync.server import ServerConnection, serve

from tests.conftest import SEEN
from tests.e2e.conftest import MOLVA, environment, molva_serve, run_molva
from tests.http.conftest import wav

CLIP = min(SEEN, key=lambda clip: clip.path.stat().st_size)


@pytest.fixture(scope="module")
def url(tiny_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    flags = ("--port", "0", "--model", "gigaam-v3-rnnt", "--model-dir", tiny_dir, "--precision", "fp32")
    with molva_serve(*flags, home=tmp_path_factory.mktemp("server")) as process:
        yield process.url()
        process.stop()


def raw() -> bytes:
    """The clip as PCM16 at 16 kHz."""
    return (CLIP.samples * 32768).astype("<i2").tobytes()


def test_the_finals_of_a_recording_go_to_a_pipe(url: str, tmp_path: Path) -> None:
    result = run_molva("listen", CLIP.path, "--fast", "--url", url, home=tmp_path)
    assert (result.returncode, result.stderr) == (0, b"")
    assert result.stdout.decode() == f"{CLIP.rnnt}\n"


@pytest.mark.slow
def test_real_time_brings_partials_whose_stable_part_holds(url: str, tmp_path: Path) -> None:
    result = run_molva("listen", CLIP.path, "--json", "--url", url, home=tmp_path)
    messages = [json.loads(line) for line in result.stdout.decode().splitlines()]
    assert (messages[0]["type"], messages[-1]["type"]) == ("ready", "final")
    assert messages[-1]["endpoint_reason"] == "stop"
    texts = [message["text"] for message in messages if message["type"] == "final"]
    assert " ".join(filter(None, texts)) == CLIP.rnnt
    partials = [message for message in messages if message["type"] == "partial"]
    assert len(partials) > 2
    for earlier, later in itertools.pairwise(partials):
        assert later["text"].startswith(earlier["text"][: earlier["stable"]])


def test_raw_audio_from_standard_input(url: str, tmp_path: Path) -> None:
    result = run_molva("listen", "-", "--rate", "16000", "--url", url, home=tmp_path, stdin=raw())
    assert (result.returncode, result.stdout.decode()) == (0, f"{CLIP.rnnt}\n")


def test_how_utterances_end_is_the_users_to_say(url: str, tmp_path: Path) -> None:
    stdin = raw() + bytes(64_000) + raw()
    usual, manual = (
        run_molva("listen", "-", *options, "--url", url, home=tmp_path, stdin=stdin).stdout.decode().splitlines()
        for options in (["--min-silence-ms", "600"], ["--endpoint-mode", "manual"])
    )
    assert usual == [CLIP.rnnt, CLIP.rnnt]
    assert len(manual) == 1


def screen_until(terminal: int, text: str) -> str:
    """What a terminal has got by the time it shows `text`, without colours and movements."""
    seen = b""
    deadline = time.monotonic() + 60
    while text not in (screen := re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", seen.decode(errors="ignore"))):
        ready, _, _ = select.select([terminal], [], [], deadline - time.monotonic())
        assert ready, f"never shown: {screen}"
        seen += os.read(terminal, 65536)
    return screen


def test_a_terminal_shows_what_is_said_and_an_interrupt_brings_the_last_final(url: str, tmp_path: Path) -> None:
    terminal, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 120))
    audio, speaker = os.pipe()
    command = [*MOLVA, "listen", "-", "--endpoint-mode", "manual", "--url", url]
    with subprocess.Popen(command, stdin=audio, stdout=theirs, env=environment(tmp_path, TERM="xterm")) as process:
        os.close(theirs)
        os.close(audio)
        with os.fdopen(speaker, "wb") as pipe:  # stays open: the end of this speech never comes
            pipe.write(raw() + bytes(16_000))
            pipe.flush()
            assert ":" not in screen_until(terminal, CLIP.rnnt.split()[-1]), "only partials so far"
            process.send_signal(signal.SIGINT)
            shown = screen_until(terminal, f"0:00:00.5  {CLIP.rnnt}")
            assert process.wait(30) == 0
    os.close(terminal)
    assert "Traceback" not in shown


@contextmanager
def scripted_server(script: Callable[[ServerConnection], None]) -> Iterator[str]:
    """A server that does what no other would do when asked."""

    def handle(connection: ServerConnection) -> None:
        connection.send('{"type":"ready","supported_rates":[16000]}')
        script(connection)

    with serve(handle, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
        finally:
            server.shutdown()
            thread.join()


def test_a_second_interrupt_ends_at_once_where_the_last_final_never_comes(tmp_path: Path) -> None:
    heard, stopped = threading.Event(), threading.Event()

    def never_answer(connection: ServerConnection) -> None:
        for message in connection:
            if isinstance(message, bytes):
                heard.set()
            elif "stop" in message:
                stopped.set()

    with scripted_server(never_answer) as address:
        command = [*MOLVA, "listen", str(CLIP.path), "--url", address]
        with subprocess.Popen(command, env=environment(tmp_path), stderr=subprocess.PIPE) as process:
            assert heard.wait(30)
            process.send_signal(signal.SIGINT)
            assert stopped.wait(30)
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 130
            assert process.stderr is not None
            assert process.stderr.read() == b""


def test_an_error_of_the_server_is_told_and_so_are_the_words_after_it(tmp_path: Path) -> None:
    def cut_off(connection: ServerConnection) -> None:
        connection.send('{"type":"error","message":"Maximum session duration exceeded","code":"x"}')
        connection.send('{"type":"final","text":"и всё","words":[]}')
        connection.close(1008, "max session duration")

    with scripted_server(cut_off) as address:
        result = run_molva("listen", CLIP.path, "--url", address, home=tmp_path)
    assert result.returncode == 1
    assert result.stdout.decode() == "и всё\n"
    assert result.stderr.decode() == "molva: Maximum session duration exceeded\n"


def test_a_file_that_is_cut_short_is_told(url: str, tmp_path: Path) -> None:
    cut = tmp_path / "cut.wav"
    cut.write_bytes(wav(np.zeros(160_000, np.float32))[:-160_000])
    result = run_molva("listen", cut, "--fast", "--url", url, home=tmp_path)
    assert result.returncode == 0
    assert "cut short; 5.0 s are missing" in result.stderr.decode()


def test_the_end_of_whoever_reads_is_a_quiet_end(url: str, tmp_path: Path) -> None:
    """As with `molva listen … | head -1`."""
    command = [*MOLVA, "listen", "-", "--json", "--url", url]
    with subprocess.Popen(
        command,
        env=environment(tmp_path),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        assert b"ready" in process.stdout.readline()
        process.stdout.close()
        process.stdin.write(raw())
        process.stdin.close()
        assert process.wait(30) == 1
        assert process.stderr.read() == b""


@pytest.mark.parametrize(
    ("args", "status", "message"),
    [
        ((CLIP.path, "--url", "ws://127.0.0.1:9"), 1, "`molva serve` starts one"),
        ((CLIP.path, "--url", "gopher://here"), 1, "no address of a server"),
        (("missing.wav",), 1, "missing.wav: No such file"),
        ((__file__,), 1, "Failed to decode audio"),
        ((CLIP.path, "--endpoint-mode", "never"), 2, "auto, assistant, manual"),
        ((CLIP.path, "--rate", "8000"), 2, "standard input only"),
        (("-", "--fast"), 2, "recordings only"),
    ],
)
def test_what_cannot_be_done_is_told(tmp_path: Path, args: tuple[str | Path, ...], status: int, message: str) -> None:
    result = run_molva("listen", *args, home=tmp_path)
    assert result.returncode == status
    assert message in result.stderr.decode()
    assert "Traceback" not in result.stderr.decode()


def test_a_rate_that_the_server_does_not_take_is_told(url: str, tmp_path: Path) -> None:
    result = run_molva("listen", "-", "--rate", "7000", "--url", url, home=tmp_path, stdin=b"")
    assert result.returncode == 1
    assert "not 7000 Hz" in result.stderr.decode()
