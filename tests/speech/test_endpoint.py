"""Hysteresis over hand-made probabilities."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from molva.speech.endpoint import Span, SpeechDetector, SpeechRule

RULE = SpeechRule(onset=0.5, release=0.3, min_silence=3, min_speech=2)


def detect(*probabilities: float, block: int = 1000) -> list[Span]:
    detector = SpeechDetector(RULE)
    spans = []
    for i in range(0, len(probabilities), block):
        spans += detector.feed(np.array(probabilities[i : i + block], np.float32))
    return spans + detector.flush()


def test_speech_begins_at_the_onset_and_lasts_while_above_release() -> None:
    assert detect(0.4, 0.6, 0.4, 0.4, 0.1, 0.1, 0.1, 0.9) == [Span(1, 4)]


def test_a_short_pause_belongs_to_speech() -> None:
    assert detect(0.6, 0.6, 0.1, 0.1, 0.6, 0.1, 0.1, 0.1) == [Span(0, 5)]


def test_a_click_is_dropped() -> None:
    assert detect(0.1, 0.9, 0.1, 0.1, 0.1, 0.1) == []


def test_the_end_of_the_stream_ends_speech_before_its_silence() -> None:
    assert detect(0.9, 0.9, 0.9, 0.1) == [Span(0, 3)]


@given(st.lists(st.floats(0, 1, width=32), max_size=60), st.integers(1, 10))
def test_blocks_do_not_matter_and_spans_are_apart(probabilities: list[float], block: int) -> None:
    spans = detect(*probabilities)
    assert detect(*probabilities, block=block) == spans
    assert all(span.end - span.start >= RULE.min_speech for span in spans)
    assert all(right.start - left.end >= RULE.min_silence for left, right in pairwise(spans))
