"""/v1/ws: what the client says: `configure`, `stop`, and what is neither."""

import json
from contextlib import suppress
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from molva.engines.fake import FakeEngine
from molva.http.state import SessionLimits
from molva.speech.live import LiveRule
from tests.http.conftest import Running, serving
from tests.http.wsclient import (
    CLOSE,
    TEXT,
    UTTERANCE,
    Ended,
    close_frame,
    codes,
    connected,
    in_session,
    kinds,
    of_type,
    raw,
    silence,
    speech,
    texts,
)

BAD_RATE = "Unsupported sample rate: 7000Hz. Supported: [8000, 16000, 24000, 44100, 48000]"
TOO_LATE = {
    "type": "error",
    "message": "Configure must be sent before first audio frame",
    "code": "configure_too_late",
}


class TestConfigure:
    @pytest.mark.parametrize(
        "wishes",
        [
            {"sample_rate": 16000},
            {},
            {"sample_rate": None, "diarization": None, "protocol_version": None},
            {"diarization": True, "protocol_version": "1.0", "punctuation": True, "itn": False, "what": {"is": "it"}},
            {"endpoint_mode": "assistant", "min_silence_ms": 300},
            {"endpoint_mode": "unheard of"},
        ],
    )
    def test_success_is_silent(self, fake_server: Running, wishes: dict[str, Any]) -> None:
        with connected(fake_server) as client:
            client.read()
            client.send(type="configure", **wishes)
            assert kinds(client.stop()) == ["final"]
            assert client.ended == Ended(1000, "")

    def test_an_unknown_rate_is_refused_and_the_session_goes_on_at_the_one_before(self, fake_server: Running) -> None:
        with in_session(fake_server) as client:
            client.send(type="configure", sample_rate=7000)
            assert client.read() == {"type": "error", "message": BAD_RATE, "code": "invalid_sample_rate"}
            client.say(UTTERANCE)
            final = of_type("final", client.stop())[0]
        assert final["words"][-1]["end"] == pytest.approx(2.5, abs=0.3)

    @pytest.mark.parametrize("rate", [0, 1, 48001, 2**32 - 1])
    def test_every_rate_that_is_not_in_the_list_is_refused(self, fake_server: Running, rate: int) -> None:
        with connected(fake_server) as client:
            client.read()
            client.send(type="configure", sample_rate=rate)
            assert client.read()["message"].startswith(f"Unsupported sample rate: {rate}Hz.")

    def test_after_audio_it_is_too_late_and_nothing_is_applied(self, fake_server: Running) -> None:
        with in_session(fake_server) as client:
            client.say(silence(0.1))
            client.send(type="configure", sample_rate=8000, protocol_version="9.9", endpoint_mode="manual")
            assert client.read() == TOO_LATE
            client.say(UTTERANCE)
            final = client.read_until("final")[-1]
            assert final["words"][-1]["end"] == pytest.approx(2.6, abs=0.3)
            assert kinds(client.stop()) == ["final"]

    def test_an_empty_frame_is_no_audio(self, fake_server: Running) -> None:
        with connected(fake_server) as client:
            client.read()
            client.connection.send(b"")
            client.send(type="configure", sample_rate=7000)
            assert client.read()["code"] == "invalid_sample_rate"

    def test_it_may_be_repeated_and_keeps_what_it_does_not_name(self, fake_server: Running) -> None:
        with in_session(fake_server, endpoint_mode="manual") as client:
            client.send(type="configure", diarization=True)
            client.say(UTTERANCE, UTTERANCE)
            finals = of_type("final", client.stop())
        assert len(finals) == 1
        assert finals[0]["words"][-1]["end"] == pytest.approx(6, abs=0.3)

    @pytest.mark.parametrize("version", ["2.0", "1", "1.0 ", "", "v" * 100_000])
    def test_another_protocol_version_ends_the_session_without_a_close(
        self, fake_server: Running, version: str
    ) -> None:
        """Nothing else of that message is looked at: the bad rate is not told."""
        with connected(fake_server) as client:
            client.read()
            client.send(type="configure", protocol_version=version, sample_rate=7000)
            (error,) = client.rest()
            assert error == {
                "type": "error",
                "message": f"Unsupported protocol version: {version[:40]}. Supported: 1.0",
                "code": "unsupported_protocol_version",
            }
            assert client.ended == Ended(1006, "")


class TestEndpoint:
    PAUSES = (speech(2), silence(0.9), speech(2), silence(2.5), speech(2), silence(0.9))
    """Three stretches of speech, a pause of 0.9 s and one of 2.5 s."""

    @pytest.mark.parametrize(
        ("wishes", "n_utterances"),
        [
            ({}, 3),
            ({"endpoint_mode": "auto"}, 3),
            ({"endpoint_mode": "assistant"}, 3),
            ({"min_silence_ms": 1500}, 2),
            ({"min_silence_ms": 5000}, 1),
            ({"endpoint_mode": "manual"}, 1),
            ({"endpoint_mode": "manual", "min_silence_ms": 100}, 1),
        ],
    )
    def test_the_client_chooses_what_ends_an_utterance(
        self, fake_server: Running, wishes: dict[str, Any], n_utterances: int
    ) -> None:
        with in_session(fake_server, **wishes) as client:
            client.say(*self.PAUSES)
            finals = of_type("final", client.stop())
        assert len(texts(finals)) == n_utterances
        assert finals[-1]["endpoint_reason"] == "stop"
        assert [final["endpoint_reason"] for final in finals[:-1]] == ["vad"] * (len(finals) - 1)

    def test_the_operator_chooses_for_those_who_do_not(self) -> None:
        sessions = SessionLimits(rule=LiveRule(min_silence_ms=1500))
        with serving(FakeEngine(), sessions=sessions) as server:
            with in_session(server) as client:
                client.say(*self.PAUSES)
                assert len(texts(client.stop())) == 2
            with in_session(server, min_silence_ms=500) as client:
                client.say(*self.PAUSES)
                assert len(texts(client.stop())) == 3


class TestStop:
    def test_without_audio_it_brings_one_empty_final_and_close_1000(self, fake_server: Running) -> None:
        with connected(fake_server) as client:
            client.read()
            (final,) = client.stop()
            assert client.ended == Ended(1000, "")
        assert final.pop("timestamp") > 0
        assert final == {
            "type": "final",
            "text": "",
            "words": [],
            "is_final": True,
            "speech_final": True,
            "endpoint_reason": "stop",
        }

    def test_what_is_still_buffered_is_decoded_first(self, fake_server: Running) -> None:
        with in_session(fake_server) as client:
            client.say(speech(3.5))
            finals = of_type("final", client.stop())
            assert client.ended == Ended(1000, "")
        assert texts(finals) == ["слово0 слово1 слово2"]
        assert finals[0]["endpoint_reason"] == "stop"

    def test_what_comes_after_it_is_not_heard(self, fake_server: Running) -> None:
        with in_session(fake_server) as client:
            client.say(speech(1.5))
            client.send(type="stop")
            with suppress(ConnectionClosed):  # as soon as the final is told
                client.say(UTTERANCE)
                client.send(type="stop")
            assert texts(client.rest()) == ["слово0"]
            assert client.ended == Ended(1000, "")

    def test_a_closing_client_gets_no_final(self) -> None:
        """Its Close is answered, and its place is free."""
        with serving(FakeEngine(), pool_size=1) as server:
            with raw(server.url) as client:
                assert json.loads(client.read()[1])["type"] == "ready"
                client.socket.sendall(b"\x88\x82\0\0\0\0\x03\xe8")
                assert client.rest() == [close_frame(1000)]
            server.wait_until(lambda state: state.pool_available == 1)


class TestForeignText:
    @pytest.mark.parametrize(
        "text",
        [
            "",
            "stop",
            "{",
            "null",
            "[]",
            "17",
            '"stop"',
            "{}",
            '{"type":"Stop"}',
            '{"type":"pause"}',
            '{"type":null}',
            '{"type":["stop"]}',
            '{"type":"configure","sample_rate":"7000"}',
            '{"type":"configure","sample_rate":7000.5}',
            '{"type":"configure","sample_rate":-7000}',
            '{"type":"configure","sample_rate":4294967296}',
            '{"type":"configure","sample_rate":' + "9" * 10_000 + "}",
            '{"type":"configure","sample_rate":7000,"diarization":"yes"}',
            '{"type":"configure","sample_rate":7000,"protocol_version":2}',
            '{"type":"configure","sample_rate":7000,"endpoint_mode":1}',
            '{"type":"configure","sample_rate":7000,"min_silence_ms":"500"}',
            "ы" * 200_000,
            '{"type":"' + "ы" * 200_000 + '"}',
            "[" * 500_000,
            '{"a":' * 100_000,
            '{"type":"configure","sample_rate":7000,"x":' + "[" * 100_000 + "]" * 100_000 + "}",
            '{"type":"stop\\ud800"}',
        ],
        ids=lambda text: text[:60],
    )
    def test_it_is_ignored_whole_and_the_session_goes_on(self, fake_server: Running, text: str) -> None:
        with in_session(fake_server) as client:
            client.text(text)
            client.say(UTTERANCE)
            client.text(text)
            messages = client.stop()
            assert client.ended == Ended(1000, "")
        assert codes(messages) == []
        assert texts(messages) == ["слово0 слово1"]

    def test_text_that_is_not_utf_8_ends_the_connection_as_the_protocol_has_it(self, fake_server: Running) -> None:
        with raw(fake_server.url) as client:
            assert json.loads(client.read()[1])["type"] == "ready"
            client.send(TEXT, b'{"type":"\xff\xfe"}')
            ((opcode, payload),) = client.rest()
            assert (opcode, payload[:2]) == (CLOSE, (1007).to_bytes(2))
        fake_server.wait_until(lambda state: state.pool_available == 2)
        assert fake_server.client.get("/health").status_code == 200
