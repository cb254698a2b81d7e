"""Live speech with the real process: from its first word to the end of the server."""

import json
import signal
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.conftest import SEEN
from tests.e2e.conftest import molva_serve
from tests.http.wsclient import Client, Ended, codes, kinds, of_type, silence, texts

FIRST, SECOND = (clip for clip in SEEN if clip.path.stem in {"ru_0143", "ru_0149"})


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_live_sessions_with_their_final(tmp_path: Path, tiny_dir: Path, number: int) -> None:
    """What was said comes as a final; then Close 1001, who waits gets it at once, and the exit status is 0."""
    flags = ("--port", "0", "--model-dir", tiny_dir, "--pool-size", "1")
    with molva_serve(*flags, home=tmp_path) as process:
        url = process.wait_for(r"ws://\S+").group()
        with connect(url, proxy=None) as speaking, connect(url, proxy=None) as waiting:
            client = Client(speaking)
            assert client.read()["type"] == "ready"
            client.send(type="configure", sample_rate=16000)
            client.say(FIRST.samples, silence(1), SECOND.samples)
            heard = client.settled()
            assert texts(heard) == [FIRST.rnnt]
            process.popen.send_signal(number)
            messages = client.rest()
            assert client.ended == Ended(1001, "server shutdown")
            assert kinds(messages) == ["final"]
            assert texts(messages) == [SECOND.rnnt]
            with pytest.raises(ConnectionClosed):
                waiting.recv(20)
            assert Client(waiting).ended == Ended(1001, "server shutdown")
        assert process.popen.wait(20) == 0
    assert "Traceback" not in "".join(process.errors)


def test_the_limits_of_the_command_line_are_those_of_the_session(tmp_path: Path, tiny_dir: Path) -> None:
    """A client that says nothing, one that talks for too long, and one that sends too much at once."""
    flags = ("--port", "0", "--model-dir", tiny_dir, "--idle-timeout-secs", "1", "--max-session-secs", "2")
    with molva_serve(*flags, "--ws-frame-max-bytes", "2048", home=tmp_path) as process:
        url = process.wait_for(r"ws://\S+").group()
        with connect(url, proxy=None) as idle, connect(url, proxy=None) as talking, connect(url, proxy=None) as large:
            ready = Client(idle).read()
            assert (ready["max_session_secs"], ready["idle_timeout_secs"]) == (2, 1)
            large.send(bytes(2049))
            assert codes(Client(large).rest()) == []
            assert Client(large).ended.code == 1009
            client, messages = Client(talking), [json.loads(talking.recv(20))]
            while "error" not in kinds(messages):
                client.say(silence(0.05), frame_s=0.05)
                try:
                    messages.append(client.read(timeout=0.05))
                except TimeoutError:
                    continue
            messages += client.rest()
            assert codes(messages) == ["max_session_duration_exceeded"]
            assert len(of_type("final", messages)) == 1
            assert client.ended == Ended(1008, "max session duration")
            assert codes(Client(idle).rest()) == ["idle_timeout"]
            assert Client(idle).ended == Ended(1001, "idle timeout")
        assert process.stop() == 0


def test_limits_of_which_one_can_never_be_reached_are_pointed_out(tmp_path: Path, tiny_dir: Path) -> None:
    flags = ("--port", "0", "--model-dir", tiny_dir, "--max-session-secs", "60", "--idle-timeout-secs", "300")
    with molva_serve(*flags, home=tmp_path) as process:
        process.url()
        assert process.stop() == 0
    assert "--idle-timeout-secs" in "".join(process.errors)


def test_the_log_holds_no_word_of_live_speech(tmp_path: Path, tiny_dir: Path) -> None:
    with molva_serve("--port", "0", "--model-dir", tiny_dir, "--log-level", "debug", home=tmp_path) as process:
        with connect(process.wait_for(r"ws://\S+").group(), proxy=None) as connection:
            client = Client(connection)
            client.send(type="configure", sample_rate=16000)
            client.say(SECOND.samples)
            assert texts(client.stop()) == [SECOND.rnnt]
        assert process.stop() == 0
    log = "".join(process.errors)
    assert "WS /v1/ws 101" in log
    assert not any(word in log for word in SECOND.rnnt.split())
