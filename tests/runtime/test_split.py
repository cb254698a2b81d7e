"""Recordings with a speaker on each channel: each is transcribed as if it were alone, and both are one dialogue."""

import threading
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from molva.audio.array import open_audio
from molva.engines.base import Hypothesis, Options
from molva.engines.fake import FakeEngine
from molva.engines.silero import load_vad
from molva.errors import Cancelled
from molva.runtime.plan import Plan, plan
from molva.runtime.scheduler import Lane, Scheduler
from molva.runtime.transcription import Resumption, Transcription, transcribe_all
from molva.samples import SAMPLE_RATE, Samples
from molva.speech.chunks import WindowRule
from molva.transcript import Transcript, Word
from tests.conftest import DATA, TINY, read_flac
from tests.media import encode, encode_channels

LONG = read_flac(TINY / "unseen" / "long.flac")
SECOND = SAMPLE_RATE


def equally_long(*recordings: Samples) -> list[Samples]:
    longest = max(len(recording) for recording in recordings)
    return [np.pad(recording, (0, longest - len(recording))) for recording in recordings]


CALL = equally_long(read_flac(DATA / "festvox" / "minute.flac"), read_flac(DATA / "four_voices" / "conversation.flac"))
"""Two recordings that know nothing of each other: they often speak at the same time."""


@pytest.fixture(scope="module")
def alone(tiny: Lane) -> list[Transcript]:
    """Each side of the call as a file of its own."""
    return [transcribe_all(encode(side, "wav", "pcm_s16le"), tiny, load_vad(), Options()) for side in CALL]


def split(source: bytes | Samples, lane: Lane) -> Transcript:
    return transcribe_all(source, lane, load_vad(), Options(), channels="split")


def side(transcript: Transcript, number: int) -> list[Word]:
    """The words of one side, as if nobody had been told apart."""
    words = [word for segment in transcript.segments for word in segment.words]
    return [replace(word, speaker=None) for word in words if word.speaker == number]


def text_of(transcript: Transcript, number: int) -> str:
    return " ".join(segment.text for segment in transcript.segments if segment.words[0].speaker == number)


@pytest.mark.parametrize(("container", "codec"), [("wav", "pcm_s16le"), ("flac", "flac")])
def test_each_side_of_a_call_is_what_its_recording_gives_alone(
    container: str, codec: str, tiny: Lane, alone: list[Transcript]
) -> None:
    call = split(encode_channels(CALL, container, codec), tiny)
    assert call.channels == 2
    for number, mono in enumerate(alone):
        assert mono.words
        assert text_of(call, number) == mono.text
        assert side(call, number) == list(mono.words)
    assert call.coverage.speech_s == pytest.approx(sum(mono.coverage.speech_s for mono in alone))
    assert call.coverage.transcribed_s == call.coverage.speech_s
    assert call.duration == alone[0].duration == alone[1].duration


def test_the_sides_interleave_in_time(tiny: Lane) -> None:
    call = split(encode_channels(CALL, "flac", "flac"), tiny)
    starts = [segment.start for segment in call.segments]
    assert starts == sorted(starts)
    speakers = [segment.words[0].speaker for segment in call.segments]
    assert sum(one != other for one, other in pairwise(speakers)) >= 4
    assert [word.start for word in call.words] == sorted(word.start for word in call.words)


def test_speech_at_the_same_time_is_kept_on_both_sides(tiny: Lane) -> None:
    """Both sides say the same words at the same instant."""
    sentence = LONG[: 12 * SECOND]
    mono = transcribe_all(sentence, tiny, load_vad(), Options())
    both = split(np.stack([sentence, sentence]), tiny)
    assert side(both, 0) == side(both, 1) == list(mono.words)
    assert len(mono.words) >= 5


def test_opus_on_two_channels_gives_what_its_sides_give_alone(tiny: Lane) -> None:
    file = encode_channels(CALL, "ogg", "libopus", rate=48_000)
    with open_audio(file) as reader:
        decoded = np.concatenate(list(reader.blocks("split")), axis=1)
    call = split(file, tiny)
    for number, samples in enumerate(decoded):
        assert side(call, number) == list(transcribe_all(samples, tiny, load_vad(), Options()).words)


def test_a_recording_with_one_channel_has_one_side(tiny: Lane) -> None:
    file = encode(LONG[: 40 * SECOND], "wav", "pcm_s16le")
    mono = transcribe_all(file, tiny, load_vad(), Options())
    found = split(file, tiny)
    assert (found.channels, mono.channels) == (1, None)
    assert found.text == mono.text
    assert side(found, 0) == list(mono.words)


def test_a_silent_side_says_nothing(tiny: Lane) -> None:
    mono = transcribe_all(LONG[: 40 * SECOND], tiny, load_vad(), Options())
    found = split(np.stack([np.zeros(40 * SECOND, np.float32), LONG[: 40 * SECOND]]), tiny)
    assert side(found, 1) == list(mono.words)
    assert side(found, 0) == []
    assert found.channels == 2


def test_segments_come_with_their_speaker_as_soon_as_they_are_final(tiny: Lane) -> None:
    transcription = Transcription(np.stack(CALL), tiny, load_vad(), Options(), channels="split")
    told = list(transcription)
    assert transcription.transcript is not None
    assert sorted(word.start for segment in told for word in segment.words) == [
        word.start for word in transcription.transcript.words
    ]
    assert {word.speaker for segment in told for word in segment.words} == {0, 1}


def test_progress_goes_forward_to_the_end(tiny: Lane) -> None:
    transcription = Transcription(np.stack(CALL), tiny, load_vad(), Options(), channels="split")
    seen = [transcription.done_s for _ in transcription] + [transcription.done_s]
    assert seen == sorted(seen)
    assert seen[-1] == pytest.approx(len(CALL[0]) / SECOND, abs=0.001)


def test_no_more_than_the_lookahead_is_in_flight() -> None:
    """Both sides together: twice the speech is not twice the memory for windows."""
    scheduler = Scheduler(2)
    lane = scheduler.lane(FakeEngine())
    transcription = Transcription(np.stack([LONG, LONG[::-1]]), lane, load_vad(), Options(), channels="split")
    assert [len(transcription._in_flight) <= lane.lookahead for _ in transcription].count(False) == 0
    scheduler.close()


def test_each_side_has_its_language() -> None:
    """An interpreter's call: the first window of each side tells its own."""
    asked: list[tuple[bool, str | None]] = []

    class Polyglot(FakeEngine):
        def _hypothesis(self, window: Samples, options: Options) -> Hypothesis:
            loud = bool(np.abs(window).max() > 0.1)
            asked.append((loud, options.language))
            return replace(super()._hypothesis(window, options), language="ru" if loud else "en")

    engine = Polyglot(lambda _window, _options: "слово")
    engine.info = replace(engine.info, languages=("en", "ru"))
    scheduler = Scheduler(1)
    voice = LONG / np.abs(LONG).max()
    # Each window is as loud as its side.
    quiet, loud = (voice * 0.08).astype(np.float32), voice.astype(np.float32)
    transcript = split(np.stack([loud, quiet]), scheduler.lane(engine))
    scheduler.close()
    assert transcript.segments
    for is_loud, language in ((True, "ru"), (False, "en")):
        of_side = [told for side_is_loud, told in asked if side_is_loud == is_loud]
        assert of_side[0] is None
        assert set(of_side[1:]) == {language}


def test_repetitions_are_looked_for_on_each_side_alone() -> None:
    """Who repeats what the other side has said is no decoder in a loop."""
    scheduler = Scheduler(1)
    lane = scheduler.lane(FakeEngine(lambda _window, _options: "раз два три"))
    sentence = LONG[: 20 * SECOND]
    transcription = Transcription(
        np.stack([sentence, sentence]), lane, load_vad(), Options(), channels="split", repetitions=False
    )
    list(transcription)
    scheduler.close()
    assert transcription.transcript is not None
    assert [segment.text for segment in transcription.transcript.segments] == ["раз два три"] * 2


def test_cancelling_stops_at_the_next_window() -> None:
    engine, cancelled = FakeEngine(), threading.Event()
    scheduler = Scheduler(1)
    lane = scheduler.lane(engine)
    stereo = np.stack([np.tile(LONG, 3)] * 2)
    transcription = Transcription(stereo, lane, load_vad(), Options(), cancelled=cancelled, channels="split")
    segments = iter(transcription)
    next(segments)
    cancelled.set()
    with pytest.raises(Cancelled):
        list(segments)
    scheduler.close()
    assert len(engine.calls) <= lane.lookahead + 1


def follow(lane: Lane, planned: Plan, finished: list[Hypothesis], told: list[Hypothesis]) -> Transcript:
    resumption = Resumption(planned, finished, lambda _index, hypothesis, _language: told.append(hypothesis))
    transcription = Transcription(np.stack(CALL), lane, load_vad(), Options(), resumption=resumption, channels="split")
    list(transcription)
    assert transcription.transcript is not None
    return transcription.transcript


def test_a_plan_has_the_windows_of_both_sides_and_can_be_taken_up_anywhere(tiny: Lane) -> None:
    rule = WindowRule(max_s=tiny.info.max_window_s)
    planned, waveform = plan(np.stack(CALL), load_vad(), rule, cancelled=threading.Event(), channels="split")
    looked_through = [plan(recording, load_vad(), rule, cancelled=threading.Event()) for recording in CALL]
    mono, waveforms = [planned for planned, _ in looked_through], [waveform for _, waveform in looked_through]
    assert waveform.peaks == bytes(map(max, *(waveform.peaks for waveform in waveforms)))
    for number, one in enumerate(mono):
        windows = [replace(window, side=0) for window in planned.windows if window.side == number]
        assert tuple(windows) == one.windows
    heard: list[Hypothesis] = []
    undisturbed = follow(tiny, planned, [], heard)
    assert undisturbed == split(np.stack(CALL), tiny)
    for done in (1, len(heard) // 2, len(heard)):
        further: list[Hypothesis] = []
        assert follow(tiny, planned, heard[:done], further) == undisturbed
        assert heard[done:] == further
