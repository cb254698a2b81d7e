"""/v1/ws: what ends a session by the clock, and how the server finds out that a client is dead."""

import json
from typing import Any

import httpx2
import pytest

from molva.engines.fake import FakeEngine
from molva.http.state import SessionLimits
from tests.http.conftest import serving
from tests.http.wsclient import (
    CLOSE,
    PING,
    PONG,
    TEXT,
    UTTERANCE,
    Ended,
    Message,
    Raw,
    close_frame,
    connected,
    in_session,
    kinds,
    raw,
    silence,
    speech,
    texts,
)


def message_of(frame: tuple[int, bytes]) -> dict[str, Any]:
    opcode, payload = frame
    assert opcode == TEXT
    message = json.loads(payload)
    assert isinstance(message, dict)
    return message


IDLE = {"type": "error", "message": "Idle timeout", "code": "idle_timeout"}
TOO_LONG = {
    "type": "error",
    "message": "Maximum session duration exceeded",
    "code": "max_session_duration_exceeded",
}


class TestIdle:
    def test_a_client_that_says_nothing_is_sent_away_without_a_final(self) -> None:
        limits = SessionLimits(idle_timeout_s=0.3)
        with serving(FakeEngine(), sessions=limits, pool_size=1) as server:
            with in_session(server) as client:
                client.say(speech(1))
                messages = client.rest()
                assert client.ended == Ended(1001, "idle timeout")
            assert messages[-1] == IDLE
            assert "final" not in kinds(messages)
            server.wait_until(lambda state: state.pool_available == 1)

    def test_pings_and_pongs_are_no_activity(self) -> None:
        """Of either side: the client answers the server's pings, and sends its own."""
        limits = SessionLimits(idle_timeout_s=0.6, ping_interval_s=0.1)
        with serving(FakeEngine(), sessions=limits) as server, raw(server.url) as client:
            assert message_of(client.read())["type"] == "ready"
            n_pings = 0
            while (frame := client.read())[0] in {PING, PONG}:
                if frame[0] == PING:
                    n_pings += 1
                    client.send(PONG)
                    client.send(PING, b"mine")
            assert message_of(frame) == IDLE
            assert client.read() == close_frame(1001, "idle timeout")
            assert n_pings > 0

    @pytest.mark.parametrize("data", [b"", b"\0", "what is this?"], ids=["empty", "audio", "unknown text"])
    def test_any_data_frame_is_activity(self, data: bytes | str) -> None:
        """A frame at each of the server's pings, for longer than the limit."""
        limits = SessionLimits(idle_timeout_s=1, ping_interval_s=0.25)
        with serving(FakeEngine(), sessions=limits) as server, raw(server.url) as client:
            assert message_of(client.read())["type"] == "ready"
            for _ in range(6):
                assert client.read() == (PING, b"")
                if isinstance(data, str):
                    client.send(TEXT, data.encode())
                else:
                    client.send(2, data)

    def test_a_message_that_never_ends_is_no_activity(self) -> None:
        """Fragments of one byte keep no session alive."""
        limits = SessionLimits(idle_timeout_s=0.5, ping_interval_s=0.1)
        with serving(FakeEngine(), sessions=limits) as server, raw(server.url) as client:
            assert message_of(client.read())["type"] == "ready"
            client.socket.sendall(b"\x02\x81\0\0\0\0x")
            while (frame := client.read())[0] == PING:
                client.socket.sendall(b"\0\x81\0\0\0\0x")
            assert message_of(frame) == IDLE

    def test_waiting_for_a_place_is_not_idleness(self) -> None:
        limits = SessionLimits(idle_timeout_s=0.3)
        with serving(FakeEngine(), sessions=limits, pool_size=1) as server, raw(server.url) as first:
            assert message_of(first.read())["type"] == "ready"
            with connected(server) as second:
                assert message_of(first.read()) == IDLE
                assert second.read()["type"] == "ready"


class TestCap:
    def test_it_comes_under_steady_silence_too(self) -> None:
        """Error, then the final, then the Close."""
        limits = SessionLimits(max_session_s=0.5)
        with serving(FakeEngine(), sessions=limits, pool_size=1) as server:
            with in_session(server) as client:
                messages: list[Message] = []
                while not messages:
                    client.say(silence(0.1))
                    try:
                        messages.append(client.read(timeout=0.02))
                    except TimeoutError:
                        continue
                messages += client.rest()
                assert client.ended == Ended(1008, "max session duration")
            assert messages[0] == TOO_LONG
            assert kinds(messages[1:]) == ["final"]
            assert messages[1]["text"] == ""
            server.wait_until(lambda state: state.pool_available == 1)

    def test_speech_so_far_is_in_the_final(self) -> None:
        limits = SessionLimits(max_session_s=1)
        with serving(FakeEngine(), sessions=limits) as server, in_session(server) as client:
            client.say(speech(2.5))
            *partials, error, final = client.rest()
            assert client.ended == Ended(1008, "max session duration")
        assert set(kinds(partials)) <= {"partial"}
        assert error == TOO_LONG
        assert final["text"] == "слово0 слово1"

    def test_0_is_no_cap(self) -> None:
        limits = SessionLimits(max_session_s=0)
        with serving(FakeEngine(), sessions=limits) as server, in_session(server) as client:
            client.say(UTTERANCE)
            assert texts(client.stop()) == ["слово0 слово1"]


def unanswered(client: Raw, n_pings: int) -> None:
    """Read so many pings, and nothing else."""
    for _ in range(n_pings):
        assert client.read() == (PING, b"")


class TestKeepalive:
    LIMITS = SessionLimits(ping_interval_s=0.3)

    def test_pings_are_empty_and_go_on_while_they_are_answered(self) -> None:
        with serving(FakeEngine(), sessions=self.LIMITS) as server, raw(server.url) as client:
            assert message_of(client.read())["type"] == "ready"
            for _ in range(5):
                unanswered(client, 1)
                client.send(PONG)

    def test_two_missed_pongs_are_the_end_at_the_third_tick(self) -> None:
        """Without an error and without a final; the place is free again."""
        with serving(FakeEngine(), sessions=self.LIMITS, pool_size=1) as server:
            with raw(server.url) as client:
                assert message_of(client.read())["type"] == "ready"
                assert client.rest() == [(PING, b""), (PING, b""), close_frame(1001, "ping timeout")]
            server.wait_until(lambda state: state.pool_available == 1)

    @pytest.mark.parametrize(
        ("opcode", "payload"),
        [(PONG, b""), (PONG, b"unasked"), (PING, b""), (TEXT, b"?"), (2, b""), (2, b"\0\0")],
        ids=["pong", "strange pong", "ping", "text", "empty", "audio"],
    )
    def test_any_frame_after_the_second_ping_is_early_enough(self, opcode: int, payload: bytes) -> None:
        with serving(FakeEngine(), sessions=self.LIMITS) as server, raw(server.url) as client:
            assert message_of(client.read())["type"] == "ready"
            unanswered(client, 2)
            client.send(opcode, payload)
            while (frame := client.read())[0] == PONG:
                pass
            assert frame == (PING, b"")

    def test_a_client_that_waits_for_a_place_is_not_pinged(self) -> None:
        """Nothing is sent to it, whatever that is."""
        limits = SessionLimits(ping_interval_s=0.1, checkout_timeout_s=0.5)
        with (
            serving(FakeEngine(), sessions=limits, pool_size=1, checkout_timeout_s=0.5) as server,
            connected(server) as inside,
        ):
            inside.read()
            with raw(server.url) as client:
                frames = client.rest()
        assert [message_of(frame)["code"] for frame in frames] == ["timeout"]
        assert CLOSE not in [opcode for opcode, _ in frames]

    def test_what_a_client_says_after_the_end_is_no_failure(self, caplog: pytest.LogCaptureFixture) -> None:
        """Nothing can be answered any more, a ping as little as its Close."""
        with (
            serving(FakeEngine(), pool_size=1, checkout_timeout_s=0.2) as server,
            connected(server) as inside,
        ):
            inside.read()
            for opcode in (PING, CLOSE):
                with raw(server.url) as client:
                    assert [message_of(frame)["code"] for frame in client.rest()] == ["timeout"]
                    client.send(opcode)
                    assert httpx2.get(f"{server.url}/health", trust_env=False).status_code == 200  # it has been read
        assert [record.message for record in caplog.records if record.name == "asyncio"] == []
