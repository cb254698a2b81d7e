"""Settings of /v1/realtime: what changes, what stays, and what is refused by its name."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from molva.engines.base import Options
from molva.engines.fake import FakeEngine
from molva.http.openai.realtime_settings import DEFAULT, GaSession, Settings, TurnDetection, patched
from molva.models.catalog import find
from molva.models.store import InstalledModel, ModelStore
from molva.runtime.scheduler import Lane, Scheduler
from molva.speech.live import LiveRule
from tests.http.conftest import Running, serving
from tests.http.openai.realtime import COMPLETED, connected, in_session, transcripts
from tests.http.wsclient import UTTERANCE, speech

USUAL = LiveRule()


def updated(settings: Settings, **given: Any) -> Settings:
    session = GaSession.model_validate({"type": "transcription", "audio": {"input": given}})
    return patched(settings, session.patch)


class TestPatch:
    def test_only_what_is_there_changes(self) -> None:
        first = updated(DEFAULT, transcription={"model": "a", "language": "ru"}, turn_detection={"threshold": 0.7})
        second = updated(first, transcription={"prompt": "p"}, turn_detection={"prefix_padding_ms": 100})
        assert (second.model, second.language, second.options.prompt) == ("a", "ru", "p")
        assert second.turn_detection is not None
        assert second.turn_detection.told() == {
            "type": "server_vad",
            "threshold": 0.7,
            "prefix_padding_ms": 100,
            "silence_duration_ms": 500,
        }

    def test_null_clears(self) -> None:
        first = updated(DEFAULT, transcription={"model": "a", "language": "ru"}, noise_reduction={"type": "near_field"})
        second = updated(first, transcription={"language": None}, turn_detection=None, noise_reduction=None)
        assert (second.model, second.language) == ("a", None)
        assert (second.turn_detection, second.noise_reduction) == (None, None)
        assert updated(first, transcription=None).options == Options()

    def test_names_without_turn_detection_turn_it_off_unless_it_is_asked_for(self) -> None:
        for name in ("gpt-realtime-whisper", "gpt-live-transcribe"):
            assert updated(DEFAULT, transcription={"model": name}).turn_detection is None
            asked = updated(DEFAULT, transcription={"model": name}, turn_detection={"type": "semantic_vad"})
            assert asked.turn_detection == TurnDetection(type="semantic_vad")

    def test_another_type_begins_with_its_defaults(self) -> None:
        loud = updated(DEFAULT, turn_detection={"type": "server_vad", "threshold": 0.9})
        back = updated(updated(loud, turn_detection={"type": "semantic_vad"}), turn_detection={"type": "server_vad"})
        assert back.turn_detection == TurnDetection(type="server_vad")

    def test_a_format_of_another_type_forgets_the_rate(self) -> None:
        pcm = updated(DEFAULT, format={"type": "audio/pcm", "rate": 24000})
        assert updated(pcm, format={"type": "audio/pcmu"}).rate == 8000


class TestRule:
    def test_server_vad(self) -> None:
        given = {"threshold": 0.6, "prefix_padding_ms": 400, "silence_duration_ms": 700}
        rule = updated(DEFAULT, turn_detection=given).rule(USUAL)
        assert rule.onset == 0.6
        assert rule.release == pytest.approx(0.45)
        assert (rule.padding_s, rule.min_silence_ms, rule.endpoint, rule.turns) == (0.4, 700, True, True)

    def test_the_release_has_a_floor(self) -> None:
        rule = updated(DEFAULT, turn_detection={"threshold": 0.0}).rule(USUAL)
        assert (rule.onset, rule.release) == (0.01, 0.01)

    @pytest.mark.parametrize(
        ("eagerness", "silence_ms"), [("low", 1000), ("medium", 600), ("auto", 600), ("high", 300)]
    )
    def test_semantic_vad(self, eagerness: str, silence_ms: int) -> None:
        rule = updated(DEFAULT, turn_detection={"type": "semantic_vad", "eagerness": eagerness}).rule(USUAL)
        assert (rule.min_silence_ms, rule.endpoint) == (silence_ms, True)

    def test_without_turn_detection_only_commits_end_utterances(self) -> None:
        assert not updated(DEFAULT, turn_detection=None).rule(USUAL).endpoint


GA_INPUT = "session.audio.input"


class TestRefused:
    @pytest.mark.parametrize(
        ("given", "param"),
        [
            ({"turn_detection": {"type": "server_vad", "threshold": 1.5}}, f"{GA_INPUT}.turn_detection.threshold"),
            ({"turn_detection": {"type": "server_vad", "threshold": "0.5"}}, f"{GA_INPUT}.turn_detection.threshold"),
            ({"turn_detection": {"type": "no_vad"}}, f"{GA_INPUT}.turn_detection.type"),
            (
                {"turn_detection": {"type": "server_vad", "silence_duration_ms": 0}},
                f"{GA_INPUT}.turn_detection.silence_duration_ms",
            ),
            (
                {"turn_detection": {"type": "server_vad", "prefix_padding_ms": -1}},
                f"{GA_INPUT}.turn_detection.prefix_padding_ms",
            ),
            (
                {"turn_detection": {"type": "semantic_vad", "eagerness": "very"}},
                f"{GA_INPUT}.turn_detection.eagerness",
            ),
            ({"format": {"type": "audio/opus"}}, f"{GA_INPUT}.format.type"),
            ({"format": {"type": "audio/pcm", "rate": 16000}}, f"{GA_INPUT}.format.rate"),
            ({"noise_reduction": {"type": "no_field"}}, f"{GA_INPUT}.noise_reduction.type"),
            ({"transcription": {"model": 5}}, f"{GA_INPUT}.transcription.model"),
            ({"transcription": {"model": "no-such-model"}}, f"{GA_INPUT}.transcription.model"),
            ({"transcription": {"language": "xx"}}, f"{GA_INPUT}.transcription.language"),
            ({"transcription": {"keywords": ["word"]}}, f"{GA_INPUT}.transcription.keywords"),
            ({"speed": 2}, f"{GA_INPUT}.speed"),
        ],
        ids=lambda value: value.removeprefix(GA_INPUT) if isinstance(value, str) else "",
    )
    def test_by_name_and_nothing_changes(self, fake_server: Running, given: dict[str, Any], param: str) -> None:
        with connected(fake_server) as client:
            before = client.read()["session"]
            client.send("session.update", event_id="mine", session={"audio": {"input": given}})
            error = client.read()["error"]
            assert (error["type"], error["param"], error["event_id"]) == ("invalid_request_error", param, "mine")
            client.send("session.update", session={})
            assert client.read()["session"] == before

    @pytest.mark.parametrize(
        ("given", "param"),
        [
            ({"input_audio_format": "mp3"}, "session.input_audio_format"),
            ({"turn_detection": {"type": "server_vad", "threshold": -1}}, "session.turn_detection.threshold"),
            ({"input_audio_transcription": {"model": "no-such"}}, "session.input_audio_transcription.model"),
            ({"include": ["everything"]}, "session.include.0"),
            ({"voice": "alloy"}, "session.voice"),
        ],
    )
    def test_in_the_words_of_beta(self, fake_server: Running, given: dict[str, Any], param: str) -> None:
        with in_session(fake_server) as client:
            client.send("transcription_session.update", session=given)
            assert client.read()["error"]["param"] == param

    @pytest.mark.parametrize("kind", ["realtime", "translation", 1])
    def test_sessions_that_do_not_transcribe(self, fake_server: Running, kind: object) -> None:
        with in_session(fake_server) as client:
            client.send("session.update", session={"type": kind})
            assert client.read()["error"]["param"] == "session.type"

    @pytest.mark.parametrize(
        ("text", "param"),
        [
            ("what is this?", None),
            ("[]", None),
            ("{}", "type"),
            ('{"type":5}', "type"),
            ('{"type":"response.create"}', "type"),
            ('{"type":"session.update"}', "session"),
            ('{"type":"session.update","session":{"audio":NaN}}', None),
            ('{"type":"input_audio_buffer.append"}', "audio"),
            ('{"type":"input_audio_buffer.append","audio":5}', "audio"),
            ('{"type":"input_audio_buffer.append","audio":"!!"}', "audio"),
            ('{"type":"input_audio_buffer.append","audio":"QUJ"}', "audio"),
            ('{"type":"input_audio_buffer.append","audio":"звук"}', "audio"),
            ("[" * 100_000, None),
        ],
        ids=lambda value: value[:40] if isinstance(value, str) else "",
    )
    def test_what_is_no_event_is_an_error_and_the_session_goes_on(
        self, fake_server: Running, text: str, param: str | None
    ) -> None:
        with in_session(fake_server) as client:
            client.connection.send(text)
            error = client.read()["error"]
            assert (error["type"], error["param"]) == ("invalid_request_error", param)
            client.connection.send(text.encode())  # nor is it as a binary message
            assert client.read()["type"] == "error"
            client.say(UTTERANCE)
            assert transcripts(client.read_until(COMPLETED)) == ["слово0 слово1"]

    @pytest.mark.parametrize("event_id", [5, "x" * 600])
    def test_an_event_id_that_is_none(self, fake_server: Running, event_id: object) -> None:
        with in_session(fake_server) as client:
            client.connection.send(json.dumps({"type": "input_audio_buffer.clear", "event_id": event_id}))
            error = client.read()["error"]
        assert (error["param"], error["event_id"]) == ("event_id", None)


class TestModel:
    def test_its_aliases_work(self, fake_server: Running) -> None:
        with connected(fake_server, "?model=gpt-4o-transcribe") as client:
            session = client.read()["session"]
            assert session["audio"]["input"]["transcription"]["model"] == "gpt-4o-transcribe"
            client.say(UTTERANCE)
            assert transcripts(client.read_until(COMPLETED)) == ["слово0 слово1"]

    def test_the_wishes_reach_the_engine(self) -> None:
        seen: list[Options] = []

        def script(_samples: object, options: Options) -> str:
            seen.append(options)
            return "да"

        wishes = {"language": "ru", "prompt": "Молва"}
        with serving(FakeEngine(script)) as server, in_session(server, transcription=wishes) as client:
            client.say(UTTERANCE)
            client.read_until(COMPLETED)
        assert set(seen) == {Options(language="ru", prompt="Молва")}

    def test_another_one_before_the_first_audio_and_not_after(self, two_models: Running) -> None:
        with in_session(two_models) as client:
            assert client.update(transcription={"model": "whisper-base"})["type"] == "session.updated"
            client.say(UTTERANCE)
            assert transcripts(client.read_until(COMPLETED)) == ["другая"]
            error = client.update(transcription={"model": "fake"})["error"]
            assert error["param"] == "session.audio.input.transcription.model"
            assert client.update(transcription={"model": "whisper-base"})["type"] == "session.updated"
            client.say(speech(1))

    def test_the_language_chooses(self, two_models: Running) -> None:
        with in_session(two_models, transcription={"language": "en"}) as client:
            client.say(UTTERANCE)
            assert transcripts(client.read_until(COMPLETED)) == ["другая"]

    def test_the_place_is_free_again_whatever_model_was_chosen(self, two_models: Running) -> None:
        for name in ("whisper-base", "fake"):
            with in_session(two_models, transcription={"model": name}):
                pass
            two_models.wait_until(lambda state: state.pool_available == 1)


@pytest.fixture
def two_models(tmp_path: Path) -> Iterator[Running]:
    """One place, a model that is served, and another one on this machine."""
    other = FakeEngine(lambda _samples, _options: "другая")
    other.info = replace(other.info, model="whisper-base", family="whisper", languages=("en", "ru"))
    scheduler = Scheduler(1)

    class Store(ModelStore):
        def installed(self) -> list[InstalledModel]:
            return [InstalledModel(find("whisper-base"), tmp_path)]

    def load(name: str) -> Lane:
        assert name == "whisper-base"
        return scheduler.lane(other)

    with serving(FakeEngine(), pool_size=1, store=Store(tmp_path), load=load) as server:
        yield server
    scheduler.close()
