"""OpenAI's routes for files, row by row of their wire contract, over a real socket."""

import json
import logging
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
import srt
import webvtt
from openai.types.audio import TranscriptionDiarized, TranscriptionStreamEvent, TranscriptionVerbose
from pydantic import TypeAdapter

from molva.engines.base import Options
from molva.engines.fake import FakeEngine
from molva.http.openai import transcriptions
from molva.http.sse import with_heartbeats
from molva.http.state import Limits
from molva.keys import KeyRing
from molva.models.store import ModelStore
from molva.runtime.loading import sample_speech
from molva.runtime.scheduler import Lane, Scheduler
from molva.runtime.speakers import Speakers
from molva.samples import Samples
from tests.http.conftest import Gate, Running, wav
from tests.http.openai.conftest import (
    LONG_SPEECH,
    ROUTES,
    SILENCE,
    SPEECH,
    SPEECH_TEXT,
    TRANSCRIPTIONS,
    TRANSLATIONS,
    Speaker,
    events,
    post,
    sent,
    serving_openai,
    store_of,
    told,
    uploads,
)

Ask = Callable[..., httpx2.Response]
LIMITS = Limits(body_bytes=5_000_000, max_audio_s=7200, inference_timeout_s=60)
JUNK = b"not audio at all" * 100


@pytest.fixture(scope="module")
def server(speaker_dir: Path) -> Iterator[Running]:
    """A server over the counting fake engine, under the name of a model that translates."""
    with serving_openai(Speaker("whisper-base", "ru"), speakers=Speakers(ModelStore(speaker_dir))) as running:
        yield running


@pytest.fixture(autouse=True)
def nothing_stays(server: Running) -> Iterator[None]:
    """Whatever came of a request, its upload is gone."""
    yield
    server.wait_until(lambda state: not uploads(state))


def counting(stop_at: int) -> Callable[[Samples, Options], str]:
    """A script that fails in a way it should not from some window on."""
    calls = iter(range(1000))

    def script(samples: Samples, _options: Options) -> str:
        if next(calls) >= stop_at:
            raise ValueError("secret internals")
        return "начало"

    return script


class Broken(FakeEngine):
    """Answers with what no engine may answer with: a bug elsewhere than in its own code."""

    def transcribe(self, batch: Any, options: Options) -> Any:
        return [replace(heard, words=None) for heard in super().transcribe(batch, options)]  # type: ignore[arg-type]


class TestFormats:
    @pytest.mark.parametrize(
        ("name", "media_type"),
        [
            ("json", "application/json"),
            ("text", "text/plain; charset=utf-8"),
            ("srt", "text/plain; charset=utf-8"),
            ("vtt", "text/vtt; charset=utf-8"),
            ("verbose_json", "application/json"),
            ("diarized_json", "application/json"),
        ],
    )
    def test_each_has_its_type_and_the_words(self, ask: Ask, name: str, media_type: str) -> None:
        answer = ask(response_format=name)
        assert (answer.status_code, answer.headers["content-type"]) == (200, media_type)
        assert SPEECH_TEXT in answer.text

    def test_json_is_the_default(self, ask: Ask) -> None:
        assert ask().json() == {"text": SPEECH_TEXT, "usage": {"type": "duration", "seconds": 6}}

    def test_text_is_nothing_but_the_text(self, ask: Ask) -> None:
        assert ask(response_format="text").text == SPEECH_TEXT
        assert ask(response_format="text", file=SILENCE).content == b""

    def test_subtitles_can_be_read(self, ask: Ask) -> None:
        cues = list(srt.parse(ask(response_format="srt", file=LONG_SPEECH).text, ignore_errors=False))
        captions = webvtt.from_string(ask(response_format="vtt", file=LONG_SPEECH).text).captions
        assert len(cues) == len(captions) == 6
        assert all(0 <= cue.start.total_seconds() < cue.end.total_seconds() <= 57 for cue in cues)

    def test_verbose_json_is_what_openais_client_takes_it_for(self, ask: Ask) -> None:
        fields: dict[str, Any] = {"timestamp_granularities[]": ["word", "segment"]}
        answer = TranscriptionVerbose.model_validate(
            ask(response_format="verbose_json", file=LONG_SPEECH, **fields).json(), strict=True
        )
        assert answer.segments is not None
        assert answer.words is not None
        assert (answer.language, len(answer.segments)) == ("russian", 6)
        assert " ".join(word.word for word in answer.words) == answer.text
        assert [segment.id for segment in answer.segments] == list(range(6))

    def test_diarized_json_is_what_openais_client_takes_it_for(self, ask: Ask) -> None:
        answer = ask(response_format="diarized_json", file=LONG_SPEECH)
        parsed = TranscriptionDiarized.model_validate(answer.json(), strict=True)
        assert parsed.segments[0].speaker == "A"
        assert parsed.text == " ".join(part.text for part in parsed.segments)
        assert answer.headers["x-diarization"] == "done"

    def test_logprobs_are_of_the_text(self, ask: Ask) -> None:
        fields: dict[str, Any] = {"include[]": "logprobs"}
        answer = ask(file=LONG_SPEECH, **fields).json()
        assert "".join(token["token"] for token in answer["logprobs"]) == answer["text"]

    def test_silence_is_no_error(self, ask: Ask) -> None:
        assert ask(file=SILENCE).json()["text"] == ""
        assert ask(file=SILENCE, response_format="srt").text == ""
        assert ask(file=SILENCE, response_format="vtt").text == "WEBVTT\n\n"
        assert ask(file=SILENCE, response_format="verbose_json").json()["segments"] == []

    def test_a_strategy_says_where_speech_is_cut(self) -> None:
        quiet = np.zeros(3 * 16_000, np.float32)
        file = wav(np.concatenate([quiet, sample_speech(), quiet]))
        engine = FakeEngine()
        with serving_openai(engine) as server:
            for fields in (
                {},
                {"chunking_strategy": "auto"},
                {"chunking_strategy": '{"type":"server_vad"}'},
                {"chunking_strategy[type]": "server_vad", "chunking_strategy[prefix_padding_ms]": "1000"},
            ):
                assert post(server, file, **fields).status_code == 200
        [[first], [second], [third], [fourth]] = engine.calls
        assert third < fourth < first == second


class TestStream:
    def test_a_delta_for_each_segment_and_the_text_at_the_end(self, ask: Ask) -> None:
        *deltas, done, end = events(ask(file=LONG_SPEECH, stream="true"))
        assert [event["type"] for event in deltas] == ["transcript.text.delta"] * 6
        assert not deltas[0]["delta"].startswith(" ")
        assert all(event["delta"].startswith(" ") for event in deltas[1:])
        assert done == {"type": "transcript.text.done", "text": ask(file=LONG_SPEECH).json()["text"]}
        assert "".join(event["delta"] for event in deltas) == done["text"]
        assert end == {}

    def test_text_is_not_escaped(self, ask: Ask) -> None:
        assert '"delta":"слово0' in ask(stream="true").text

    @pytest.mark.parametrize("name", ["json", "text", "diarized_json"])
    def test_events_are_what_openais_client_takes_them_for(self, ask: Ask, name: str) -> None:
        known = TypeAdapter[TranscriptionStreamEvent](TranscriptionStreamEvent)
        fields: dict[str, Any] = {"include[]": "logprobs"} if name == "json" else {}
        *parts, end = events(ask(file=LONG_SPEECH, stream="true", response_format=name, **fields))
        for event in parts:
            assert known.validate_python(event, strict=True).type == event["type"]
        assert end == {}

    def test_logprobs_are_of_each_delta_and_of_the_text(self, ask: Ask) -> None:
        fields: dict[str, Any] = {"include[]": "logprobs"}
        *deltas, done, _ = events(ask(file=LONG_SPEECH, stream="true", **fields))
        for event in [*deltas, done]:
            told_text = event.get("delta", event.get("text"))
            assert "".join(token["token"] for token in event["logprobs"]) == told_text
        assert done["logprobs"] == ask(file=LONG_SPEECH, **fields).json()["logprobs"]

    def test_diarized_json_has_its_segments_behind_the_deltas(self, ask: Ask) -> None:
        *parts, done, _ = events(ask(file=LONG_SPEECH, stream="true", response_format="diarized_json"))
        deltas, segments = parts[:6], parts[6:]
        assert segments == ask(file=LONG_SPEECH, response_format="diarized_json").json()["segments"]
        assert "".join(event["delta"] for event in deltas) == done["text"]

    @pytest.mark.parametrize("name", ["verbose_json", "srt", "vtt"])
    def test_other_formats_come_whole(self, ask: Ask, name: str) -> None:
        assert ask(stream="true", response_format=name).text == ask(response_format=name).text

    def test_silence_is_an_empty_text(self, ask: Ask) -> None:
        assert events(ask(file=SILENCE, stream="true")) == [{"type": "transcript.text.done", "text": ""}, {}]

    def test_heartbeats_keep_the_connection_alive(self, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
        # Fifteen seconds otherwise.
        monkeypatch.setattr(transcriptions, "with_heartbeats", partial(with_heartbeats, interval_s=0.02))
        files = {"file": ("speech.wav", SPEECH)}
        with (
            serving_openai(FakeEngine(gate)) as server,
            server.client.stream("POST", TRANSCRIPTIONS, files=files, data={"stream": "true"}) as answer,
        ):
            lines = answer.iter_lines()
            assert [next(lines), next(lines)] == [": keep-alive", ""]
            gate.opened.set()
            data = [line for line in lines if line.startswith("data: ")]
            assert data[0] == 'data: {"type":"transcript.text.delta","delta":"готово"}'
            assert data[-1] == "data: [DONE]"

    def test_a_failure_after_the_first_byte_is_an_event_without_an_end(self) -> None:
        with serving_openai(FakeEngine(counting(1))) as server:
            answer = post(server, LONG_SPEECH, stream="true")
            first, error = events(answer)
            assert first["delta"] == "начало"
            assert error == {
                "type": "error",
                "error": {"message": "internal server error", "type": "api_error", "param": None, "code": None},
            }
            assert "secret" not in answer.text
            assert "[DONE]" not in answer.text

    def test_a_bug_after_the_first_byte_is_one_too(self, caplog: pytest.LogCaptureFixture) -> None:
        with serving_openai(Broken()) as server, caplog.at_level(logging.ERROR):
            [error] = events(post(server, LONG_SPEECH, stream="true"))
            assert error["error"]["message"] == "internal server error"
            assert any(record.exc_info for record in caplog.records), "the log has what the client is not told"

    def test_audio_that_turns_out_too_long_says_so_in_the_stream(self) -> None:
        # The header of this file promises nothing, so that only decoding tells.
        endless = bytearray(LONG_SPEECH)
        endless[4:8] = endless[40:44] = b"\xff\xff\xff\xff"
        limits = replace(LIMITS, upload_audio_s=30.0)
        with serving_openai(FakeEngine(), limits=limits) as server:
            *_, error = events(post(server, bytes(endless), stream="true"))
            assert "longer than the limit of 30 s" in error["error"]["message"]


class TestFields:
    def test_they_reach_the_engine(self) -> None:
        seen: list[Options] = []

        def script(_samples: Samples, options: Options) -> str:
            seen.append(options)
            return "да"

        with serving_openai(Speaker("whisper-base", "de", script)) as server:
            post(server, language="de", prompt="Frau Möller", temperature="0.4")
            post(server, temperature="0")
            post(server, path=TRANSLATIONS, prompt="Names")
        assert seen == [
            Options(language="de", prompt="Frau Möller", temperature=0.4),
            Options(),
            Options(task="translate", prompt="Names"),
        ]

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("model", "gpt-9"),
            ("language", "xx"),
            ("response_format", "xml"),
            ("temperature", "hot"),
            ("stream", "maybe"),
            ("timestamp_granularities[]", "letter"),
            ("include[]", "faces"),
            ("chunking_strategy", "{"),
            ("known_speaker_names[]", "Anna"),
        ],
    )
    @pytest.mark.parametrize("path", ROUTES)
    def test_a_wrong_value_is_refused_by_its_name(self, ask: Ask, path: str, field: str, value: str) -> None:
        fields: dict[str, Any] = {field: value}
        answer = ask(path=path, **fields)
        assert answer.status_code == 400
        error = told(answer)
        assert (error["type"], error["code"]) == ("invalid_request_error", None)
        assert error["param"] == field.removesuffix("[]")

    def test_messages_of_the_service_that_clients_know(self, ask: Ask) -> None:
        assert told(ask(model="gpt-9"))["message"] == "model 'gpt-9' is not available"
        assert told(ask(response_format="xml"))["message"] == "response_format 'xml' is not supported"


class TestFile:
    @pytest.mark.parametrize("path", ROUTES)
    @pytest.mark.parametrize("file", [JUNK, b"x", b"RIFF", b"#EXTM3U\n/etc/passwd\n"])
    def test_what_cannot_be_decoded_is_400(self, ask: Ask, path: str, file: bytes) -> None:
        for stream in ("false", "true"):
            answer = ask(path=path, file=file, stream=stream)
            assert answer.status_code == 400
            error = told(answer)
            assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", "file", None)
            assert "/" not in error["message"], "no path"

    def test_none_is_400(self, server: Running) -> None:
        nothing: dict[str, Any] = {"file": (None, "text")}
        for answer in (
            server.client.post(TRANSCRIPTIONS, files=nothing),
            server.client.post(TRANSCRIPTIONS, files={"other": ("a.wav", SPEECH)}),
            server.client.post(TRANSCRIPTIONS, files={"file": ("a.wav", b"")}),
        ):
            assert answer.status_code == 400
            assert told(answer)["type"] == "invalid_request_error"
        assert told(server.client.post(TRANSCRIPTIONS, files=nothing))["param"] == "file"

    @pytest.mark.parametrize("content_type", ["application/json", "audio/wav", "multipart/form-data", "", "x"])
    def test_a_body_that_is_no_form_is_400_and_never_415_or_422(self, server: Running, content_type: str) -> None:
        answer = server.client.post(TRANSCRIPTIONS, content=SPEECH, headers={"content-type": content_type})
        assert (answer.status_code, told(answer)["param"]) == (400, "file")

    @pytest.mark.parametrize("name", ["speech.wav", "speech.mp3", "speech", "речь.ogg", "../../x", "a.exe"])
    def test_its_name_means_nothing(self, server: Running, name: str) -> None:
        answer = server.client.post(TRANSCRIPTIONS, files={"file": (name, SPEECH, "audio/nonsense")})
        assert answer.json()["text"] == SPEECH_TEXT

    def test_too_long_is_400(self) -> None:
        with serving_openai(FakeEngine(), limits=replace(LIMITS, upload_audio_s=10.0)) as server:
            for stream in ("false", "true"):
                answer = post(server, LONG_SPEECH, stream=stream)
                assert (answer.status_code, told(answer)["param"]) == (400, "file")
                assert "10 s" in told(answer)["message"]
            assert post(server).status_code == 200

    def test_a_limit_of_none_is_none(self) -> None:
        limits = replace(LIMITS, upload_audio_s=None, upload_bytes=None, max_audio_s=1.0, body_bytes=1000)
        with serving_openai(FakeEngine(), limits=limits) as server:
            assert post(server, LONG_SPEECH).status_code == 200


class TestSize:
    LIMITS = replace(LIMITS, upload_bytes=len(SPEECH))

    def test_to_the_byte(self) -> None:
        with serving_openai(FakeEngine(), limits=self.LIMITS) as server:
            assert post(server).status_code == 200
            answer = post(server, SPEECH + b"\0")
            assert answer.status_code == 413
            error = told(answer)
            assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", "file", None)

    @pytest.mark.parametrize("path", ROUTES)
    def test_by_the_header_before_a_byte_was_read(self, path: str) -> None:
        with serving_openai(FakeEngine(), limits=self.LIMITS) as server:
            host, port = server.url.removeprefix("http://").split(":")
            with socket.create_connection((host, int(port)), 10) as connection:
                head = "host: x\r\ncontent-type: multipart/form-data; boundary=b\r\ncontent-length: 99999999999\r\n"
                connection.sendall(f"POST {path} HTTP/1.1\r\n{head}\r\n".encode())
                assert connection.recv(100).startswith(b"HTTP/1.1 413 ")

    def test_by_count_where_no_header_tells(self) -> None:
        def chunks() -> Iterator[bytes]:
            yield b'--b\r\ncontent-disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
            for _ in range(100):
                yield SPEECH

        headers = {"content-type": "multipart/form-data; boundary=b"}
        with serving_openai(FakeEngine(), limits=self.LIMITS) as server:
            answer = server.client.post(TRANSCRIPTIONS, content=chunks(), headers=headers)
            assert (answer.status_code, told(answer)["param"]) == (413, "file")

    def test_the_limit_of_the_native_routes_is_not_this_ones(self) -> None:
        with serving_openai(FakeEngine(), limits=replace(LIMITS, body_bytes=1000)) as server:
            assert post(server).status_code == 200
            assert server.client.post("/v1/transcribe", content=SPEECH).status_code == 413


class TestOrder:
    """Of two things that are wrong, which is told."""

    def test_the_key_comes_before_everything(self, tmp_path: Path) -> None:
        with serving_openai(FakeEngine(), keys=KeyRing(tmp_path / "keys.json", {"MOLVA_API_KEY": "sesame"})) as server:
            answer = post(server, JUNK, temperature="hot", model="gpt-9")
            assert (answer.status_code, told(answer)["code"]) == (401, "invalid_api_key")
            assert told(answer)["message"] == "Incorrect API key provided."

    def test_the_form_before_the_model_the_model_before_the_format_and_all_before_the_audio(self, ask: Ask) -> None:
        wrong = {"temperature": "hot", "model": "gpt-9", "response_format": "xml"}
        for field in ("temperature", "model", "response_format"):
            assert told(ask(file=JUNK, **wrong))["param"] == field
            del wrong[field]
        assert told(ask(file=JUNK))["param"] == "file"

    @pytest.mark.parametrize("stream", ["false", "true"])
    def test_the_audio_before_the_queue(self, gate: Gate, stream: str) -> None:
        with (
            serving_openai(FakeEngine(gate), pool_size=1, max_waiting=0) as server,
            ThreadPoolExecutor() as threads,
        ):
            first = threads.submit(post, server)
            assert gate.entered.wait(10)
            assert post(server, JUNK, stream=stream).status_code == 400
            assert post(server, stream=stream).status_code == 503
            gate.opened.set()
            assert first.result(10).status_code == 200


class TestUnavailable:
    @pytest.mark.parametrize("path", ROUTES)
    def test_while_the_model_loads(self, path: str) -> None:
        with serving_openai(None) as server:
            answer = post(server, path=path)
            assert (answer.status_code, told(answer)["type"]) == (503, "server_error")
            assert "loading" in told(answer)["message"]

    @pytest.mark.parametrize("path", ROUTES)
    def test_while_the_server_stops(self, path: str) -> None:
        with serving_openai(FakeEngine()) as server:
            server.drain()
            answer = post(server, path=path)
            assert (answer.status_code, told(answer)["type"]) == (503, "server_error")
            assert "retry-after" not in answer.headers

    @pytest.mark.parametrize("stream", ["false", "true"])
    def test_a_full_queue_is_told_as_json_with_a_hint(self, gate: Gate, stream: str) -> None:
        with (
            serving_openai(FakeEngine(gate), pool_size=1, max_waiting=0, checkout_timeout_s=2.5) as server,
            ThreadPoolExecutor() as threads,
        ):
            first = threads.submit(post, server)
            assert gate.entered.wait(10)
            answer = post(server, stream=stream)
            assert answer.status_code == 503
            assert answer.headers["content-type"] == "application/json"
            assert answer.headers["retry-after"] == "3"
            error = told(answer)
            assert (error["type"], error["param"], error["code"]) == ("server_error", None, None)
            assert len(uploads(server.state)) == 1
            gate.opened.set()
            assert first.result(10).json()["text"] == "готово"

    def test_no_place_in_time_is_told_alike(self, gate: Gate) -> None:
        with (
            serving_openai(FakeEngine(gate), pool_size=1, checkout_timeout_s=0.2) as server,
            ThreadPoolExecutor() as threads,
        ):
            first = threads.submit(post, server)
            assert gate.entered.wait(10)
            answer = post(server)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            gate.opened.set()
            assert first.result(10).status_code == 200

    def test_who_waits_is_sent_away_when_the_server_stops_and_who_is_served_is_not(self, gate: Gate) -> None:
        with (
            serving_openai(FakeEngine(gate), pool_size=1, checkout_timeout_s=20) as server,
            ThreadPoolExecutor() as threads,
        ):
            first = threads.submit(post, server)
            assert gate.entered.wait(10)
            second = threads.submit(post, server, stream="true")
            recognizer = server.state.recognizer
            assert recognizer is not None
            server.wait_until(lambda _: recognizer.admission.requests.waiting == 1)
            server.drain()
            assert second.result(10).status_code == 503
            gate.opened.set()
            assert first.result(10).json()["text"] == "готово"


class TestFailure:
    @pytest.mark.parametrize("stream", ["false", "true"])
    def test_a_bug_in_the_engine_is_500_and_tells_nothing(self, stream: str) -> None:
        with serving_openai(FakeEngine(counting(0))) as server:
            for _ in range(3):
                answer = post(server, stream=stream)
                assert "secret" not in answer.text
                error = told(answer) if stream == "false" else events(answer)[-1]["error"]
                assert error == {"message": "internal server error", "type": "api_error", "param": None, "code": None}
                assert answer.status_code == (500 if stream == "false" else 200)

    def test_any_other_bug_too(self) -> None:
        with serving_openai(Broken()) as server:
            answer = post(server)
            assert (answer.status_code, told(answer)["message"]) == (500, "internal server error")

    def test_a_full_disk_is_507(self, server: Running, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(**_: object) -> None:
            raise OSError(28, "No space left on device", "/secret")

        monkeypatch.setattr("tempfile.mkstemp", full)
        answer = ask()
        assert (answer.status_code, told(answer)["type"]) == (507, "server_error")
        assert "secret" not in answer.text


class TestDisconnect:
    @pytest.mark.parametrize("stream", ["false", "true"])
    def test_it_stops_the_work_at_the_next_window(self, gate: Gate, stream: str) -> None:
        engine = FakeEngine(gate)
        with serving_openai(engine, pool_size=1) as server:
            with sent(server, LONG_SPEECH, stream=stream):
                assert gate.entered.wait(10)
                assert len(uploads(server.state)) == 1
            assert server.state.pool_available == 0, "the place is taken until the window has ended"
            gate.opened.set()
            server.wait_until(lambda state: state.pool_available == 1)
            assert len(engine.calls) < 6

    @pytest.mark.parametrize("stream", ["false", "true"])
    def test_who_waits_gives_the_turn_up(self, gate: Gate, stream: str) -> None:
        with (
            serving_openai(FakeEngine(gate), pool_size=1, checkout_timeout_s=20) as server,
            ThreadPoolExecutor() as threads,
        ):
            first = threads.submit(post, server)
            assert gate.entered.wait(10)
            recognizer = server.state.recognizer
            assert recognizer is not None
            with sent(server, SPEECH, stream=stream):
                server.wait_until(lambda _: recognizer.admission.requests.waiting == 1)
            server.wait_until(lambda _: recognizer.admission.requests.waiting == 0)
            server.wait_until(lambda state: len(uploads(state)) == 1)
            gate.opened.set()
            assert first.result(10).status_code == 200

    def test_half_an_upload_leaves_nothing(self, server: Running) -> None:
        with sent(server, bytes(3_000_000), cut=100):
            server.wait_until(lambda state: any(path.stat().st_size > 2**20 for path in uploads(state)))
        server.wait_until(lambda state: not uploads(state))


class TestModels:
    @pytest.fixture
    def several(self, tmp_path: Path) -> Iterator[Running]:
        """GigaAM is served; whisper-base and turbo lie beside it and are loaded when they are asked for."""
        scheduler = Scheduler(1)

        def load(name: str) -> Lane:
            return scheduler.lane(Speaker(name, "ja", lambda *_: name))

        store = store_of(tmp_path, "gigaam-v3-e2e-rnnt", "whisper-base", "whisper-large-v3-turbo")
        engine = Speaker("gigaam-v3-e2e-rnnt", "ru", lambda *_: "gigaam-v3-e2e-rnnt")
        with serving_openai(engine, store=store, load=load) as server:
            yield server
        scheduler.close()

    @pytest.mark.parametrize(
        ("fields", "model"),
        [
            ({}, "gigaam-v3-e2e-rnnt"),
            ({"model": ""}, "gigaam-v3-e2e-rnnt"),
            ({"model": "whisper-1"}, "gigaam-v3-e2e-rnnt"),
            ({"model": "gpt-4o-transcribe", "language": "ru"}, "gigaam-v3-e2e-rnnt"),
            ({"model": "v3_e2e_rnnt"}, "gigaam-v3-e2e-rnnt"),
            ({"model": "whisper-base"}, "whisper-base"),
            ({"model": "whisper-base", "language": "ru"}, "whisper-base"),
            ({"model": "whisper-1", "language": "de"}, "whisper-base"),
            ({"language": "yue"}, "whisper-large-v3-turbo"),
        ],
    )
    def test_a_name_or_the_language_chooses(self, several: Running, fields: dict[str, Any], model: str) -> None:
        for _ in range(2):
            assert post(several, **fields).json()["text"] == model

    def test_a_model_is_not_replaced_by_one_that_was_not_named(self, several: Running) -> None:
        answer = post(several, model="gigaam-v3-e2e-rnnt", language="de")
        assert (answer.status_code, told(answer)["param"]) == (400, "language")
        answer = post(several, model="v3_ctc")
        assert (answer.status_code, told(answer)["message"]) == (400, "model 'v3_ctc' is not available")

    def test_translation_goes_to_a_model_that_can(self, several: Running) -> None:
        answer = post(several, path=TRANSLATIONS, response_format="verbose_json").json()
        assert (answer["text"], answer["language"], answer["task"]) == ("whisper-base", "english", "translate")
        for model in ("gigaam-v3-e2e-rnnt", "whisper-large-v3-turbo"):
            refused = post(several, path=TRANSLATIONS, model=model)
            assert refused.status_code == 400
            assert (told(refused)["param"], told(refused)["code"]) == ("model", "unsupported_operation")

    def test_where_none_can_translate_the_answer_says_so(self) -> None:
        with serving_openai(FakeEngine()) as server:
            answer = post(server, path=TRANSLATIONS)
            assert answer.status_code == 400
            assert (told(answer)["param"], told(answer)["code"]) == ("model", "unsupported_operation")

    def test_a_model_that_cannot_be_loaded_is_503_and_names_no_path(self, tmp_path: Path) -> None:
        with serving_openai(FakeEngine(), store=store_of(tmp_path, "whisper-base")) as server:
            answer = post(server, model="whisper-base")
            assert (answer.status_code, told(answer)["type"]) == (503, "server_error")
            assert str(tmp_path) not in answer.text
            assert post(server).status_code == 200

    def test_the_list_has_what_may_be_named(self, several: Running) -> None:
        listed = [entry["id"] for entry in several.client.get("/v1/models").json()["data"]]
        assert listed[0] == "gigaam-v3-e2e-rnnt"
        assert len(set(listed)) == len(listed)
        assert {"whisper-base", "whisper-1", "v3_e2e_rnnt", "auto"} <= set(listed)
        assert "v3_ctc" not in listed, "it is not here"
        for name in listed:
            entry = several.client.get(f"/v1/models/{name}")
            assert (entry.status_code, entry.json()["id"], entry.json()["object"]) == (200, name, "model")
            assert post(several, model=name).status_code == 200

    @pytest.mark.parametrize("name", ["gpt-9", "v3_ctc", "openai/whisper", "..%2f..%2fetc", "x" * 5000])
    def test_one_that_is_not_here_is_404(self, several: Running, name: str) -> None:
        answer = several.client.get(f"/v1/models/{name}")
        assert (answer.status_code, told(answer)["type"]) == (404, "invalid_request_error")
        assert len(answer.text) < 300

    def test_its_error_has_openais_code(self, several: Running) -> None:
        error = told(several.client.get("/v1/models/gpt-9"))
        assert (error["param"], error["code"]) == ("model", "model_not_found")


class TestRoutes:
    def test_a_doubled_prefix_works(self, ask: Ask, server: Running) -> None:
        assert ask(path="/v1/v1/audio/transcriptions").json()["text"] == SPEECH_TEXT
        assert server.client.get("/v1/v1/models/whisper-base").status_code == 200
        assert told(server.client.get("/v1/v1/audio/nothing"))["type"] == "invalid_request_error"

    @pytest.mark.parametrize("path", [*ROUTES, "/v1/models/whisper-1"])
    def test_preflights_of_pages_are_answered(self, server: Running, path: str) -> None:
        answer = server.client.options(path, headers={"origin": "http://localhost"})
        assert (answer.status_code, answer.content) == (204, b"")
        assert answer.headers["access-control-allow-origin"] == "http://localhost"
        assert "Authorization" in answer.headers["access-control-allow-headers"]

    def test_head_is_get_without_a_body(self, server: Running) -> None:
        assert server.client.head("/v1/models/whisper-base").status_code == 200
        assert server.client.head("/v1/models/gpt-9").status_code == 404
        assert server.client.head("/v1/models/whisper-base").content == b""

    @pytest.mark.parametrize("path", ROUTES)
    @pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
    def test_a_wrong_method_is_405_and_an_object(self, server: Running, path: str, method: str) -> None:
        answer = server.client.request(method, path)
        assert (answer.status_code, told(answer)["type"]) == (405, "invalid_request_error")
        assert "POST" in answer.headers["allow"]

    @pytest.mark.parametrize("path", ["/v1/audio/speech", "/v1/audio", "/v1/audio/transcriptions/"])
    def test_an_unknown_path_is_404_and_an_object(self, server: Running, path: str) -> None:
        answer = server.client.post(path, content=b"x" * 100)
        assert (answer.status_code, told(answer)["type"]) == (404, "invalid_request_error")

    def test_answers_carry_a_request_id(self, ask: Ask) -> None:
        for answer in (ask(), ask(stream="true"), ask(file=JUNK)):
            assert answer.headers["x-request-id"]

    def test_it_is_json_in_utf8(self, ask: Ask) -> None:
        assert json.loads(ask().content.decode("utf-8"))["text"] == SPEECH_TEXT
