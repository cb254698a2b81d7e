"""The road from audio to transcript, with the real tiny model and with scripted engines."""

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import jiwer
import numpy as np
import pytest

from molva.engines.base import Options
from molva.engines.fake import FakeEngine
from molva.engines.gigaam.model import load_gigaam
from molva.engines.silero import load_vad
from molva.errors import AudioError, AudioTooLong, Cancelled, InferenceError
from molva.runtime.scheduler import Lane, Scheduler
from molva.runtime.transcription import Transcription, transcribe_all
from molva.samples import Samples
from molva.transcript import Transcript
from tests.conftest import CLIPS, SEEN, TINY, Clip, read_flac
from tests.engines.gigaam.test_model import files_of

LONG = TINY / "unseen" / "long.flac"


@pytest.fixture(scope="module")
def tiny(tiny_dir: Path) -> Iterator[Lane]:
    scheduler = Scheduler(2)
    lane = scheduler.lane(load_gigaam(files_of("rnnt", tiny_dir), model="tiny", variant="rnnt"))
    yield lane
    scheduler.close()


def run(source: Path | bytes | Samples, lane: Lane) -> Transcript:
    return transcribe_all(source, lane, load_vad(), Options())


@pytest.mark.parametrize("clip", CLIPS, ids=lambda clip: clip.path.stem)
def test_a_short_file_gives_exactly_what_the_engine_makes_of_it(tiny: Lane, clip: Clip) -> None:
    transcript = run(clip.path, tiny)
    assert transcript.text == clip.rnnt
    assert len(transcript.segments) == 1
    assert transcript.language == "ru"


def test_a_long_file_is_as_good_as_its_utterances_alone(tiny: Lane) -> None:
    """147 s of 14 unseen utterances: the error rate of the windows is that of the utterances, within 5 points."""
    utterances = json.loads((TINY / "unseen" / "long.json").read_text(encoding="utf-8"))["segments"]
    reference = " ".join(u["reference"] for u in utterances)
    alone = jiwer.cer(reference, " ".join(u["rnnt"] for u in utterances))
    transcript = run(LONG, tiny)
    assert jiwer.cer(reference, transcript.text) <= alone + 0.05
    assert transcript.duration == pytest.approx(146.830, abs=0.001)
    assert transcript.coverage.speech_s == transcript.coverage.transcribed_s
    assert 100 < transcript.coverage.speech_s < 140


def test_words_have_times_of_the_file_in_order(tiny: Lane) -> None:
    words = run(LONG, tiny).words
    assert [w.start for w in words] == sorted(w.start for w in words)
    assert all(w.start <= w.end for w in words)
    utterances = json.loads((TINY / "unseen" / "long.json").read_text(encoding="utf-8"))["segments"]
    bounds = [(u["start"] - 0.3, u["end"] + 0.3) for u in utterances]
    outside = [w for w in words if not any(start <= w.start <= end for start, end in bounds)]
    assert outside == []


def test_an_array_gives_the_same_as_its_file(tiny: Lane) -> None:
    assert run(read_flac(LONG), tiny).words == run(LONG, tiny).words


def test_several_files_at_once_do_not_mix(tiny: Lane) -> None:
    texts: dict[int, str] = {}

    def work(number: int) -> None:
        texts[number] = run(SEEN[number].path, tiny).text

    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert texts == {i: SEEN[i].rnnt for i in range(6)}


def test_silence_gives_an_empty_transcript_without_the_engine() -> None:
    engine = FakeEngine()
    scheduler = Scheduler(1)
    lane = scheduler.lane(engine)
    transcript = run(np.zeros(60 * 16_000, np.float32), lane)
    assert (transcript.text, transcript.segments, transcript.duration) == ("", (), 60.0)
    assert transcript.coverage.speech_s == 0
    assert engine.calls == []
    scheduler.close()


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.full(16_000, 12_000.0), "Divide int16 samples by 32768"),
        (np.full(16_000, np.nan), "finite"),
        (np.zeros(16_000, np.int16), "floats"),
        (np.zeros((16_000, 2)), "one-dimensional"),
    ],
)
def test_an_array_of_another_kind_is_refused_with_advice(samples: Samples, message: str, tiny: Lane) -> None:
    with pytest.raises(AudioError, match=message):
        run(samples, tiny)


def test_an_array_over_the_limit_is_refused(tiny: Lane) -> None:
    transcription = Transcription(np.zeros(32_001), tiny, load_vad(), Options(), max_duration_s=2)
    with pytest.raises(AudioTooLong, match="limit of 2 s"):
        list(transcription)


def test_no_more_than_the_lookahead_is_in_flight() -> None:
    """However long the recording: the memory of a run is that of a few windows."""
    running, most, lock = [0], [0], threading.Lock()

    def script(samples: Samples, _options: Options) -> str:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        return "слово"

    scheduler = Scheduler(2)
    lane = scheduler.lane(FakeEngine(script))
    transcription = Transcription(np.tile(read_flac(LONG), 3), lane, load_vad(), Options())
    for _ in transcription:
        with lock:
            running[0] -= 1
        assert len(transcription._in_flight) <= lane.lookahead
    assert most[0] <= lane.lookahead + 1
    scheduler.close()


def test_progress_goes_forward_to_the_end(tiny: Lane) -> None:
    transcription = Transcription(LONG, tiny, load_vad(), Options())
    seen = [transcription.done_s for _ in transcription] + [transcription.done_s]
    assert transcription.declared_duration == pytest.approx(146.83, abs=0.01)
    assert seen == sorted(seen)
    assert seen[0] > 0
    assert seen[-1] == pytest.approx(146.83, abs=0.01)


def test_cancelling_stops_at_the_next_window() -> None:
    engine, cancelled = FakeEngine(), threading.Event()
    scheduler = Scheduler(1)
    lane = scheduler.lane(engine)
    transcription = Transcription(np.tile(read_flac(LONG), 5), lane, load_vad(), Options(), cancelled=cancelled)
    segments = iter(transcription)
    next(segments)
    cancelled.set()
    with pytest.raises(Cancelled):
        list(segments)
    scheduler.close()
    assert len(engine.calls) <= lane.lookahead + 1


def test_a_failing_window_fails_the_whole_and_takes_the_rest_back() -> None:
    calls = iter(range(1000))

    def script(samples: Samples, _options: Options) -> str:
        if next(calls) == 1:
            raise RuntimeError("boom")
        return "слово"

    engine = FakeEngine(script)
    scheduler = Scheduler(1)
    lane = scheduler.lane(engine)
    with pytest.raises(InferenceError):
        run(np.tile(read_flac(LONG), 2), lane)
    scheduler.close()
    assert len(engine.calls) <= 2 + lane.lookahead


def test_the_first_window_tells_the_language_of_the_whole() -> None:
    """A model of several languages is asked once; later windows are decoded in the language it told."""
    asked: list[str | None] = []

    def script(samples: Samples, options: Options) -> str:
        asked.append(options.language)
        return "слово"

    engine = FakeEngine(script)
    engine.info = replace(engine.info, languages=("en", "ru"))
    scheduler = Scheduler(2)
    lane = scheduler.lane(engine)
    transcript = run(LONG, lane)
    scheduler.close()
    assert transcript.language == "ru"
    assert asked[0] is None
    assert set(asked[1:]) == {"ru"}


def test_a_translation_is_in_english_and_later_windows_keep_the_language_that_was_heard() -> None:
    asked: list[str | None] = []

    def script(samples: Samples, options: Options) -> str:
        asked.append(options.language)
        return "word"

    engine = FakeEngine(script)
    engine.info = replace(engine.info, languages=("en", "ru"), tasks=("transcribe", "translate"))
    scheduler = Scheduler(1)
    lane = scheduler.lane(engine)
    transcript = transcribe_all(LONG, lane, load_vad(), Options(task="translate"))
    scheduler.close()
    assert transcript.language == "en"
    assert set(asked[1:]) == {"ru"}
