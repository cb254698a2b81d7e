"""Repetitions that a decoder made up, taken out of a transcript.

A decoder that predicts text from its own text can fall into a loop, or begin a window with what the last one ended
with. What is taken out is only what nobody says by chance: three words or more that come again at once, or fewer that
come four times in a row. Words that other words stand between are never touched.
"""

from collections.abc import Sequence
from dataclasses import replace

from molva.speech.stitch import spelling, with_words
from molva.transcript import Segment, Word

PHRASE = 3
"""Words that are not said twice in a row by chance."""
TIMES = 4
"""How often fewer words must come in a row to be a loop."""


def without_repetitions(segments: Sequence[Segment], separator: str = " ") -> tuple[Segment, ...]:
    """The segments with each repetition told once; those that nothing is left of are gone.

    A segment that begins with all of the one before it takes its place, from the first one's start.
    """
    kept: list[Segment] = []
    for segment in (_without_loops(segment, separator) for segment in segments):
        if kept and segment.words:
            segment = _after(kept, segment, separator)
        if segment.text.strip():
            kept.append(segment)
    return tuple(_without_runs(kept))


def _without_loops(segment: Segment, separator: str) -> Segment:
    words = list(segment.words)
    at = 0
    while at < len(words):
        for length in range(1, (len(words) - at) // 2 + 1):
            times = _times(words, at, length)
            if times >= (2 if length >= PHRASE else TIMES):
                del words[at + length : at + length * times]
                break
        at += 1
    return with_words(segment, tuple(words), separator)


def _times(words: Sequence[Word], at: int, length: int) -> int:
    """How often the `length` words that stand at `at` come in a row."""
    phrase, times = _spellings(words[at : at + length]), 1
    while _spellings(words[at + length * times : at + length * (times + 1)]) == phrase:
        times += 1
    return times


def _after(kept: list[Segment], segment: Segment, separator: str) -> Segment:
    """`segment` without the part of the one before it that it begins with; all of it takes that one's place."""
    before = kept[-1]
    ending, beginning = _spellings(before.words), _spellings(segment.words)
    if PHRASE <= len(ending) < len(beginning) and beginning[: len(ending)] == ending:
        kept.pop()
        return replace(segment, start=before.start)
    for length in range(min(len(ending), len(beginning)), PHRASE - 1, -1):
        if ending[-length:] == beginning[:length]:
            return with_words(segment, segment.words[length:], separator)
    return segment


def _without_runs(segments: Sequence[Segment]) -> list[Segment]:
    """Short segments that come again and again are told once."""
    kept: list[Segment] = []
    at = 0
    while at < len(segments):
        same = at + 1
        while same < len(segments) and _said(segments[same]) == _said(segments[at]):
            same += 1
        kept += [segments[at]] if same - at >= TIMES else segments[at:same]
        at = same
    return kept


def _said(segment: Segment) -> list[str]:
    return _spellings(segment.words) if segment.words else [segment.text]


def _spellings(words: Sequence[Word]) -> list[str]:
    return [spelling(word) for word in words]
