"""/v1/realtime: places, what ends a session, and how much one message may have."""

import json
from typing import Any

import pytest

from molva.engines.fake import FakeEngine
from molva.http.state import SessionLimits
from tests.http.conftest import Gate, serving
from tests.http.openai.realtime import COMPLETED, connected, in_session, kinds, transcripts
from tests.http.wsclient import (
    CLOSE,
    HANDSHAKE,
    PING,
    TEXT,
    Ended,
    Message,
    close_frame,
    frame_head,
    raw,
    silence,
    speech,
)
from tests.http.wsclient import connected as native_connected

REALTIME_HANDSHAKE = HANDSHAKE.replace(b"/v1/ws", b"/v1/realtime")


def error_of(message: Message) -> dict[str, Any]:
    assert message["type"] == "error"
    error = message["error"]
    assert error.keys() >= {"type", "code", "message", "param", "event_id"}
    assert isinstance(error, dict)
    return error


class TestPlaces:
    def test_a_client_without_a_place_hears_nothing_until_it_has_one(self) -> None:
        with serving(FakeEngine(), pool_size=1) as server, in_session(server) as first, connected(server) as second:
            with pytest.raises(TimeoutError):
                second.read(timeout=0.3)
            first.connection.close()
            assert second.read()["type"] == "session.created"

    def test_no_place_in_time_is_an_error_and_the_end(self) -> None:
        with serving(FakeEngine(), pool_size=1, checkout_timeout_s=0.2) as server, in_session(server):
            with connected(server) as client:
                (message,) = client.rest()
                assert client.ended == Ended(1006, "")
            error = error_of(message)
            assert (error["type"], error["code"], error["retry_after_ms"]) == ("server_error", "timeout", 200)

    def test_the_place_is_free_when_the_client_has_gone(self) -> None:
        with serving(FakeEngine(), pool_size=1) as server:
            for _ in range(3):
                with in_session(server) as client:
                    client.say(speech(1))
                    client.connection.socket.close()
                server.wait_until(lambda state: state.pool_available == 1)


class TestEndings:
    def test_idle(self) -> None:
        with serving(FakeEngine(), sessions=SessionLimits(idle_timeout_s=0.3)) as server, in_session(server) as client:
            (message,) = client.rest()
            assert client.ended == Ended(1001, "idle timeout")
        assert error_of(message)["code"] == "idle_timeout"

    @pytest.mark.parametrize("turn_detection", [None, {"type": "server_vad"}], ids=["manual", "vad"])
    def test_the_cap_tells_what_was_said(self, turn_detection: object) -> None:
        limits = SessionLimits(max_session_s=1)
        with (
            serving(FakeEngine(), sessions=limits) as server,
            in_session(server, turn_detection=turn_detection) as client,
        ):
            client.say(speech(2.5))
            messages = client.rest()
            assert client.ended == Ended(1008, "max session duration")
        errors = [error_of(message) for message in messages if message["type"] == "error"]
        assert [error["code"] for error in errors] == ["max_session_duration_exceeded"]
        assert transcripts(messages) == ["слово0 слово1"]

    def test_the_drain_tells_what_was_said(self) -> None:
        with serving(FakeEngine()) as server, in_session(server) as client:
            client.say(speech(2.5))
            assert kinds(client.settled()) == ["speech_started"]
            server.drain()
            messages = client.rest()
            assert client.ended == Ended(1001, "server shutdown")
        assert kinds(messages) == ["committed", "added", "done", "delta", "completed"]

    def test_a_hanging_engine(self, gate: Gate) -> None:
        limits = SessionLimits(inference_timeout_s=0.3)
        with serving(FakeEngine(gate), sessions=limits) as server, in_session(server) as client:
            client.say(speech(2.5))
            client.send("input_audio_buffer.commit")
            messages = client.rest()
            assert client.ended == Ended(1006, "")
            gate.opened.set()
        error = error_of(messages[-1])
        assert (error["type"], error["code"]) == ("server_error", "inference_timeout")

    def test_a_dead_peer(self) -> None:
        limits = SessionLimits(ping_interval_s=0.3)
        with serving(FakeEngine(), sessions=limits) as server, raw(server.url, upgrade=False) as client:
            client.socket.sendall(REALTIME_HANDSHAKE)
            while client._input.readline() != b"\r\n":
                pass
            opcode, payload = client.read()
            assert (opcode, json.loads(payload)["type"]) == (TEXT, "session.created")
            assert client.rest() == [(PING, b""), (PING, b""), close_frame(1001, "ping timeout")]


class TestSize:
    @pytest.mark.parametrize(
        ("path", "length", "closed"),
        [
            (b"/v1/realtime", 21 * 2**20 + 1, True),
            (b"/v1/realtime?intent=transcription", 2**40, True),
            (b"/v1/realtime", 600 * 2**10, False),
            (b"/v1/v1/realtime", 600 * 2**10, False),
            (b"/v1/ws", 600 * 2**10, True),
            (b"/v1/ws?/v1/realtime", 600 * 2**10, True),
        ],
    )
    def test_messages_may_be_large_on_this_path_only(self, path: bytes, length: int, closed: bool) -> None:
        limits = SessionLimits(ping_interval_s=0.3)
        with serving(FakeEngine(), sessions=limits) as server, raw(server.url, upgrade=False) as client:
            client.socket.sendall(HANDSHAKE.replace(b"/v1/ws", path))
            while client._input.readline() != b"\r\n":
                pass
            assert client.read()[0] == TEXT
            client.socket.sendall(frame_head(TEXT, length))
            opcode, payload = client.read()
            assert (opcode == CLOSE and payload[:2] == (1009).to_bytes(2)) == closed


def test_sessions_of_both_doors_share_places() -> None:
    with serving(FakeEngine(), pool_size=1) as server:
        with in_session(server), native_connected(server) as native, pytest.raises(TimeoutError):
            native.read(timeout=0.3)
        server.wait_until(lambda state: state.pool_available == 1)


def test_a_client_that_floods_leaves_others_their_turn() -> None:
    with serving(FakeEngine()) as server, in_session(server) as flooding, in_session(server) as other:
        for _ in range(100):
            flooding.send("input_audio_buffer.clear")
        other.say(speech(2.5), silence(1))
        assert transcripts(other.read_until(COMPLETED)) == ["слово0 слово1"]
        assert kinds([flooding.read() for _ in range(100)]) == ["cleared"] * 100


def test_who_does_not_read_is_cut_off() -> None:
    with serving(FakeEngine(), pool_size=1) as server:
        with raw(server.url, upgrade=False, receive_buffer=4096) as client:
            client.socket.sendall(REALTIME_HANDSHAKE)
            clear = b'{"type":"input_audio_buffer.clear"}'
            message = frame_head(TEXT, len(clear)) + clear
            with pytest.raises(OSError, match=r"reset|[Bb]roken"):
                client.socket.sendall(message * 1_000_000)
        server.wait_until(lambda state: state.pool_available == 1)
