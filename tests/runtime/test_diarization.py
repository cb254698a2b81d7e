"""Speakers beside a transcription: they never spoil it."""

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from molva.engines.base import Options
from molva.engines.fake import FakeEngine
from molva.engines.silero import load_vad
from molva.errors import Cancelled, DiarizationUnavailable
from molva.models.store import ModelStore
from molva.runtime.diarization import BLOCKS_AHEAD, Diarization
from molva.runtime.scheduler import Lane, Scheduler
from molva.runtime.speakers import SpeakerModels, Speakers
from molva.runtime.transcription import Transcription
from molva.samples import SAMPLE_RATE, Samples
from molva.speech.clustering import Embedding, SpeakerCount
from molva.speech.diarization import Activity, Segment
from molva.transcript import Transcript
from tests.conftest import DATA
from tests.speaker_models import silence, voice

SPEECH = DATA / "festvox" / "minute.flac"
SECOND = np.zeros(SAMPLE_RATE, np.float32)


@pytest.fixture
def models(speaker_dir: Path) -> SpeakerModels:
    return Speakers(ModelStore(speaker_dir)).load()


@pytest.fixture
def lane() -> Iterator[Lane]:
    scheduler = Scheduler(1)
    yield scheduler.lane(FakeEngine())
    scheduler.close()


def broken(_window: Samples) -> Activity:
    raise RuntimeError("the model is broken")


def ends(_window: Samples) -> Activity:
    raise SystemExit


def transcribe(lane: Lane, models: SpeakerModels, *, deadline: float | None = None) -> Transcript:
    diarization = Diarization(models, SpeakerCount(), deadline=deadline)
    transcription = Transcription(SPEECH, lane, load_vad(), Options(), diarization=diarization)
    for _ in transcription:
        pass
    assert transcription.transcript is not None
    return transcription.transcript


def test_two_voices_have_their_turns(models: SpeakerModels) -> None:
    diarization = Diarization(models, SpeakerCount())
    for _ in range(2):
        for hz in (200, 2000):
            diarization.feed(voice(hz, 4))
            diarization.feed(silence(0.5))
    turns = diarization.finish()
    assert turns is not None
    assert [turn.speaker for turn in turns] == [0, 1, 0, 1]


def test_every_word_has_a_speaker(lane: Lane, models: SpeakerModels) -> None:
    transcript = transcribe(lane, models)
    assert transcript.diarization == "done"
    assert {word.speaker for word in transcript.words} >= {0}
    assert None not in {word.speaker for word in transcript.words}


@pytest.mark.parametrize("segment", [broken, ends])
def test_a_model_that_fails_costs_the_speakers_and_not_the_text(
    lane: Lane, models: SpeakerModels, caplog: pytest.LogCaptureFixture, segment: Segment
) -> None:
    whole = transcribe(lane, models)
    with caplog.at_level(logging.WARNING):
        transcript = transcribe(lane, SpeakerModels(segment, models.embed))
    assert transcript.diarization == "failed"
    assert transcript.text == whole.text
    assert {word.speaker for word in transcript.words} == {None}
    assert "speakers are not told apart" in caplog.text


def test_what_takes_longer_than_the_deadline_is_given_up(lane: Lane, models: SpeakerModels) -> None:
    gate = threading.Event()

    def hanging(window: Samples) -> Activity:
        gate.wait(20)
        return models.segment(window)

    try:
        transcript = transcribe(lane, SpeakerModels(hanging, models.embed), deadline=time.monotonic() + 4)
    finally:
        gate.set()
    assert transcript.diarization == "failed"
    assert transcript.text


def test_without_a_thread_there_are_no_speakers_and_nothing_is_left_to_wait_for(
    lane: Lane, models: SpeakerModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    diarization = Diarization(models, SpeakerCount())
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        diarization.feed(SECOND)
    assert diarization.finish() is None
    assert all(future.done() for future in diarization.running)


def test_without_audio_there_is_nobody(models: SpeakerModels) -> None:
    assert Diarization(models, SpeakerCount()).finish() == ()


def test_audio_waits_while_the_models_are_behind(models: SpeakerModels) -> None:
    gate = threading.Event()
    fed: list[int] = []

    def slow(window: Samples) -> Activity:
        gate.wait(20)
        return models.segment(window)

    diarization = Diarization(SpeakerModels(slow, models.embed), SpeakerCount())

    def feed() -> None:
        for i in range(3 * BLOCKS_AHEAD):
            diarization.feed(SECOND)
            fed.append(i)

    feeding = threading.Thread(target=feed)
    feeding.start()
    feeding.join(1)
    # What waits, and the window in hand with the block behind it.
    assert len(fed) <= BLOCKS_AHEAD + 11
    gate.set()
    feeding.join(20)
    assert len(fed) == 3 * BLOCKS_AHEAD
    assert diarization.finish() == ()


def test_whoever_goes_frees_the_models(models: SpeakerModels) -> None:
    diarization = Diarization(models, SpeakerCount())
    diarization.feed(SECOND)
    diarization.close()
    [running] = diarization.running
    assert running.exception(20) is not None


def test_a_cancelled_transcription_ends_its_diarization(lane: Lane, models: SpeakerModels) -> None:
    cancelled = threading.Event()
    diarization = Diarization(models, SpeakerCount())
    transcription = Transcription(SPEECH, lane, load_vad(), Options(), cancelled=cancelled, diarization=diarization)
    segments = iter(transcription)
    next(segments)
    cancelled.set()
    with pytest.raises(Cancelled):
        list(segments)
    for running in transcription.running:
        running.exception(20)
    assert transcription.running == []


def test_what_never_began_runs_nowhere(lane: Lane, models: SpeakerModels) -> None:
    transcription = Transcription(SPEECH, lane, load_vad(), Options(), diarization=Diarization(models, SpeakerCount()))
    iter(transcription).close()
    assert transcription.running == []


def test_models_that_are_not_here_are_named(tmp_path: Path) -> None:
    speakers = Speakers(ModelStore(tmp_path))
    with pytest.raises(DiarizationUnavailable, match="molva models pull speakers"):
        speakers.load()
    speakers.load_if_here()
    assert speakers.models is None


def test_models_that_come_later_are_found(tmp_path: Path, speaker_dir: Path) -> None:
    speakers = Speakers(ModelStore(tmp_path / "models"))
    speakers.load_if_here()
    (tmp_path / "models").symlink_to(speaker_dir)
    speakers.load()
    assert speakers.models is not None


def test_a_damaged_model_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("segmentation-3.0.onnx", "wespeaker_resnet34.onnx"):
        (tmp_path / name).write_bytes(b"no graph")
    with caplog.at_level(logging.WARNING):
        Speakers(ModelStore(tmp_path)).load_if_here()
    assert "segmentation-3.0.onnx" in caplog.text


def test_no_embedding_at_all_is_nobody(models: SpeakerModels) -> None:
    def deaf(_pieces: Sequence[Samples]) -> Embedding | None:
        return None

    diarization = Diarization(SpeakerModels(models.segment, deaf), SpeakerCount())
    diarization.feed(voice(200, 12))
    assert diarization.finish() == ()
