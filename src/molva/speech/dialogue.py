"""What was said on several sides of a conversation -> one dialogue, in the order in which it was said."""

import heapq
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import pairwise

from molva.speech.stitch import middle, with_words
from molva.transcript import Segment

PAUSE_S = 0.5
"""Shorter pauses are none: who says "yes" into one has not taken the floor."""


def interleave(sides: Sequence[Sequence[Segment]], separator: str = " ") -> tuple[Segment, ...]:
    """The segments of all sides by their start; one that pauses while another side speaks is cut there.

    Speech at the same time stays in segments that overlap. No word changes its text, its times or its side, and those
    of a side keep their order.
    """
    if len(sides) == 1:  # nobody answers
        return tuple(sides[0])
    spoken = [[middle(word) for segment in side for word in segment.words] for side in sides]
    turns: list[list[Segment]] = []
    for number, side in enumerate(sides):
        others = sorted(time for other, times in enumerate(spoken) if other != number for time in times)
        turns.append([turn for segment in side for turn in _turns(segment, others, separator)])
    return tuple(heapq.merge(*turns, key=lambda turn: turn.start))


def _turns(segment: Segment, others: Sequence[float], separator: str) -> Iterator[Segment]:
    """The segment, cut at its pauses with one of `others` in them, which are times in order."""
    words = segment.words
    answered = [
        i
        for i, (left, right) in enumerate(pairwise(words), start=1)
        if right.start - left.end >= PAUSE_S and bisect_left(others, left.end) < bisect_left(others, right.start)
    ]
    for begin, end in pairwise([0, *answered, len(words)]):
        yield with_words(segment, words[begin:end], separator)
