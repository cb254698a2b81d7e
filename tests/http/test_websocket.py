"""/v1/ws: the handshake, places, and the segments in their order."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import httpx2
import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from molva.engines.fake import FakeEngine
from molva.http.origin import OriginPolicy
from molva.http.state import SessionLimits
from molva.runtime.admission import Admission
from molva.runtime.scheduler import Scheduler
from tests.http.conftest import Gate, Running, recognizer_over, serving
from tests.http.wsclient import (
    BINARY,
    PING,
    PONG,
    TEXT,
    UTTERANCE,
    Client,
    Ended,
    codes,
    connected,
    frame,
    in_session,
    kinds,
    of_type,
    pcm,
    raw,
    silence,
    speech,
    texts,
)


@contextmanager
def waiting(server: Running, behind: int = 0) -> Iterator[Client]:
    """A client that is accepted and waits for a place, behind so many others."""
    with connected(server) as client:
        server.wait_until(lambda _: waiters(server) == behind + 1)
        yield client


def waiters(server: Running) -> int:
    assert server.state.recognizer is not None
    return server.state.recognizer.admission.sessions.waiting


def refusal(server: Running, **headers: str) -> httpx2.Response:
    """The HTTP answer to an upgrade that is refused."""
    with pytest.raises(InvalidStatus) as refused, connected(server, additional_headers=headers):
        pass
    answer = refused.value.response
    assert answer.body is not None
    return httpx2.Response(answer.status_code, content=bytes(answer.body))


class TestOpening:
    def test_ready_comes_first_and_has_exactly_these_fields(self, fake_server: Running) -> None:
        with connected(fake_server) as client:
            assert client.read() == {
                "type": "ready",
                "model": "fake",
                "sample_rate": 48000,
                "version": "1.0",
                "supported_rates": [8000, 16000, 24000, 44100, 48000],
                "max_session_secs": 3600,
                "idle_timeout_secs": 300,
            }

    def test_no_subprotocol_is_chosen(self, fake_server: Running) -> None:
        for offered in (None, ["gigastt", "chat"], ["openai-insecure-api-key.x"]):
            with connected(fake_server, subprotocols=offered) as client:
                assert client.connection.subprotocol is None

    def test_but_the_one_that_pages_offer_beside_their_key(self, fake_server: Running) -> None:
        with connected(fake_server, subprotocols=["openai-insecure-api-key.x", "molva"]) as client:
            assert client.connection.subprotocol == "molva"
            assert client.read()["type"] == "ready"

    def test_a_request_id_comes_back_with_the_handshake(self, fake_server: Running) -> None:
        with connected(fake_server, additional_headers={"x-request-id": "mine"}) as client:
            assert client.connection.response is not None
            assert client.connection.response.headers["x-request-id"] == "mine"

    def test_foreign_pages_are_refused_and_pages_of_this_machine_are_not(self, fake_server: Running) -> None:
        answer = refusal(fake_server, origin="https://evil.example")
        assert (answer.status_code, answer.json()["code"]) == (403, "origin_denied")
        with connected(fake_server, origin="http://localhost:3000") as client:
            assert client.read()["type"] == "ready"

    def test_an_allowed_page_may_come_in(self) -> None:
        with (
            serving(FakeEngine(), origins=OriginPolicy(["https://good.example"])) as server,
            connected(server, origin="https://good.example") as client,
        ):
            assert client.read()["type"] == "ready"

    def test_what_is_no_upgrade_gets_400_in_plain_text(self, fake_server: Running) -> None:
        answer = fake_server.client.get("/v1/ws")
        assert answer.status_code == 400
        assert answer.headers["content-type"].startswith("text/plain")
        assert "Upgrade" in answer.text

    def test_while_draining_an_upgrade_is_503(self) -> None:
        with serving(FakeEngine()) as server:
            server.drain()
            answer = refusal(server)
        assert answer.status_code == 503
        assert answer.json()["error"] == "Server shutting down"
        assert answer.json()["code"] == "shutting_down"

    def test_while_the_model_loads_a_client_waits(self) -> None:
        with serving(None) as server, connected(server) as client:
            scheduler = Scheduler(1)
            recognizer = recognizer_over(FakeEngine(), scheduler, Admission(1, max_waiting=1, timeout_s=5))
            server.loop.call_soon_threadsafe(server.state.serve_with, recognizer)
            assert client.read()["model"] == "fake"

    def test_a_model_that_takes_too_long_to_load_is_a_timeout(self) -> None:
        with serving(None, checkout_timeout_s=0.2) as server, connected(server) as client:
            assert codes(client.rest()) == ["timeout"]

    def test_the_limits_in_ready_are_those_of_the_server(self) -> None:
        sessions = SessionLimits(max_session_s=0, idle_timeout_s=7)
        with serving(FakeEngine(), sessions=sessions) as server, connected(server) as client:
            ready = client.read()
        assert (ready["max_session_secs"], ready["idle_timeout_secs"]) == (0, 7)


class TestPlaces:
    def test_a_client_without_a_place_hears_nothing_until_it_has_one(self) -> None:
        """Four in a pool of four; the fifth is accepted, and gets `ready` and nothing else once one has gone."""
        with serving(FakeEngine(), pool_size=4) as server, ExitStack() as inside:
            first, *others = [inside.enter_context(in_session(server)) for _ in range(4)]
            with waiting(server) as fifth:
                with pytest.raises(TimeoutError):
                    fifth.read(timeout=0.3)
                for client in others:
                    client.say(UTTERANCE)
                    assert texts(client.stop()) == ["слово0 слово1"]
                assert fifth.read()["type"] == "ready"
                first.say(UTTERANCE)
                assert texts(first.stop()) == ["слово0 слово1"]

    def test_places_are_given_in_the_order_of_arrival(self) -> None:
        with serving(FakeEngine(), pool_size=1) as server, connected(server) as inside:
            inside.read()
            with waiting(server) as second, waiting(server, behind=1) as third:
                inside.stop()
                assert second.read()["type"] == "ready"
                assert waiters(server) == 1
                second.stop()
                assert third.read()["type"] == "ready"

    def test_twenty_clients_in_a_queue_are_all_served(self) -> None:
        with serving(FakeEngine(), pool_size=2, max_waiting=20) as server, ExitStack() as all_clients:
            clients = [all_clients.enter_context(connected(server)) for _ in range(20)]
            for client in clients:
                client.send(type="configure", sample_rate=16000)
                client.say(UTTERANCE)
                client.send(type="stop")
            told = [client.rest() for client in clients]
        assert [kinds(messages)[0] for messages in told] == ["ready"] * 20
        assert [texts(messages) for messages in told] == [["слово0 слово1"]] * 20

    def test_no_place_in_time_is_an_error_and_the_end(self) -> None:
        with serving(FakeEngine(), pool_size=1, checkout_timeout_s=0.2) as server, connected(server) as inside:
            inside.read()
            with connected(server) as client:
                assert client.rest() == [
                    {
                        "type": "error",
                        "message": "Server busy, try again later",
                        "code": "timeout",
                        "retry_after_ms": 200,
                    }
                ]
                assert client.ended == Ended(1006, "")
            assert kinds(inside.stop()) == ["final"]

    def test_a_waiting_client_that_leaves_gives_its_turn_up(self) -> None:
        with serving(FakeEngine(), pool_size=1) as server, connected(server) as inside:
            inside.read()
            with waiting(server):
                pass
            server.wait_until(lambda _: waiters(server) == 0)
            inside.stop()
            server.wait_until(lambda state: state.pool_available == 1)

    def test_what_a_client_says_while_it_waits_is_heard_once_it_has_a_place(self) -> None:
        with serving(FakeEngine(), pool_size=1) as server, connected(server) as inside:
            inside.read()
            with waiting(server) as client:
                client.send(type="configure", sample_rate=16000)
                client.say(UTTERANCE)
                client.send(type="stop")
                inside.stop()
                messages = client.rest()
        assert kinds(messages)[0] == "ready"
        assert texts(messages) == ["слово0 слово1"]


class TestSegments:
    def test_a_partial_and_a_final_have_exactly_these_fields(self, fake_server: Running) -> None:
        usual = {"type", "text", "words", "is_final", "timestamp", "confidence"}
        with in_session(fake_server) as client:
            client.say(speech(2.5))
            partials = client.settled()
            client.say(silence(1))
            finals = of_type("final", client.settled())
        assert partials
        for partial in partials:
            assert partial.keys() == usual | {"stable"}
            assert (partial["type"], partial["is_final"]) == ("partial", False)
            assert 0 <= partial["stable"] <= len(partial["text"])
        assert len(finals) == 1
        assert finals[0].keys() == usual | {"speech_final", "endpoint_reason"}
        assert finals[0]["is_final"] is True
        assert (finals[0]["speech_final"], finals[0]["endpoint_reason"]) == (True, "vad")

    def test_words_have_times_of_the_session(self, fake_server: Running) -> None:
        with in_session(fake_server) as client:
            client.say(UTTERANCE, UTTERANCE)
            first, second, _ = of_type("final", client.stop())
        for final in (first, second):
            assert [word["word"] for word in final["words"]] == ["слово0", "слово1"]
            assert final["text"] == "слово0 слово1"
            assert final["confidence"] == 1.0
            assert all(word.keys() == {"word", "start", "end", "confidence"} for word in final["words"])
        assert 0 <= first["words"][0]["start"] < 0.5
        assert first["words"][-1]["end"] == pytest.approx(2.5, abs=0.3)
        assert second["words"][0]["start"] == pytest.approx(3.5, abs=0.4)
        assert second["words"][-1]["end"] == pytest.approx(6.0, abs=0.3)

    def test_timestamps_never_go_back(self, fake_server: Running) -> None:
        with in_session(fake_server) as client:
            client.say(UTTERANCE, UTTERANCE)
            stamps = [message["timestamp"] for message in client.stop()]
        assert stamps == sorted(stamps)
        assert stamps[0] > 1_700_000_000

    def test_silence_alone_brings_no_partial(self) -> None:
        """Nor any work for the engine: only `stop` has its final."""
        engine = FakeEngine()
        with serving(engine) as server, in_session(server) as client:
            client.say(silence(5))
            messages = client.stop()
        assert kinds(messages) == ["final"]
        assert (messages[0]["text"], messages[0]["words"]) == ("", [])
        assert engine.calls == []

    def test_a_final_whose_partial_a_newer_one_replaced_is_not_lost(self, gate: Gate) -> None:
        """At the end of a full window: 24 s, a short pause, and speech again, all of it behind a busy engine."""
        with serving(FakeEngine(gate), workers=1) as server, raw(server.url) as client:
            configure = {"type": "configure", "sample_rate": 16000, "endpoint_mode": "manual"}
            audio = pcm(np.tile(speech(3), 9))
            client.socket.sendall(
                frame(TEXT, json.dumps(configure).encode())
                + b"".join(frame(BINARY, audio[start : start + 3200]) for start in range(0, len(audio), 3200))
                + frame(TEXT, b'{"type":"stop"}')
            )
            for _ in range(2):  # the second is read once everything before the first has been heard
                client.send(PING)
                while client.read()[0] != PONG:
                    pass
            gate.opened.set()
            messages = [json.loads(payload) for opcode, payload in client.rest() if opcode == TEXT]
        assert texts(messages) == ["готово готово"]

    def test_speech_without_an_end_has_no_final_before_stop(self, fake_server: Running) -> None:
        """Not even where a window of the engine is full: 27 s of speech whose pauses are shorter than asked for."""
        with in_session(fake_server, min_silence_ms=10_000) as client:
            for _ in range(9):
                client.say(speech(3))
            before = client.settled()
            messages = client.stop()
        assert set(kinds(before)) == {"partial"}
        assert kinds(messages) == ["final"]
        assert messages[0]["words"][-1]["end"] == pytest.approx(27, abs=0.5)
        assert messages[0]["endpoint_reason"] == "stop"


class TestOrder:
    def test_partials_grow_until_their_final_and_none_comes_after_it(self, fake_server: Running) -> None:
        with in_session(fake_server) as client:
            messages = []
            for _ in range(3):
                for start in range(0, 40_000, 8_000):
                    client.say(UTTERANCE[start : start + 8_000])
                    messages += client.settled()
                client.say(UTTERANCE[40_000:])
                messages += client.settled()
            messages += client.stop()
        assert kinds(messages).count("final") == 4
        ended_at, shown, stable = 0.0, "", ""
        for message in messages[:-1]:
            assert message["words"][0]["start"] >= ended_at
            if message["type"] == "final":
                assert shown, "each of these utterances has a partial"
                ended_at, shown, stable = message["words"][-1]["end"], "", ""
            else:
                assert len(message["text"]) >= len(shown)
                assert message["text"].startswith(stable)
                shown, stable = message["text"], message["text"][: message["stable"]]
        assert messages[-1]["text"] == ""

    def test_an_answer_to_audio_comes_before_the_answer_to_the_next_message(self, fake_server: Running) -> None:
        with in_session(fake_server) as client:
            client.say(UTTERANCE)
            client.send(type="configure")
            messages = [message for message in client.stop() if message["type"] != "partial"]
        assert [message.get("code", message["type"]) for message in messages] == [
            "final",
            "configure_too_late",
            "final",
        ]


def test_a_disconnect_in_the_middle_leaves_the_server_usable() -> None:
    with serving(FakeEngine(), pool_size=1) as server:
        for _ in range(5):
            with in_session(server) as client:
                client.say(speech(1))
                client.connection.socket.close()
            server.wait_until(lambda state: state.pool_available == 1)
        with in_session(server) as client:
            client.say(UTTERANCE)
            assert texts(client.stop()) == ["слово0 слово1"]


def test_a_ping_is_answered_with_its_payload(fake_server: Running) -> None:
    with connected(fake_server) as client:
        client.read()
        assert client.connection.ping(b"payload").wait(20)


def test_recv_after_the_end_says_so(fake_server: Running) -> None:
    """The connection is closed for good after the final, not just silent."""
    with connected(fake_server) as client:
        client.read()
        client.stop()
        with pytest.raises(ConnectionClosed):
            client.read()
