"""The native door's wire contract, row by row, over a real socket."""

import json
import re
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx2
import numpy as np
import pytest
from numpy.typing import NDArray

from molva import __version__
from molva.engines.base import Options
from molva.engines.fake import FakeEngine
from molva.http.state import Limits
from molva.models.choice import ALIASES, AUTO
from molva.runtime.loading import sample_speech
from molva.samples import Samples
from molva.speech.vad import Probabilities, VadState
from tests.http.conftest import Gate, Running, serving, wav
from tests.speaker_models import SoundVad

SPEECH = wav(sample_speech())
SILENCE = wav(np.zeros(16_000, np.float32))
LONG_SPEECH = wav(np.tile(np.concatenate([sample_speech(), np.zeros(4 * 16_000, np.float32)]), 6))
"""Six utterances with pauses of four seconds: 54 s, six windows."""

FILE_ROUTES = ["/v1/transcribe", "/v1/transcribe/stream"]


@contextmanager
def sent(server: Running, path: str, body: bytes) -> Iterator[None]:
    """A request whose client goes away, without a word, at the end of the block."""
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), 10) as connection:
        head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
        yield


def events(response: httpx2.Response) -> list[dict[str, Any]]:
    """The data events of an SSE answer, whose frames must be exactly as the contract has them."""
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["cache-control"] == "no-cache"
    frames = response.text.split("\n\n")
    assert frames.pop() == ""
    assert all(frame == ":" or re.fullmatch(r"data: \{.*\}", frame) for frame in frames)
    return [json.loads(frame.removeprefix("data: ")) for frame in frames if frame != ":"]


class TestProbes:
    def test_health_has_the_keys_of_all_doors(self, fake_server: Running) -> None:
        answer = fake_server.client.get("/health", headers={"origin": "https://evil.example"})
        assert answer.status_code == 200
        assert answer.json() == {
            "status": "ok",
            "model": "fake",
            "version": __version__,
            "device": "cpu",
            "loaded": True,
            "model_state": "ready",
            "gpu_name": None,
            "vram_total_mb": None,
            "queue_depth": 0,
            "variant": "fake",
            "punctuation": False,
            "itn": False,
            "diarization": False,
        }
        assert "access-control-allow-origin" not in answer.headers

    def test_ready_tells_the_places(self, fake_server: Running) -> None:
        answer = fake_server.client.get("/ready")
        assert (answer.status_code, answer.json()) == (200, {"status": "ready", "pool_available": 2, "pool_total": 2})

    def test_ready_tells_when_all_places_are_taken(self, gate: Gate) -> None:
        with serving(FakeEngine(gate), pool_size=1) as server, ThreadPoolExecutor() as threads:
            threads.submit(httpx2.post, f"{server.url}/v1/transcribe", content=SPEECH)
            assert gate.entered.wait(10)
            answer = server.client.get("/ready")
            gate.opened.set()
        assert answer.status_code == 503
        assert answer.json() == {
            "status": "not_ready",
            "pool_available": 0,
            "pool_total": 1,
            "reason": "pool_exhausted",
        }
        assert "retry-after" not in answer.headers

    def test_while_loading_health_answers_and_all_else_says_so(self) -> None:
        with serving(None) as server:
            health = server.client.get("/health")
            assert health.status_code == 200
            assert (health.json()["loaded"], health.json()["model_state"]) == (False, "loading")
            assert "gigaam" in health.json()["model"]
            ready = server.client.get("/ready")
            assert (ready.status_code, ready.json()) == (503, {"status": "not_ready", "reason": "initializing"})
            for path in FILE_ROUTES:
                answer = server.client.post(path, content=SPEECH)
                assert (answer.status_code, answer.json()["code"]) == (503, "initializing")
            assert server.client.get("/v1/models").json()["code"] == "initializing"

    def test_ready_says_when_the_server_is_draining(self) -> None:
        with serving(FakeEngine()) as server:
            server.drain()
            answer = server.client.get("/ready")
            assert (answer.status_code, answer.json()["reason"]) == (503, "shutting_down")
            refused = server.client.post("/v1/transcribe", content=SPEECH)
            assert (refused.status_code, refused.json()["code"]) == (503, "pool_closed")
            assert "retry-after" not in refused.headers


def test_models_is_a_flat_object_and_a_list(fake_server: Running) -> None:
    answer = fake_server.client.get("/v1/models").json()
    assert answer["id"] == "fake"
    assert (answer["encoder"], answer["vocab_size"], answer["sample_rate"]) == ("fp32", 0, 16_000)
    assert (answer["pool_size"], answer["pool_available"]) == (2, 2)
    assert answer["supported_formats"] == ["wav", "mp3", "m4a", "ogg", "flac"]
    assert answer["supported_rates"] == [8000, 16000, 24000, 44100, 48000]
    assert answer["diarization"] is False
    assert answer["object"] == "list"
    # The model that is served comes first; the names that leave the choice to the server follow.
    assert answer["data"][0] == {
        "id": "fake",
        "object": "model",
        "created": 0,
        "owned_by": "molva",
        "languages": [],
        "tasks": [],
    }
    open_names = [name for name, model in ALIASES.items() if model == AUTO]
    assert [entry["id"] for entry in answer["data"][1:]] == open_names


class TestTranscribe:
    def test_json_has_text_words_and_duration(self, fake_server: Running) -> None:
        answer = fake_server.client.post("/v1/transcribe", content=SPEECH)
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/json"
        body = answer.json()
        assert body["text"] == "слово0 слово1 слово2 слово3 слово4"
        assert body["words"][0] == {"word": "слово0", "start": 0.0, "end": 1.087, "confidence": 1.0}
        assert body["duration"] == pytest.approx(5.44, abs=0.01)
        assert body["coverage"]["speech"] == body["coverage"]["transcribed"] > 3
        assert "declared_duration" not in body

    def test_silence_is_an_empty_text(self, fake_server: Running) -> None:
        answer = fake_server.client.post("/v1/transcribe", content=SILENCE)
        assert answer.status_code == 200
        assert (answer.json()["text"], answer.json()["words"]) == ("", [])

    def test_the_content_type_is_ignored(self, fake_server: Running) -> None:
        for content_type in ("audio/mpeg", "text/plain", "application/x-www-form-urlencoded", "nonsense"):
            answer = fake_server.client.post("/v1/transcribe", content=SPEECH, headers={"content-type": content_type})
            assert answer.status_code == 200

    def test_a_file_that_is_cut_short_says_so(self, fake_server: Running) -> None:
        body = fake_server.client.post("/v1/transcribe", content=SPEECH[: len(SPEECH) // 2]).json()
        assert body["duration"] == pytest.approx(2.72, abs=0.1)
        assert body["declared_duration"] == pytest.approx(5.44, abs=0.1)

    @pytest.mark.parametrize(
        ("name", "media_type", "begins"),
        [
            ("txt", "text/plain; charset=utf-8", "слово0 слово1"),
            ("TEXT", "text/plain; charset=utf-8", "слово0 слово1"),
            ("srt", "application/x-subrip; charset=utf-8", "1\n00:00:00,000 --> "),
            ("vtt", "text/vtt; charset=utf-8", "WEBVTT\n\n00:00:00.000 --> "),
            ("md", "text/markdown; charset=utf-8", "---\n"),
            ("Markdown", "text/markdown; charset=utf-8", "---\n"),
            ("tsv", "text/tab-separated-values; charset=utf-8", "start\tend\ttext\n"),
        ],
    )
    def test_each_format_has_its_type(self, fake_server: Running, name: str, media_type: str, begins: str) -> None:
        answer = fake_server.client.post("/v1/transcribe", params={"format": name}, content=SPEECH)
        assert answer.headers["content-type"] == media_type
        assert answer.text.startswith(begins)

    def test_subtitle_limits_are_taken(self, fake_server: Running) -> None:
        params = {"format": "srt", "max_words_per_line": "1"}
        answer = fake_server.client.post("/v1/transcribe", params=params, content=SPEECH)
        assert answer.text.count("-->") == 5

    @pytest.mark.parametrize(
        ("download", "expected"),
        [
            ("", 'attachment; filename="transcript.srt"'),
            ("talk.srt", 'attachment; filename="talk.srt"'),
            ("a\r\nx: y", 'attachment; filename="transcript.srt"'),
            ('a"b', 'attachment; filename="transcript.srt"'),
            ("речь.srt", 'attachment; filename="transcript.srt"'),
            ("../../etc/passwd", 'attachment; filename="transcript.srt"'),
        ],
    )
    def test_download_names_the_file(self, fake_server: Running, download: str, expected: str) -> None:
        params = {"format": "srt", "download": download}
        answer = fake_server.client.post("/v1/transcribe", params=params, content=SPEECH)
        assert answer.headers["content-disposition"] == expected

    def test_download_is_ignored_for_json(self, fake_server: Running) -> None:
        answer = fake_server.client.post("/v1/transcribe", params={"download": "x"}, content=SPEECH)
        assert "content-disposition" not in answer.headers

    def test_an_unknown_format_is_refused(self, fake_server: Running) -> None:
        answer = fake_server.client.post("/v1/transcribe", params={"format": "doc"}, content=SPEECH)
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_format")
        assert "doc" in answer.json()["error"]

    @pytest.mark.parametrize(
        "params",
        [
            {"max_words_per_line": "many"},
            {"max_chars_per_line": "-1"},
            {"word_timestamps": "perhaps"},
            {"task": "sing"},
        ],
    )
    def test_a_parameter_of_the_wrong_type_is_refused_in_plain_text(
        self, fake_server: Running, params: dict[str, str]
    ) -> None:
        answer = fake_server.client.post("/v1/transcribe", params=params, content=SPEECH)
        assert answer.status_code == 400
        assert answer.headers["content-type"].startswith("text/plain")
        assert next(iter(params)) in answer.text

    def test_what_the_model_cannot_do_is_refused(self, fake_server: Running) -> None:
        translate = fake_server.client.post("/v1/transcribe", params={"task": "translate"}, content=SPEECH)
        assert (translate.status_code, translate.json()["code"]) == (400, "unsupported_task")
        language = fake_server.client.post("/v1/transcribe", params={"language": "xx"}, content=SPEECH)
        assert (language.status_code, language.json()["code"]) == (400, "invalid_option")
        assert fake_server.client.post("/v1/transcribe?language=auto", content=SPEECH).status_code == 200

    def test_audio_over_the_limit_is_refused(self) -> None:
        limits = Limits(body_bytes=5_000_000, max_audio_s=5.0, inference_timeout_s=60)
        with serving(FakeEngine(), limits=limits) as server:
            answers = [server.client.post(path, content=LONG_SPEECH) for path in FILE_ROUTES]
            assert [a.status_code for a in answers] == [422, 422]
            assert [a.json()["code"] for a in answers] == ["transcription_error", "invalid_audio"]
            assert server.client.post("/v1/transcribe", content=SILENCE).status_code == 200


class Deaf(SoundVad):
    """Fails."""

    def __call__(self, frames: NDArray[np.float32], state: VadState) -> tuple[Probabilities, VadState]:
        raise RuntimeError("boom", frames, state)


class TestStream:
    def test_each_segment_is_a_final(self, fake_server: Running) -> None:
        finals = events(fake_server.client.post("/v1/transcribe/stream", content=LONG_SPEECH))
        assert len(finals) == 6
        for final in finals:
            assert final.keys() == {"type", "text", "timestamp", "words"}
            assert final["type"] == "final"
            assert final["text"] == " ".join(word["word"] for word in final["words"])
        starts = [word["start"] for final in finals for word in final["words"]]
        assert starts == sorted(starts)
        assert starts[-1] > 45
        assert [final["timestamp"] for final in finals] == sorted(final["timestamp"] for final in finals)

    def test_it_has_the_words_of_the_whole_file_answer(self, fake_server: Running) -> None:
        whole = fake_server.client.post("/v1/transcribe", content=LONG_SPEECH).json()
        finals = events(fake_server.client.post("/v1/transcribe/stream", content=LONG_SPEECH))
        assert [word for final in finals for word in final["words"]] == whole["words"]
        assert " ".join(final["text"] for final in finals) == whole["text"]

    def test_silence_sends_no_event(self, fake_server: Running) -> None:
        answer = fake_server.client.post("/v1/transcribe/stream", content=SILENCE)
        assert answer.status_code == 200
        assert events(answer) == []

    def test_a_failure_after_the_first_byte_is_an_event(self) -> None:
        calls = iter(range(100))

        def fail_later(samples: Samples, _options: Options) -> str:
            if next(calls) > 0:
                raise RuntimeError("boom")
            return "начало"

        with serving(FakeEngine(fail_later)) as server:
            answer = server.client.post("/v1/transcribe/stream", content=LONG_SPEECH)
            assert answer.status_code == 200
            assert events(answer)[-1] == {
                "type": "error",
                "message": "Inference failed unexpectedly.",
                "code": "inference_panic",
            }
            assert "boom" not in answer.text
            server.wait_until(lambda state: state.pool_available == 2)

    def test_so_is_a_failure_of_what_finds_speech(self) -> None:
        with serving(FakeEngine(), vad=Deaf()) as server:
            answer = server.client.post("/v1/transcribe/stream", content=LONG_SPEECH)
            assert [event["code"] for event in events(answer)] == ["inference_panic"]
            assert "boom" not in answer.text
            server.wait_until(lambda state: state.pool_available == 2)


class TestErrors:
    @pytest.mark.parametrize("path", FILE_ROUTES)
    def test_an_empty_body(self, fake_server: Running, path: str) -> None:
        answer = fake_server.client.post(path)
        assert answer.status_code == 400
        assert answer.json() == {
            "error": "Empty request body",
            "message": "Empty request body",
            "code": "empty_body",
        }

    @pytest.mark.parametrize("body", [b"x", b"RIFF", b"not audio at all" * 100, b"--boundary\r\nmultipart"])
    def test_garbage_has_a_code_of_its_own_on_each_route(self, fake_server: Running, body: bytes) -> None:
        codes = [fake_server.client.post(path, content=body).json()["code"] for path in FILE_ROUTES]
        assert codes == ["transcription_error", "invalid_audio"]
        assert [fake_server.client.post(path, content=body).status_code for path in FILE_ROUTES] == [422, 422]

    @pytest.mark.parametrize("path", FILE_ROUTES)
    def test_a_body_over_the_limit_is_refused_by_its_header(self, path: str) -> None:
        limits = Limits(body_bytes=len(SPEECH), max_audio_s=7200, inference_timeout_s=60)
        with serving(FakeEngine(), limits=limits) as server:
            assert server.client.post(path, content=SPEECH).status_code == 200
            answer = server.client.post(path, content=SPEECH + b"\0")
            assert (answer.status_code, answer.json()["code"]) == (413, "payload_too_large")
            assert "x-request-id" in answer.headers

    def test_a_body_over_the_limit_is_refused_before_it_was_read(self) -> None:
        limits = Limits(body_bytes=1000, max_audio_s=7200, inference_timeout_s=60)
        with serving(FakeEngine(), limits=limits) as server:
            host, port = server.url.removeprefix("http://").split(":")
            with socket.create_connection((host, int(port)), 10) as connection:
                connection.sendall(b"POST /v1/transcribe HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000000\r\n\r\n")
                assert connection.recv(100).startswith(b"HTTP/1.1 413 ")

    def test_a_body_without_a_length_is_counted(self) -> None:
        limits = Limits(body_bytes=1000, max_audio_s=7200, inference_timeout_s=60)

        def chunks() -> Iterator[bytes]:
            for _ in range(11):
                yield b"x" * 100

        with serving(FakeEngine(), limits=limits) as server:
            answer = server.client.post("/v1/transcribe", content=chunks())
            assert (answer.status_code, answer.json()["code"]) == (413, "payload_too_large")

    def test_a_crash_of_the_engine_leaves_the_server_whole(self) -> None:
        def crash(samples: Samples, _options: Options) -> str:
            raise ValueError("secret internals")

        with serving(FakeEngine(crash)) as server:
            for _ in range(5):
                answer = server.client.post("/v1/transcribe", content=SPEECH)
                assert answer.status_code == 422
                assert answer.json()["error"] == "Transcription failed. Check audio format."
                assert answer.json()["code"] == "transcription_error"
            server.wait_until(lambda state: state.pool_available == 2)

    def test_unknown_paths_and_methods_have_an_empty_body(self, fake_server: Running) -> None:
        for path in ("/nothing", "/ws", "/v1/transcribe/"):
            answer = fake_server.client.get(path)
            assert (answer.status_code, answer.content) == (404, b"")
        wrong = fake_server.client.get("/v1/transcribe")
        assert (wrong.status_code, wrong.content) == (405, b"")
        assert "POST" in wrong.headers["allow"]
        for path in ("/health", "/ready"):
            assert fake_server.client.options(path).status_code == 405

    def test_head_works_wherever_get_does(self, fake_server: Running) -> None:
        for path in ("/health", "/ready", "/v1/models", "/openapi.json", "/docs"):
            answer = fake_server.client.head(path)
            assert (answer.status_code, answer.content) == (200, b"")


class TestAdmission:
    def test_no_place_in_time_is_503_with_a_hint(self, gate: Gate) -> None:
        with serving(FakeEngine(gate), pool_size=1, checkout_timeout_s=0.2) as server, ThreadPoolExecutor() as threads:
            first = threads.submit(httpx2.post, f"{server.url}/v1/transcribe", content=SPEECH)
            assert gate.entered.wait(10)
            for path in FILE_ROUTES:
                answer = server.client.post(path, content=SPEECH)
                assert answer.status_code == 503
                assert answer.headers["retry-after"] == "1"
                assert answer.json() == {
                    "error": "Server busy, try again later",
                    "message": "Server busy, try again later",
                    "code": "timeout",
                    "retry_after_ms": 200,
                }
            bad = server.client.post("/v1/transcribe/stream", content=b"not audio")
            assert (bad.status_code, bad.json()["code"]) == (422, "invalid_audio")
            gate.opened.set()
            assert first.result(10).json()["text"] == "готово"

    def test_those_who_wait_are_all_served(self) -> None:
        with serving(FakeEngine(), pool_size=1, max_waiting=32) as server, ThreadPoolExecutor(20) as threads:
            answers = list(
                threads.map(lambda _: httpx2.post(f"{server.url}/v1/transcribe", content=SPEECH, timeout=30), range(20))
            )
            assert [answer.status_code for answer in answers] == [200] * 20
            server.wait_until(lambda state: state.pool_available == 1)

    @pytest.mark.parametrize("path", FILE_ROUTES)
    def test_a_client_that_leaves_while_waiting_gives_its_turn_up(self, gate: Gate, path: str) -> None:
        with serving(FakeEngine(gate), pool_size=1, checkout_timeout_s=20) as server, ThreadPoolExecutor() as threads:
            first = threads.submit(httpx2.post, f"{server.url}/v1/transcribe", content=SPEECH, timeout=30)
            assert gate.entered.wait(10)
            slots = server.state.recognizer.admission.requests if server.state.recognizer else None
            assert slots is not None
            with sent(server, path, SPEECH):
                server.wait_until(lambda _: slots.waiting == 1)
            server.wait_until(lambda _: slots.waiting == 0)
            gate.opened.set()
            assert first.result(10).status_code == 200

    @pytest.mark.parametrize("path", FILE_ROUTES)
    def test_a_client_that_leaves_stops_its_work_at_the_next_window(self, gate: Gate, path: str) -> None:
        engine = FakeEngine(gate)
        with serving(engine, pool_size=1) as server:
            with sent(server, path, LONG_SPEECH):
                assert gate.entered.wait(10)
            assert server.state.pool_available == 0
            gate.opened.set()
            server.wait_until(lambda state: state.pool_available == 1)
            assert len(engine.calls) < 6

    def test_a_run_over_the_time_limit_is_504_and_keeps_its_place_until_it_ends(self, gate: Gate) -> None:
        limits = Limits(body_bytes=5_000_000, max_audio_s=7200, inference_timeout_s=0.3)
        with serving(FakeEngine(gate), pool_size=1, limits=limits) as server:
            answer = server.client.post("/v1/transcribe", content=SPEECH)
            assert (answer.status_code, answer.json()["code"]) == (504, "inference_timeout")
            assert answer.json()["error"] == "Inference timed out."
            assert "retry-after" not in answer.headers
            assert server.state.pool_available == 0
            gate.opened.set()
            server.wait_until(lambda state: state.pool_available == 1)

    def test_a_hanging_run_leaves_the_engine_to_others(self, gate: Gate) -> None:
        """Also where it had the only worker."""

        def script(samples: Samples, options: Options) -> str:
            return gate(samples, options) if not gate.entered.is_set() else "рядом"

        limits = Limits(body_bytes=5_000_000, max_audio_s=7200, inference_timeout_s=2)
        with serving(FakeEngine(script), workers=1, limits=limits) as server:
            assert server.client.post("/v1/transcribe", content=SPEECH).status_code == 504
            assert server.client.post("/v1/transcribe", content=SPEECH).json()["text"] == "рядом"
            gate.opened.set()
            server.wait_until(lambda state: state.pool_available == 2)

    def test_draining_sends_the_waiting_away_and_finishes_the_running(self, gate: Gate) -> None:
        with serving(FakeEngine(gate), pool_size=1, checkout_timeout_s=20) as server, ThreadPoolExecutor() as threads:
            running = threads.submit(httpx2.post, f"{server.url}/v1/transcribe", content=SPEECH, timeout=30)
            assert gate.entered.wait(10)
            waiting = threads.submit(httpx2.post, f"{server.url}/v1/transcribe", content=SPEECH, timeout=30)
            slots = server.state.recognizer.admission.requests if server.state.recognizer else None
            assert slots is not None
            server.wait_until(lambda _: slots.waiting == 1)
            threads.submit(server.state.drain).result()
            gate.opened.set()
            assert running.result(10).status_code == 200
            refused = waiting.result(10)
            assert (refused.status_code, refused.json()["code"]) == (503, "pool_closed")


class TestDocuments:
    def test_the_page_has_no_outside_asset(self, fake_server: Running) -> None:
        page = fake_server.client.get("/docs")
        assert page.status_code == 200
        assert "swagger" in page.text.lower()
        links = re.findall(r'(?:src|href)="([^"]+)"', page.text)
        assert len(links) >= 3
        for link in links:
            assert link.startswith(("/", fake_server.url))
            assert fake_server.client.get(link).status_code == 200
        stripped = page.text.replace(fake_server.url, "")
        assert "http://" not in stripped
        assert "https://" not in stripped

    def test_the_document_names_every_route_and_its_errors(self, fake_server: Running) -> None:
        document = fake_server.client.get("/openapi.json").json()
        own = {"/health", "/ready", "/metrics", "/v1/models", *FILE_ROUTES}
        own |= {"/jobs", "/jobs/{job_id}", "/jobs/{job_id}/stream", "/jobs/{job_id}/result", "/jobs/{job_id}/waveform"}
        uploads = {"/v1/audio/transcriptions", "/v1/audio/translations"}
        tokens = {"/v1/realtime/client_secrets", "/v1/realtime/transcription_sessions"}
        life = {"/model/status", "/model/load", "/model/unload", "/model/events"}
        assert set(document["paths"]) == own | uploads | tokens | life | {"/v1/models/{model}", "/v1/status"}

        def documented(path: str, method: str = "post") -> set[str]:
            return set(document["paths"][path][method]["responses"])

        for path in FILE_ROUTES:
            assert {"200", "400", "403", "408", "413", "422", "429", "500", "503", "504"} <= documented(path)
        for path in uploads:
            assert {"200", "400", "401", "403", "408", "413", "429", "500", "503", "507"} == documented(path)
        for path in tokens:
            assert {"200", "400", "401", "403", "500", "503"} <= documented(path)
        assert {"200", "401", "403", "404", "429", "500"} == documented("/v1/models/{model}", "get")
