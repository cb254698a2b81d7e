"""Speakers in /v1/ws: on the words of finals, with numbers that stay."""

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from molva.engines.base import Options
from molva.engines.fake import FakeEngine, count_seconds
from molva.models.store import ModelStore
from molva.runtime import live
from molva.runtime.speakers import SpeakerModels, Speakers
from molva.samples import SAMPLE_RATE, Samples
from molva.speech.clustering import Embedding
from molva.speech.diarization import Activity
from tests.http.conftest import Running, serving
from tests.http.wsclient import Message, connected, in_session, of_type, silence, speech

OFFSET = 0.05
"""What the samples of the second speaker are shifted by, who otherwise says the same."""


def other(length_s: float) -> Samples:
    """Speech by somebody else."""
    return speech(length_s) + np.float32(OFFSET)


def embed(pieces: Sequence[Samples]) -> Embedding:
    """Voices are told by their shift: real speech shifts by nothing."""
    shifted = np.concatenate(pieces).mean() > OFFSET / 2
    return np.array([shifted, not shifted], np.float32)


@pytest.fixture(scope="module")
def speakers(speaker_dir: Path) -> Speakers:
    """The segmentation hears sound or none."""
    speakers = Speakers(ModelStore(speaker_dir))
    speakers.models = SpeakerModels(speakers.load().segment, embed)
    return speakers


@pytest.fixture(scope="module")
def server(speakers: Speakers) -> Iterator[Running]:
    with serving(FakeEngine(), speakers=speakers) as running:
        yield running


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine is no failure."""
    monkeypatch.setattr(live, "SPEAKERS_WAIT_S", 60.0)
    monkeypatch.setattr(live, "LAST_SPEAKERS_WAIT_S", 60.0)


def numbers(message: Message) -> list[int | None]:
    return [word.get("speaker") for word in message["words"]]


def spoken(messages: list[Message]) -> list[Message]:
    """Finals that say something."""
    return [message for message in of_type("final", messages) if message["words"]]


def test_words_of_finals_have_their_speakers_in_the_order_of_appearance(server: Running) -> None:
    with in_session(server, diarization=True) as client:
        client.say(other(4), silence(1), speech(4), silence(1), other(4), silence(1))
        messages = client.stop()
    assert [set(numbers(final)) for final in spoken(messages)] == [{0}, {1}, {0}]
    assert all("speaker" not in word for partial in of_type("partial", messages) for word in partial["words"])
    assert [final["endpoint_reason"] for final in of_type("final", messages)] == ["vad", "vad", "vad", "stop"]


def test_what_is_still_open_at_the_end_has_its_speaker_too(server: Running) -> None:
    with in_session(server, diarization=True, endpoint_mode="manual") as client:
        client.say(other(4), silence(1), speech(4))
        [final] = spoken(client.stop())
    told = numbers(final)
    assert told == sorted(told, key=lambda number: number or 0)
    assert set(told) == {0, 1}


def test_the_text_is_that_of_a_session_without_speakers(server: Running) -> None:
    told = []
    for diarization in (False, True):
        with in_session(server, diarization=diarization) as client:
            client.say(other(4), silence(1), speech(4), silence(1))
            told.append([final["text"] for final in of_type("final", client.stop())])
    assert told[0] == told[1]


def test_nobody_is_told_apart_unless_asked(server: Running) -> None:
    with in_session(server) as client:
        client.say(speech(4), silence(1))
        [final] = spoken(client.stop())
    assert numbers(final) == [None] * len(final["words"])


def test_the_last_wish_before_the_audio_counts(server: Running) -> None:
    with in_session(server, diarization=True) as client:
        client.send(type="configure", diarization=None)
        client.say(speech(4), silence(1))
        [final] = spoken(client.stop())
        assert set(numbers(final)) == {0}
    with in_session(server, diarization=True) as client:
        client.send(type="configure", diarization=False)
        client.say(speech(4), silence(1))
        [final] = spoken(client.stop())
        assert set(numbers(final)) == {None}


def test_ready_tells_whether_the_models_are_there(server: Running) -> None:
    with connected(server) as client:
        assert client.read()["diarization"] is True


def test_without_the_models_the_wish_is_ignored(tmp_path: Path) -> None:
    with (
        serving(FakeEngine(), speakers=Speakers(ModelStore(tmp_path))) as server,
        connected(server) as client,
    ):
        assert "diarization" not in client.read()
        client.send(type="configure", sample_rate=SAMPLE_RATE, diarization=True)
        client.say(speech(2), silence(1))
        messages = client.stop()
    assert of_type("error", messages) == []
    assert {number for final in spoken(messages) for number in numbers(final)} == {None}


def test_models_that_fail_cost_no_text(speakers: Speakers, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_window: Samples) -> Activity:
        raise RuntimeError("the model is broken")

    monkeypatch.setattr(speakers, "models", SpeakerModels(broken, embed))
    with serving(FakeEngine(), speakers=speakers) as server, in_session(server, diarization=True) as client:
        client.say(speech(4), silence(1))
        messages = client.stop()
    [final] = spoken(messages)
    assert set(numbers(final)) == {None}
    assert of_type("error", messages) == []


def test_a_final_does_not_wait_for_ever(speakers: Speakers, monkeypatch: pytest.MonkeyPatch) -> None:
    """The models hang until the client has its final."""
    segment = speakers.load().segment
    told = threading.Event()

    def slow(window: Samples) -> Activity:
        assert told.wait(60)
        return segment(window)

    monkeypatch.setattr(speakers, "models", SpeakerModels(slow, embed))
    monkeypatch.setattr(live, "SPEAKERS_WAIT_S", 0.05)
    with serving(FakeEngine(), speakers=speakers) as server, in_session(server, diarization=True) as client:
        client.say(speech(3), silence(1))
        final = client.read_until("final")[-1]
        told.set()
    assert set(numbers(final)) == {None}
    assert final["text"]


def test_after_a_panic_nobody_is_told_apart(speakers: Speakers) -> None:
    panics: list[bool] = []

    def script(samples: Samples, options: Options) -> str:
        if panics:
            panics.pop()
            raise ValueError("boom")
        return count_seconds(samples, options)

    with (
        serving(FakeEngine(script), speakers=speakers, workers=1) as server,
        in_session(server, diarization=True) as client,
    ):
        client.say(speech(4), silence(1))
        before = client.settled()
        panics.append(True)
        client.say(speech(4), silence(1))
        client.settled()
        client.say(speech(4), silence(1))
        after = client.stop()
    assert {number for final in spoken(before) for number in numbers(final)} == {0}
    assert {number for final in spoken(after) for number in numbers(final)} == {None}


def test_a_place_is_free_again_when_the_models_are(server: Running) -> None:
    with in_session(server, diarization=True) as client:
        client.say(speech(4))
        client.read_until("partial")
    server.wait_until(lambda state: state.pool_available == 2)
