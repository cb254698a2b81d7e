"""Speakers in /v1/transcribe: asked for, by default, counted, and where they cannot be told apart."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from molva.engines.fake import FakeEngine
from molva.models.store import ModelStore
from molva.runtime.speakers import SpeakerModels, Speakers
from molva.samples import Samples
from molva.speech.diarization import Activity
from tests.http.conftest import Running, serving, wav
from tests.speaker_models import SoundVad, silence, voice

TWO = wav(np.concatenate([voice(200, 5), silence(0.5), voice(2000, 5), silence(0.5), voice(200, 5)]))


@pytest.fixture(scope="module")
def server(speaker_dir: Path) -> Iterator[Running]:
    speakers = Speakers(ModelStore(speaker_dir))
    speakers.load()
    with serving(FakeEngine(), speakers=speakers, vad=SoundVad()) as running:
        yield running


@pytest.fixture(scope="module")
def without(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server without the models."""
    speakers = Speakers(ModelStore(tmp_path_factory.mktemp("empty")))
    with serving(FakeEngine(), speakers=speakers, diarization=True) as running:
        yield running


def test_each_word_has_its_speaker(server: Running) -> None:
    answer = server.client.post("/v1/transcribe?diarization=true", content=TWO)
    assert answer.status_code == 200
    body = answer.json()
    assert body["diarization"] == answer.headers["x-diarization"] == "done"
    middles = {0: [2.5, 13.5], 1: [8.0]}
    for speaker, times in middles.items():
        for time in times:
            [at] = [word for word in body["words"] if word["start"] <= time < word["end"]]
            assert at["speaker"] == speaker


def test_nobody_is_told_apart_unless_asked(server: Running) -> None:
    answer = server.client.post("/v1/transcribe", content=TWO)
    assert "diarization" not in answer.json()
    assert "x-diarization" not in answer.headers
    assert all("speaker" not in word for word in answer.json()["words"])


def test_subtitles_are_marked(server: Running) -> None:
    text = server.client.post("/v1/transcribe?format=srt&diarization=true", content=TWO).text
    assert "[SPEAKER_0] " in text
    assert "[SPEAKER_1] " in text


def test_markdown_counts_them(server: Running) -> None:
    text = server.client.post("/v1/transcribe?format=md&diarization=true", content=TWO).text
    assert "\nspeakers: 2\n" in text


def test_a_known_number_is_kept_to(server: Running) -> None:
    body = server.client.post("/v1/transcribe?diarization=true&num_speakers=1", content=TWO).json()
    assert {word["speaker"] for word in body["words"]} == {0}


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("num_speakers=2", "num_speakers needs diarization=true"),
        ("min_speakers=2&diarization=false", "min_speakers needs diarization=true"),
        ("diarization=true&num_speakers=0", "num_speakers must be 1 to 64, not 0"),
        ("diarization=true&max_speakers=65", "max_speakers must be 1 to 64, not 65"),
        ("diarization=true&min_speakers=3&max_speakers=2", "min_speakers 3 is more than max_speakers 2"),
        ("diarization=true&num_speakers=2&max_speakers=3", "num_speakers goes without min_speakers and max_speakers"),
    ],
)
def test_numbers_that_cannot_be_meant_are_refused(server: Running, query: str, message: str) -> None:
    answer = server.client.post(f"/v1/transcribe?{query}", content=TWO)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_option")
    assert answer.json()["message"] == message


def test_the_capability_is_told(server: Running, without: Running) -> None:
    for running, able in ((server, True), (without, False)):
        assert running.client.get("/health").json()["diarization"] is able
        assert running.client.get("/v1/models").json()["diarization"] is able


def test_without_the_models_who_asks_is_told_how_to_get_them(without: Running) -> None:
    answer = without.client.post("/v1/transcribe?diarization=true", content=TWO)
    assert (answer.status_code, answer.json()["code"]) == (409, "diarization_not_available")
    assert "molva models pull speakers" in answer.json()["message"]


def test_without_the_models_the_default_is_the_text_alone(without: Running) -> None:
    answer = without.client.post("/v1/transcribe", content=TWO)
    assert answer.status_code == 200
    assert "diarization" not in answer.json()


def test_a_refused_request_leaves_its_place_free(without: Running) -> None:
    for _ in range(3):
        without.client.post("/v1/transcribe?diarization=true", content=TWO)
    assert without.client.get("/ready").json()["pool_available"] == 2


def test_a_server_may_tell_them_apart_by_default(speaker_dir: Path) -> None:
    speakers = Speakers(ModelStore(speaker_dir))
    speakers.load()
    with serving(FakeEngine(), speakers=speakers, diarization=True) as running:
        assert running.client.post("/v1/transcribe", content=TWO).json()["diarization"] == "done"
        declined = running.client.post("/v1/transcribe?diarization=false", content=TWO).json()
        assert "diarization" not in declined


def test_a_failure_is_told_in_every_format_and_costs_no_text(
    speaker_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    speakers = Speakers(ModelStore(speaker_dir))
    embed = speakers.load().embed

    def broken(_window: Samples) -> Activity:
        raise RuntimeError("the model is broken")

    monkeypatch.setattr(speakers, "load", lambda: SpeakerModels(broken, embed))
    with serving(FakeEngine(), speakers=speakers, vad=SoundVad()) as running:
        for name in ("json", "txt", "srt"):
            answer = running.client.post(f"/v1/transcribe?diarization=true&format={name}", content=TWO)
            assert answer.status_code == 200
            assert answer.headers["x-diarization"] == "failed"
            assert "слово0" in answer.text
        running.wait_until(lambda state: state.pool_available == 2)
