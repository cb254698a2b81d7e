"""/v1/realtime: items and their events, in both dialects."""

import base64
from collections.abc import Iterator
from pathlib import Path

import av
import httpx2
import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.realtime import RealtimeServerEvent
from pydantic import TypeAdapter
from websockets.exceptions import InvalidStatus

from molva.engines.base import Options
from molva.engines.fake import FakeEngine
from molva.engines.gigaam.model import load_gigaam
from molva.errors import InferenceError
from molva.http.state import SessionLimits
from molva.samples import SAMPLE_RATE, Samples
from molva.speech.live import LiveRule
from tests.conftest import SEEN
from tests.engines.gigaam.test_model import files_of
from tests.http.conftest import Gate, Running, serving
from tests.http.openai.realtime import (
    BETA,
    COMPLETED,
    DELTA,
    FAILED,
    connected,
    in_session,
    kinds,
    pcm24,
    transcripts,
)
from tests.http.wsclient import UTTERANCE, Ended, Message, pcm, silence, speech, texts
from tests.http.wsclient import in_session as native_session

CLIPS = tuple(clip for clip in SEEN if clip.path.stem in {"ru_0143", "ru_0537"})
ITEM = ["speech_started", "speech_stopped", "committed", "added", "done", "delta", "completed"]
"""What is told of one utterance, in order."""


@pytest.fixture(scope="module")
def real_server(tiny_dir: Path) -> Iterator[Running]:
    with serving(load_gigaam(files_of("rnnt", tiny_dir), model="tiny", variant="rnnt")) as running:
        yield running


class TestHandshake:
    @pytest.mark.parametrize(
        ("query", "headers", "subprotocols", "first"),
        [
            ("?intent=transcription", {}, None, "session.created"),
            ("?model=gpt-4o-transcribe", {}, None, "session.created"),
            ("", {}, ["realtime"], "session.created"),
            ("?intent=transcription", BETA, None, "transcription_session.created"),
            ("?intent=transcription", {}, ["openai-beta.realtime-v1"], "transcription_session.created"),
        ],
    )
    def test_the_marker_chooses_the_dialect(
        self, fake_server: Running, query: str, headers: dict[str, str], subprotocols: list[str] | None, first: str
    ) -> None:
        with connected(fake_server, query, additional_headers=headers, subprotocols=subprotocols) as client:
            assert client.read()["type"] == first

    @pytest.mark.parametrize(
        ("offered", "chosen"),
        [
            (["realtime", "openai-insecure-api-key.secret", "openai-beta.realtime-v1"], "realtime"),
            (["openai-insecure-api-key.secret", "openai-beta.realtime-v1"], "openai-beta.realtime-v1"),
            (["openai-insecure-api-key.secret"], None),
            (["chat"], None),
        ],
    )
    def test_a_subprotocol_is_chosen_and_never_the_one_with_a_key(
        self, fake_server: Running, offered: list[str], chosen: str | None
    ) -> None:
        with connected(fake_server, subprotocols=offered) as client:
            assert client.connection.subprotocol == chosen

    def test_what_is_no_upgrade_gets_400(self, fake_server: Running) -> None:
        answer = fake_server.client.get("/v1/realtime")
        assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")

    def test_while_draining_it_is_503_in_openais_words(self) -> None:
        with serving(FakeEngine()) as server:
            server.drain()
            with pytest.raises(InvalidStatus) as refused, connected(server):
                pass
        answer = refused.value.response
        error = httpx2.Response(503, content=bytes(answer.body or b"")).json()["error"]
        assert (answer.status_code, error["type"]) == (503, "server_error")

    def test_a_model_that_is_not_here_is_an_error_and_the_end(self, fake_server: Running) -> None:
        with connected(fake_server, "?model=no-such-model") as client:
            (error,) = client.rest()
            assert client.ended == Ended(1008, "policy violation")
        assert (error["error"]["type"], error["error"]["param"]) == ("invalid_request_error", "model")

    def test_the_session_is_told_whole(self, fake_server: Running) -> None:
        with connected(fake_server) as client:
            session = client.read()["session"]
        assert session.pop("id").startswith("sess_")
        assert session.pop("expires_at") > 1_700_000_000
        assert session == {
            "object": "realtime.transcription_session",
            "type": "transcription",
            "audio": {
                "input": {
                    "format": {"type": "audio/pcm", "rate": 24000},
                    "transcription": {"model": "fake", "language": None, "prompt": ""},
                    "turn_detection": {
                        "type": "server_vad",
                        "threshold": 0.5,
                        "prefix_padding_ms": 300,
                        "silence_duration_ms": 500,
                    },
                    "noise_reduction": None,
                }
            },
            "include": None,
        }

    def test_the_session_is_told_whole_in_beta(self, fake_server: Running) -> None:
        with connected(fake_server, additional_headers=BETA) as client:
            session = client.read()["session"]
        assert session.pop("id").startswith("sess_")
        assert session.pop("expires_at") > 1_700_000_000
        assert session == {
            "object": "realtime.transcription_session",
            "input_audio_format": "pcm16",
            "input_audio_transcription": {"model": "fake", "language": None, "prompt": ""},
            "turn_detection": {
                "type": "server_vad",
                "threshold": 0.5,
                "prefix_padding_ms": 300,
                "silence_duration_ms": 500,
            },
            "input_audio_noise_reduction": None,
            "include": None,
        }


def items(messages: list[Message]) -> list[list[Message]]:
    """Events by the item they are about, in order of the items."""
    by_item: dict[str, list[Message]] = {}
    for message in messages:
        item_id = message.get("item_id") or message["item"]["id"]
        by_item.setdefault(item_id, []).append(message)
    return list(by_item.values())


class TestServerVad:
    def test_each_utterance_is_an_item_with_these_events(self, fake_server: Running) -> None:
        with in_session(fake_server) as client:
            client.say(UTTERANCE, UTTERANCE)
            messages = client.read_until(COMPLETED) + client.read_until(COMPLETED)
        first, second = items(messages)
        assert kinds(first) == kinds(second) == ITEM
        assert transcripts(messages) == ["слово0 слово1"] * 2

    def test_items_know_the_one_before(self, fake_server: Running) -> None:
        with in_session(fake_server) as client:
            client.say(UTTERANCE, UTTERANCE)
            first, second = items(client.read_until(COMPLETED) + client.read_until(COMPLETED))
        assert [m["previous_item_id"] for m in first if "previous_item_id" in m] == [None] * 3
        assert {m["previous_item_id"] for m in second if "previous_item_id" in m} == {first[0]["item_id"]}

    def test_times_have_the_padding_and_the_silence(self, fake_server: Running) -> None:
        def times(padding_ms: int, silence_ms: int) -> tuple[int, int]:
            turn_detection = {"type": "server_vad", "prefix_padding_ms": padding_ms, "silence_duration_ms": silence_ms}
            with in_session(fake_server, turn_detection=turn_detection) as client:
                client.say(silence(1), UTTERANCE)
                started, stopped, *_, completed = client.read_until(COMPLETED)
            length_s = (stopped["audio_end_ms"] - started["audio_start_ms"]) / 1000
            assert completed["usage"]["type"] == "duration"
            assert 0 <= completed["usage"]["seconds"] - length_s < 1
            return started["audio_start_ms"], stopped["audio_end_ms"]

        (start, end), (later_start, later_end) = times(300, 400), times(0, 720)
        assert later_start - start == 300
        assert later_end - end == pytest.approx(320, abs=33)
        assert 1000 <= later_start <= 1600

    def test_the_deltas_are_the_transcript_and_logprobs_come_when_asked_for(self, fake_server: Running) -> None:
        with in_session(fake_server) as client:
            client.send("session.update", session={"include": ["item.input_audio_transcription.logprobs"]})
            assert client.read()["session"]["include"] == ["item.input_audio_transcription.logprobs"]
            client.say(UTTERANCE)
            messages = client.read_until(COMPLETED)
        deltas = [message for message in messages if message["type"] == DELTA]
        assert "".join(delta["delta"] for delta in deltas) == messages[-1]["transcript"]
        for message in (*deltas, messages[-1]):
            assert "".join(token["token"] for token in message["logprobs"]) == messages[-1]["transcript"]

    def test_without_asking_there_are_no_logprobs(self, fake_server: Running) -> None:
        with in_session(fake_server) as client:
            client.say(UTTERANCE)
            assert all("logprobs" not in message for message in client.read_until(COMPLETED))

    def test_an_explicit_commit_ends_the_utterance_now(self, fake_server: Running) -> None:
        with in_session(fake_server) as client:
            client.say(speech(2.5))
            client.send("input_audio_buffer.commit")
            messages = client.read_until(COMPLETED)
        assert kinds(messages) == [kind for kind in ITEM if kind != "speech_stopped"]
        assert len({message.get("item_id") or message["item"]["id"] for message in messages}) == 1

    def test_semantic_vad_is_by_silence(self, fake_server: Running) -> None:
        with in_session(fake_server, turn_detection={"type": "semantic_vad", "eagerness": "low"}) as client:
            client.say(speech(2.5), silence(0.8))
            assert kinds(client.settled()) == ["speech_started"]
            client.say(silence(0.6))
            assert kinds(client.read_until(COMPLETED)) == ITEM[1:]

    def test_an_utterance_in_which_nothing_is_heard_is_completed_too(self) -> None:
        with serving(FakeEngine(lambda _samples, _options: "")) as server, in_session(server) as client:
            client.say(UTTERANCE)
            messages = client.read_until(COMPLETED)
        assert kinds(messages) == [kind for kind in ITEM if kind != "delta"]
        assert transcripts(messages) == [""]

    def test_items_are_completed_in_order(self, gate: Gate) -> None:
        with serving(FakeEngine(gate)) as server, in_session(server) as client:
            client.say(UTTERANCE, UTTERANCE)
            messages: list[Message] = []
            while kinds(messages).count("committed") < 2:
                messages.append(client.read())
            gate.opened.set()
            while len(transcripts(messages)) < 2:
                messages.append(client.read())
        committed = [message["item_id"] for message in messages if message["type"].endswith(".committed")]
        assert [message["item_id"] for message in messages if message["type"] == COMPLETED] == committed


class TestManual:
    def test_audio_waits_for_the_commit(self, fake_server: Running) -> None:
        with in_session(fake_server, turn_detection=None) as client:
            client.say(UTTERANCE, speech(1.5))
            assert client.settled() == []
            client.send("input_audio_buffer.commit")
            messages = client.read_until(COMPLETED)
        assert kinds(messages) == ["committed", "added", "done", "delta", "completed"]

    @pytest.mark.parametrize("turn_detection", [None, {"type": "server_vad"}])
    def test_an_empty_commit_is_an_error(self, fake_server: Running, turn_detection: object) -> None:
        with in_session(fake_server, turn_detection=turn_detection) as client:
            client.send("input_audio_buffer.commit", event_id="mine")
            error = client.read()["error"]
        assert (error["code"], error["event_id"]) == ("input_audio_buffer_commit_empty", "mine")
        assert error["type"] == "invalid_request_error"

    def test_a_second_commit_is_empty(self, fake_server: Running) -> None:
        with in_session(fake_server, turn_detection=None) as client:
            client.say(speech(1.5))
            client.send("input_audio_buffer.commit")
            client.read_until(COMPLETED)
            client.send("input_audio_buffer.commit")
            assert client.read()["error"]["code"] == "input_audio_buffer_commit_empty"

    def test_silence_is_an_item_without_text(self, fake_server: Running) -> None:
        with in_session(fake_server, turn_detection=None) as client:
            client.say(silence(1))
            client.send("input_audio_buffer.commit")
            messages = client.read_until(COMPLETED)
        assert kinds(messages) == ["committed", "added", "done", "completed"]
        assert transcripts(messages) == [""]

    def test_clear_drops_the_buffer(self, fake_server: Running) -> None:
        with in_session(fake_server, turn_detection=None) as client:
            client.say(speech(4))
            client.send("input_audio_buffer.clear")
            assert client.read()["type"] == "input_audio_buffer.cleared"
            client.send("input_audio_buffer.commit")
            assert client.read()["error"]["code"] == "input_audio_buffer_commit_empty"
            client.say(speech(2.5))
            client.send("input_audio_buffer.commit")
            assert transcripts(client.read_until(COMPLETED)) == ["слово0 слово1"]

    def test_a_very_long_buffer_is_committed_by_itself(self) -> None:
        sessions = SessionLimits(rule=LiveRule(max_utterance_s=30))
        with serving(FakeEngine(), sessions=sessions) as server, in_session(server, turn_detection=None) as client:
            for _ in range(13):
                client.say(speech(4), silence(0.3))
            messages = client.read_until(COMPLETED)
            client.send("input_audio_buffer.commit")
            messages += client.read_until(COMPLETED)
        assert kinds(messages).count("committed") == 2
        assert sum(len(text.split()) for text in transcripts(messages)) == pytest.approx(54, abs=5)

    def test_switching_to_vad_commits_what_is_there(self, fake_server: Running) -> None:
        with in_session(fake_server, turn_detection=None) as client:
            client.say(speech(2.5))
            client.send("session.update", session={"audio": {"input": {"turn_detection": {"type": "server_vad"}}}})
            messages = client.read_until(COMPLETED)
            assert "updated" in kinds(messages)
            assert transcripts(messages) == ["слово0 слово1"]
            client.say(silence(0.5), UTTERANCE)
            assert kinds(client.read_until(COMPLETED)) == ITEM


class TestBeta:
    def test_its_events_have_its_names(self, fake_server: Running) -> None:
        with connected(fake_server, additional_headers=BETA) as client:
            client.read()
            client.say(UTTERANCE)
            messages = client.read_until(COMPLETED)
        expected = [*ITEM[:3], "created", *ITEM[5:]]
        assert kinds(messages) == expected

    def test_an_update_chooses_the_dialect_from_then_on(self, fake_server: Running) -> None:
        with in_session(fake_server) as client:
            client.send("transcription_session.update", session={"turn_detection": None})
            updated = client.read()
            assert updated["type"] == "transcription_session.updated"
            assert updated["session"]["turn_detection"] is None
            client.send("session.update", session={"type": "transcription"})
            again = client.read()
            assert again["type"] == "session.updated"
            assert again["session"]["audio"]["input"]["turn_detection"] is None


def through_ffmpeg(codec: str, samples: Samples) -> tuple[bytes, bytes]:
    """Audio of 8 kHz, encoded, and decoded again to PCM16."""
    encoder = av.CodecContext.create(codec, "w")
    decoder = av.CodecContext.create(codec, "r")
    for context in (encoder, decoder):
        context.sample_rate, context.layout, context.format = 8000, "mono", "s16"  # type: ignore[attr-defined]
    frame = av.AudioFrame.from_ndarray(np.frombuffer(pcm(samples), "<i2")[None], format="s16", layout="mono")
    frame.sample_rate = 8000
    encoded = b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])  # type: ignore[attr-defined]
    frames = decoder.decode(av.Packet(encoded))  # type: ignore[attr-defined]
    return encoded, b"".join(frame.to_ndarray().tobytes() for frame in frames)


class TestAudio:
    @pytest.mark.parametrize(("kind", "codec"), [("audio/pcmu", "pcm_mulaw"), ("audio/pcma", "pcm_alaw")])
    def test_g711_is_heard_as_what_ffmpeg_makes_of_it(self, real_server: Running, kind: str, codec: str) -> None:
        encoded, decoded = through_ffmpeg(codec, soxr.resample(CLIPS[0].samples, SAMPLE_RATE, 8000))
        with in_session(real_server, format={"type": kind}, turn_detection=None) as client:
            client.append(encoded, 8001)
            client.send("input_audio_buffer.commit")
            (heard,) = transcripts(client.read_until(COMPLETED))
        with native_session(real_server, sample_rate=8000, endpoint_mode="manual") as native:
            native.connection.send(decoded)
            assert [heard] == texts(native.stop())
        assert set(CLIPS[0].rnnt.split()) & set(heard.split()) > {"цветы", "земле", "душу"}

    def test_each_clip_has_its_exact_text_by_vad(self, real_server: Running) -> None:
        with in_session(real_server) as client:
            for clip in CLIPS:
                client.say(clip.samples, silence(1))
            messages: list[Message] = []
            while len(transcripts(messages)) < len(CLIPS):
                messages.append(client.read())
        assert transcripts(messages) == [clip.rnnt for clip in CLIPS]

    def test_each_clip_has_its_exact_text_by_commit(self, real_server: Running) -> None:
        with in_session(real_server, turn_detection=None) as client:
            for clip in CLIPS:
                client.say(clip.samples)
                client.send("input_audio_buffer.commit")
                assert transcripts(client.read_until(COMPLETED)) == [clip.rnnt]

    @settings(max_examples=12)
    @given(sizes=st.lists(st.integers(1, 20_001), min_size=1, max_size=5))
    def test_how_audio_is_cut_into_events_changes_nothing(self, fake_server: Running, sizes: list[int]) -> None:
        data = pcm24(UTTERANCE)
        with in_session(fake_server) as client:
            start = turn = 0
            while start < len(data):
                size = max(sizes[turn % len(sizes)], 501)
                audio = base64.b64encode(data[start : start + size]).decode()
                client.send("input_audio_buffer.append", audio=audio)
                start, turn = start + size, turn + 1
            messages = client.read_until(COMPLETED)
        started, stopped = messages[:2]
        assert (started["audio_start_ms"], stopped["audio_end_ms"]) == WHOLE
        assert transcripts(messages) == ["слово0 слово1"]

    def test_fifteen_mebibytes_are_one_event(self, fake_server: Running) -> None:
        with in_session(fake_server, turn_detection=None) as client:
            client.append(bytes(15 * 2**20), 15 * 2**20)
            client.send("input_audio_buffer.clear")
            assert client.read()["type"] == "input_audio_buffer.cleared"
            client.append(bytes(15 * 2**20 + 2), 16 * 2**20)
            assert client.read()["error"]["param"] == "audio"


WHOLE = (0, 0)


@pytest.fixture(scope="module", autouse=True)
def _whole(fake_server: Running) -> None:
    """The times of the utterance that the property compares with."""
    global WHOLE
    with in_session(fake_server) as client:
        client.append(pcm24(UTTERANCE), 10**6)
        started, stopped = client.read_until(COMPLETED)[:2]
    WHOLE = (started["audio_start_ms"], stopped["audio_end_ms"])


class Failing:
    """A script for the fake engine that fails."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __call__(self, _samples: Samples, _options: Options) -> str:
        raise self._error


@pytest.mark.parametrize("error", [InferenceError(), RuntimeError("boom")], ids=["error", "panic"])
@pytest.mark.parametrize("turn_detection", [None, {"type": "server_vad"}], ids=["manual", "vad"])
def test_an_utterance_on_which_the_engine_fails_has_failed(error: Exception, turn_detection: object) -> None:
    with (
        serving(FakeEngine(Failing(error))) as server,
        in_session(server, turn_detection=turn_detection) as client,
    ):
        client.say(UTTERANCE)
        if turn_detection is None:
            client.send("input_audio_buffer.commit")
        messages = client.read_until(FAILED)
        assert messages[-1]["error"]["code"] == "inference_error"
        assert "committed" in kinds(messages)
        assert items(messages)[0][-1] == messages[-1]
        client.send("session.update", session={})
        assert client.read_until("session.updated")


def test_every_event_is_one_that_the_official_package_knows(fake_server: Running) -> None:
    official: TypeAdapter[object] = TypeAdapter(RealtimeServerEvent)
    with connected(fake_server) as client:
        messages = [client.read()]
        client.send("session.update", session={"include": ["item.input_audio_transcription.logprobs"]})
        client.say(UTTERANCE)
        messages += client.read_until(COMPLETED)
        client.send("input_audio_buffer.clear")
        client.send("input_audio_buffer.commit")
        messages += client.read_until("error")
    seen = {message["type"] for message in messages}
    assert len(seen) == 11
    for message in messages:
        official.validate_python(message)
