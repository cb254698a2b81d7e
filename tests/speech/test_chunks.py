"""Window planning: every sample of speech in a window, none in two unless they overlap, none too long."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from molva.samples import SAMPLE_RATE
from molva.speech.chunks import Window, WindowPlanner, WindowRule
from molva.speech.endpoint import SpeechDetector, SpeechRule
from molva.speech.vad import FRAME

RULE = WindowRule(max_s=5.0, padding_s=0.2, max_pause_s=2.0, overlap_s=1.0)


def plan(probabilities: list[float], rule: WindowRule = RULE, block: int = 16_000, tail: int = 0) -> list[Window]:
    """Windows over audio whose samples are their own positions, so that contents can be checked."""
    scores = np.array(probabilities, np.float32)
    n_samples = max(len(scores) * FRAME - tail, 0)
    audio = np.arange(n_samples, dtype=np.float32)
    planner, windows, fed = WindowPlanner(rule), [], 0
    for start in range(0, n_samples, block):
        complete = min(start + block, n_samples) // FRAME
        windows += planner.feed(audio[start : start + block], scores[fed:complete])
        fed = complete
    return windows + planner.flush(scores[fed:])


def speech_frames(probabilities: list[float]) -> set[int]:
    """Frames of speech by the detector alone."""
    detector = SpeechDetector(RULE.speech)
    spans = detector.feed(np.array(probabilities, np.float32)) + detector.flush()
    return {frame for span in spans for frame in range(*span)}


stretches = st.lists(
    st.tuples(st.sampled_from([0.0, 0.05, 0.2, 0.6, 0.95]), st.integers(1, 250)), min_size=1, max_size=12
).map(lambda parts: [probability for probability, length in parts for _ in range(length)])


@given(stretches, st.integers(100, 40_000), st.integers(0, FRAME - 1))
@example([0.95] * 1000, 16_000, 0)
@example([0.95] * 400 + [0.0] * 9 + [0.95] * 400, 16_000, 0)
@example([0.95] * 100 + [0.2] * 400, 512, 1)
def test_no_sample_of_speech_is_lost_and_none_is_doubled(probabilities: list[float], block: int, tail: int) -> None:
    windows = plan(probabilities, block=block, tail=tail)
    n_samples = max(len(probabilities) * FRAME - tail, 0)
    covered = np.zeros(n_samples, int)
    for window in windows:
        assert 0 < window.samples.size <= RULE.max_samples
        assert window.samples[0] == window.start
        assert window.samples[-1] == window.end - 1
        covered[window.start : window.end] += 1
    for left, right in pairwise(windows):
        assert left.start < right.start
        assert left.end - right.start <= left.overlap
        covered[left.end - left.overlap : left.end] -= 1
    assert covered.max(initial=0) <= 1
    for frame in speech_frames(probabilities):
        assert covered[frame * FRAME : (frame + 1) * FRAME].all()


@given(stretches, st.integers(100, 40_000))
def test_the_windows_account_for_all_speech(probabilities: list[float], block: int) -> None:
    windows = plan(probabilities, block=block)
    assert sum(window.speech for window in windows) >= len(speech_frames(probabilities)) * FRAME


@given(stretches, st.integers(100, 40_000))
def test_blocks_do_not_matter(probabilities: list[float], block: int) -> None:
    def bounds(windows: list[Window]) -> list[tuple[int, int, int]]:
        return [(window.start, window.end, window.overlap) for window in windows]

    assert bounds(plan(probabilities, block=block)) == bounds(plan(probabilities, block=FRAME))


def test_audio_that_fits_into_one_window_is_one_window() -> None:
    """Pauses of up to a second, and the silence around it, as far as models are used to it."""
    [window] = plan([0.0] * 20 + [0.9] * 5 + [0.0] * 30 + [0.9] * 10)
    assert (window.start, window.end) == (0, 65 * FRAME)


def test_no_more_than_a_second_of_silence_is_decoded_at_a_time() -> None:
    rule = WindowRule()
    edge = int(rule.edge_s * SAMPLE_RATE)
    [window] = plan([0.0] * 100 + [0.9] * 5 + [0.0] * 31 + [0.9] * 10 + [0.0] * 100, rule)
    assert (window.start, window.end) == (100 * FRAME - edge, 146 * FRAME + edge)
    first, second = plan([0.0] * 100 + [0.9] * 5 + [0.0] * 32 + [0.9] * 10 + [0.0] * 100, rule)
    assert (first.start, first.end) == (100 * FRAME - rule.padding, 105 * FRAME + rule.padding_behind)
    assert (second.start, second.end) == (137 * FRAME - rule.padding, 147 * FRAME + rule.padding_behind)


def test_silence_gives_no_window() -> None:
    assert plan([0.0] * 1000) == []
    assert plan([0.0] * 10) == []
    assert plan([]) == []


def test_a_long_pause_ends_a_window() -> None:
    first, second = plan([0.9] * 50 + [0.0] * 80 + [0.9] * 60)
    assert first.end == 50 * FRAME + RULE.padding_behind
    assert second.start == 130 * FRAME - RULE.padding


def test_the_longest_pause_of_the_second_half_is_taken() -> None:
    first, second = plan([0.9] * 60 + [0.0] * 30 + [0.9] * 10 + [0.0] * 10 + [0.9] * 10 + [0.0] * 9 + [0.9] * 200)[:2]
    assert 100 * FRAME < first.end <= second.start < 110 * FRAME


def test_unbroken_speech_is_cut_at_its_quietest_point() -> None:
    probabilities = [0.9] * 300
    probabilities[110:115] = [0.16] * 5
    first, second = plan(probabilities)[:2]
    assert first.end == second.start == 112 * FRAME
    assert first.overlap == 0


def test_speech_without_a_quiet_point_overlaps() -> None:
    windows = plan([0.9] * 400)
    assert len(windows) > 2
    for left, right in pairwise(windows):
        assert left.overlap == left.end - right.start == int(RULE.overlap_s * SAMPLE_RATE) // FRAME * FRAME


def test_memory_does_not_grow_with_length() -> None:
    planner = WindowPlanner(RULE)
    block, scores = np.zeros(FRAME * 30, np.float32), np.full(30, 0.0, np.float32)
    for i in range(2_000):
        planner.feed(block, scores + np.float32(0.9 * (i % 40 < 30)))
        assert len(planner._audio) <= 2 * RULE.max_samples
        assert planner._scores.size <= 2 * RULE.max_samples // FRAME
        assert len(planner._ended) < 20


@pytest.mark.parametrize("min_silence", [1, 8, 40])
def test_padding_never_reaches_into_the_neighbour(min_silence: int) -> None:
    rule = WindowRule(max_s=5.0, max_pause_s=2.0, speech=SpeechRule(min_silence=min_silence))
    windows = plan(([0.9] * 60 + [0.0] * (min_silence + 2)) * 20, rule)
    assert all(left.end <= right.start for left, right in pairwise(windows))
