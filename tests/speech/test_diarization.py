"""Who spoke when, with models that read it off the samples: the level of the audio is the voice."""

from collections.abc import Sequence

import numpy as np
import pytest

from molva.samples import SAMPLE_RATE, Samples
from molva.speech.clustering import Embedding, SpeakerCount
from molva.speech.diarization import FIRST_FRAME, FRAME, LOCAL_SPEAKERS, WINDOW, Activity, Diarizer
from molva.transcript import Turn

N_FRAMES = 589
VOICES = (0.1, 0.2, 0.4)
"""Levels."""
BOTH = 0.3
"""The first two at once."""

ANY_NUMBER = SpeakerCount()


def levels(samples: Samples) -> Samples:
    """The level in each frame."""
    middles = FIRST_FRAME + FRAME // 2 + FRAME * np.arange(N_FRAMES)
    return samples[middles]


def segment(window: Samples) -> Activity:
    """Local speakers in the order in which they appear in the window, as the model has no other."""
    assert window.size == WINDOW
    heard = levels(window)
    voices = [[voice for voice in (VOICES[:2] if np.isclose(level, BOTH) else (level,)) if voice] for level in heard]
    order: dict[float, int] = {}
    activity = np.zeros((N_FRAMES, LOCAL_SPEAKERS), np.bool_)
    for frame, speaking in enumerate(voices):
        for voice in speaking:
            activity[frame, order.setdefault(round(float(voice), 3), len(order))] = True
    return activity


def segment_blindly(window: Samples) -> Activity:
    """Speech and nothing else: all voices are one local speaker."""
    activity = np.zeros((N_FRAMES, LOCAL_SPEAKERS), np.bool_)
    activity[:, 0] = levels(window) > 0
    return activity


def embed(pieces: Sequence[Samples]) -> Embedding | None:
    joined = np.concatenate(pieces)
    vector = np.array([np.isclose(joined, voice, atol=0.01).sum() for voice in VOICES], np.float32)
    return vector / np.linalg.norm(vector) if vector.any() else None


def audio(*parts: tuple[float, float]) -> Samples:
    """Stretches of (seconds, level)."""
    return np.concatenate([np.full(round(length * SAMPLE_RATE), level, np.float32) for length, level in parts])


def diarize(samples: Samples, count: SpeakerCount = ANY_NUMBER, *, block: int = SAMPLE_RATE) -> tuple[Turn, ...]:
    diarizer = Diarizer(segment, embed)
    for start in range(0, samples.size, block):
        diarizer.feed(samples[start : start + block])
    return diarizer.finish(count)


def assert_turns(found: Sequence[Turn], expected: Sequence[tuple[float, float, int]]) -> None:
    assert [turn.speaker for turn in found] == [speaker for _, _, speaker in expected]
    for turn, (start, end, _) in zip(found, expected, strict=True):
        assert turn.start == pytest.approx(start, abs=0.1)
        assert turn.end == pytest.approx(end, abs=0.1)


CONVERSATION = audio((4, 0.1), (0.5, 0), (9, 0.2), (0.5, 0), (13, 0.1), (0.5, 0), (6, 0.4), (0.5, 0), (3, 0.2))
TURNS = [(0, 4, 0), (4.5, 13.5, 1), (14, 27, 0), (27.5, 33.5, 2), (34, 37, 1)]


def test_each_voice_has_its_turns() -> None:
    assert_turns(diarize(CONVERSATION), TURNS)


@pytest.mark.parametrize("block", [997, 16_000, 400_000])
def test_blocks_of_any_size_give_the_same(block: int) -> None:
    assert diarize(CONVERSATION, block=block) == diarize(CONVERSATION)


def test_voices_that_the_segmentation_takes_for_one_are_told_apart() -> None:
    diarizer = Diarizer(segment_blindly, embed)
    diarizer.feed(CONVERSATION)
    assert_turns(diarizer.finish(SpeakerCount()), TURNS)


def test_a_recording_shorter_than_a_window_has_turns() -> None:
    assert_turns(diarize(audio((2, 0.2), (0.5, 0), (2.5, 0.1))), [(0, 2, 0), (2.5, 5, 1)])


@pytest.mark.parametrize("length", [9.99, 10.0, 10.01, 14.99, 15.0, 19.98, 19.995, 20.1, 30.0])
def test_a_turn_ends_with_the_recording(length: float) -> None:
    [turn] = diarize(audio((length, 0.1)))
    assert turn.start == pytest.approx(0, abs=0.1)
    assert turn.end == pytest.approx(length, abs=0.1)
    assert turn.end <= length


def test_who_speak_at_once_have_turns_at_once() -> None:
    turns = diarize(audio((4, 0.1), (2, BOTH), (4, 0.2)))
    assert_turns(turns, [(0, 6, 0), (4, 10, 1)])


def test_a_pause_for_breath_does_not_end_a_turn() -> None:
    assert_turns(diarize(audio((3, 0.1), (0.6, 0), (3, 0.1))), [(0, 6.6, 0)])


def test_a_long_pause_ends_a_turn() -> None:
    assert_turns(diarize(audio((3, 0.1), (2, 0), (3, 0.1))), [(0, 3, 0), (5, 8, 0)])


def test_silence_has_no_turns() -> None:
    assert diarize(audio((25, 0))) == ()


def test_no_audio_has_no_turns() -> None:
    assert Diarizer(segment, embed).finish(SpeakerCount()) == ()


def test_a_click_is_nobody() -> None:
    assert_turns(diarize(audio((3, 0.1), (2, 0), (0.1, 0.2), (2, 0))), [(0, 3, 0)])


def test_a_known_number_of_speakers_is_kept_to() -> None:
    assert {turn.speaker for turn in diarize(CONVERSATION, SpeakerCount.of(2))} == {0, 1}


def test_audio_that_is_done_with_is_forgotten() -> None:
    sizes: list[int] = []
    diarizer = Diarizer(segment, embed)
    for _ in range(60):
        diarizer.feed(audio((5, 0.1), (0.2, 0)))
        sizes.append(len(diarizer._audio))
    assert max(sizes) < 40 * SAMPLE_RATE


def test_whoever_stops_it_waits_for_no_further_window() -> None:
    taken: list[int] = []

    def counted(window: Samples) -> Activity:
        taken.append(window.size)
        return segment(window)

    diarizer = Diarizer(counted, embed)
    diarizer.feed(audio((60, 0.1)), stop=lambda: len(taken) == 2)
    assert len(taken) == 2
