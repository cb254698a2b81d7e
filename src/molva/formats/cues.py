"""Words -> cues: the stretches of text that subtitles and tables show at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from molva.transcript import Segment, Transcript, Word, word_separator

LONGEST_PAUSE_S = 2.0
"""A longer pause between two words ends a cue: a subtitle must not hang over silence."""

SHORTEST_CUE_S = 0.5
"""How long a cue stays at least, where the next one leaves it the time."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How text is laid out. A limit of 0 is none."""

    max_chars_per_line: int = 80
    max_words_per_line: int = 14
    word_timestamps: bool = False
    """Whether Markdown gets a table of words."""


@dataclass(frozen=True, slots=True)
class Cue:
    """One line of text and when it is shown; seconds."""

    start: float
    end: float
    text: str


def split_cues(transcript: Transcript, layout: Layout) -> list[Cue]:
    """Cues in order, apart from each other, each shorter than the limits where its words allow."""
    separator = word_separator(transcript.language)
    cues = [cue for segment in transcript.segments for cue in _of_segment(segment, layout, separator)]
    return _apart(cues)


def speaker_mark(speaker: int | None) -> str:
    """What stands before the text of a known speaker."""
    return "" if speaker is None else f"[SPEAKER_{speaker}] "


def one_line(text: str) -> str:
    """Text without line breaks and runs of spaces."""
    return " ".join(text.split())


def clock(seconds: float, decimal_mark: str) -> str:
    """`HH:MM:SS,mmm` with the format's own decimal mark; hours may have more digits."""
    ms = max(round(seconds * 1000), 0)
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02}{decimal_mark}{ms % 1000:03}"


def _of_segment(segment: Segment, layout: Layout, separator: str) -> Iterator[Cue]:
    if not segment.words:
        if text := one_line(segment.text):
            yield Cue(segment.start, segment.end, text)
        return
    for words in _lines(segment.words, layout, separator):
        text = one_line(separator.join(word.text for word in words))
        if text:
            yield Cue(words[0].start, words[-1].end, speaker_mark(words[0].speaker) + text)


def _lines(words: Sequence[Word], layout: Layout, separator: str) -> Iterator[list[Word]]:
    line: list[Word] = []
    length = 0
    for word in words:
        grown = length + len(separator) + len(word.text)
        if line and (
            word.speaker != line[0].speaker
            or word.start - line[-1].end > LONGEST_PAUSE_S
            or (0 < layout.max_words_per_line <= len(line))
            or (0 < layout.max_chars_per_line < grown)
        ):
            yield line
            line = []
        length = grown if line else len(word.text)
        line.append(word)
    if line:
        yield line


def _apart(cues: list[Cue]) -> list[Cue]:
    """The cues in whole milliseconds, each with some length, none begun before the one before it has ended."""
    starts: list[int] = []
    for cue in cues:
        earliest = starts[-1] + 1 if starts else 0
        starts.append(max(round(cue.start * 1000), earliest))
    placed = []
    limits = [later for _, later in pairwise([*starts, None])]
    for cue, start, limit in zip(cues, starts, limits, strict=True):
        end = max(round(cue.end * 1000), start + round(SHORTEST_CUE_S * 1000))
        placed.append(replace(cue, start=start / 1000, end=(end if limit is None else min(end, limit)) / 1000))
    return placed
