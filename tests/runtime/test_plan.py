"""The plan of a recording, and a transcription that follows it."""

import math
import threading

import numpy as np
import pytest

from molva.audio.array import open_audio
from molva.engines.base import Hypothesis, Options
from molva.engines.fake import FakeEngine
from molva.engines.silero import load_vad
from molva.errors import AudioError, Cancelled, InferenceTimeout
from molva.runtime.plan import Plan, cut, plan
from molva.runtime.queue import Priority
from molva.runtime.scheduler import Lane, Scheduler
from molva.runtime.transcription import Resumption, Transcription, transcribe_all
from molva.samples import SAMPLE_RATE, Samples
from molva.speech.chunks import WindowRule
from molva.speech.waveform import Waveform
from molva.transcript import Transcript
from tests.conftest import TINY

LONG = TINY / "unseen" / "long.flac"
RULE = WindowRule(max_s=12.0)
"""Shorter windows than the engine could take, so that there are more of them."""


@pytest.fixture(scope="module")
def planned() -> Plan:
    return plan(LONG, load_vad(), RULE, cancelled=threading.Event())[0]


def follow(
    lane: Lane, planned: Plan, finished: list[Hypothesis], told: list[tuple[int, Hypothesis, str | None]]
) -> Transcript:
    resumption = Resumption(planned, finished, lambda *window: told.append(window))
    transcription = Transcription(
        LONG, lane, load_vad(), Options(), priority=Priority.JOB, resumption=resumption, rule=None
    )
    assert list(transcription)
    assert transcription.transcript is not None
    return transcription.transcript


def test_the_windows_of_a_plan_are_those_of_the_file_itself(planned: Plan) -> None:
    with open_audio(LONG, max_duration_s=None) as reader:
        windows = [window for _, window in cut(reader.blocks(), planned.windows)]
        audio_s = reader.duration
    assert [window.start for window in windows] == [window.start for window in planned.windows]
    assert [window.samples.size for window in windows] == [window.size for window in planned.windows]
    assert planned.duration_s == pytest.approx(audio_s, abs=0.001)
    whole = np.concatenate(list(open_audio(LONG, max_duration_s=None).__enter__()))
    for window in windows:
        assert np.array_equal(window.samples, whole[window.start : window.end])


def test_following_a_plan_gives_what_the_file_gives(tiny: Lane) -> None:
    whole, _ = plan(LONG, load_vad(), WindowRule(max_s=tiny.info.max_window_s), cancelled=threading.Event())
    told: list[tuple[int, Hypothesis, str | None]] = []
    assert follow(tiny, whole, [], told) == transcribe_all(LONG, tiny, load_vad(), Options())
    assert [number for number, _, _ in told] == list(range(len(whole.windows)))


def test_taken_up_anywhere_the_result_is_the_same(tiny: Lane, planned: Plan) -> None:
    told: list[tuple[int, Hypothesis, str | None]] = []
    undisturbed = follow(tiny, planned, [], told)
    heard = [hypothesis for _, hypothesis, _ in told]
    for done in (1, len(heard) // 2, len(heard)):
        further: list[tuple[int, Hypothesis, str | None]] = []
        assert follow(tiny, planned, heard[:done], further) == undisturbed
        assert [number for number, _, _ in further] == list(range(done, len(heard)))


def test_finished_windows_are_not_decoded_again(planned: Plan) -> None:
    scheduler, engine = Scheduler(1), FakeEngine()
    finished = [Hypothesis("раз", (), (), "ru")] * (len(planned.windows) - 1)
    follow(scheduler.lane(engine), planned, finished, [])
    assert len(engine.calls) == 1
    scheduler.close()


def test_silence_has_no_windows() -> None:
    silence = np.zeros(SAMPLE_RATE * 60, np.float32)
    found, waveform = plan(silence, load_vad(), RULE, cancelled=threading.Event())
    assert found == Plan((), 60.0)
    assert waveform == Waveform(60.0, 0.1, bytes(600), ())


def test_the_picture_shows_the_speech_that_the_windows_have(planned: Plan) -> None:
    _, waveform = plan(LONG, load_vad(), RULE, cancelled=threading.Event())
    assert waveform.duration_s == planned.duration_s
    assert len(waveform.peaks) == math.ceil(planned.duration_s / 0.1)
    painted_s = sum(end - start for start, end in waveform.speech)
    assert painted_s == pytest.approx(sum(window.speech for window in planned.windows) / SAMPLE_RATE, rel=0.1)


def test_what_is_not_audio_is_told_so() -> None:
    with pytest.raises(AudioError):
        plan(b"not audio at all", load_vad(), RULE, cancelled=threading.Event())


def test_looking_through_can_be_called_off() -> None:
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(Cancelled):
        plan(LONG, load_vad(), RULE, cancelled=cancelled)


def test_a_window_that_hangs_ends_the_transcription_and_frees_its_worker(planned: Plan) -> None:
    may_go = threading.Event()

    def hang(samples: Samples, _options: Options) -> str:
        may_go.wait(20)
        return "поздно"

    scheduler = Scheduler(1)
    lane = scheduler.lane(FakeEngine(hang))
    transcription = Transcription(
        LONG,
        lane,
        load_vad(),
        Options(),
        resumption=Resumption(planned, [], lambda *_: None),
        window_timeout_s=0.2,
    )
    with pytest.raises(InferenceTimeout):
        list(transcription)
    other = scheduler.lane(FakeEngine()).submit(np.ones(SAMPLE_RATE, np.float32), Options())
    assert other.result(20).text == "слово0"
    may_go.set()
    scheduler.close()
