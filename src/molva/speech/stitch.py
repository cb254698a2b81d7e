"""Hypotheses of windows -> segments with file-level times; words of overlapping windows are joined.

The join follows the usual recipe for chunked recognition: find what both windows agree on in the stretch they share,
and change over from one to the other at the agreed word nearest to its middle, far from both windows' edges, where
words may be cut in half.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from molva.samples import seconds
from molva.speech.chunks import Window
from molva.transcript import Hypothesis, Segment, Word, word_separator

SAME_WORD_S = 0.5
"""How far apart two windows may place the middle of the same word."""


def middle(word: Word) -> float:
    """Seconds."""
    return (word.start + word.end) / 2


def spelling(word: Word) -> str:
    """The word without case and punctuation: what two windows must agree on."""
    return "".join(character for character in word.text.casefold() if character.isalnum())


def agreed_pairs(left: Sequence[Word], right: Sequence[Word]) -> list[tuple[int, int]]:
    """The common subsequence of two word sequences, as index pairs, that agrees best.

    Words are common when spelled alike and less than SAME_WORD_S apart; a pair counts the more, the closer in time it
    is, so that a word said several times is matched with itself.
    """
    best = np.zeros((len(left) + 1, len(right) + 1))
    for i in reversed(range(len(left))):
        for j in reversed(range(len(right))):
            closeness = 1 - abs(middle(left[i]) - middle(right[j])) / SAME_WORD_S
            common = closeness > 0 and spelling(left[i]) and spelling(left[i]) == spelling(right[j])
            best[i, j] = max(best[i + 1, j], best[i, j + 1], best[i + 1, j + 1] + closeness if common else 0)
    pairs, i, j = [], 0, 0
    while i < len(left) and j < len(right):
        if best[i, j] == best[i + 1, j]:
            i += 1
        elif best[i, j] == best[i, j + 1]:
            j += 1
        else:
            pairs.append((i, j))
            i, j = i + 1, j + 1
    return pairs


def join_words(
    left: Sequence[Word], right: Sequence[Word], begin: float, end: float
) -> tuple[tuple[Word, ...], tuple[Word, ...]]:
    """What to keep of two windows' words when both saw the stretch from `begin` to `end` (seconds)."""
    centre = (begin + end) / 2
    near_left = [i for i, word in enumerate(left) if word.end >= begin]
    near_right = [j for j, word in enumerate(right) if word.start <= end]
    pairs = agreed_pairs([left[i] for i in near_left], [right[j] for j in near_right])
    if pairs:
        i, j = min(pairs, key=lambda pair: abs(middle(left[near_left[pair[0]]]) - centre))
        return tuple(left[: near_left[i] + 1]), tuple(right[near_right[j] + 1 :])
    kept_left = [word for word in left if middle(word) < centre]
    kept_right = [word for word in right if middle(word) >= centre]
    if kept_left and kept_right and kept_right[0].start < kept_left[-1].end:
        # Both windows heard a word at the changeover and do not agree on it; the surer one is kept.
        if kept_left[-1].confidence >= kept_right[0].confidence:
            kept_right.pop(0)
        else:
            kept_left.pop()
    return tuple(kept_left), tuple(kept_right)


class Stitcher:
    """Joins the windows of one stream, given in order."""

    def __init__(self) -> None:
        self._held: Segment | None = None
        self._overlap = (0.0, 0.0)

    def feed(self, window: Window, hypothesis: Hypothesis) -> list[Segment]:
        """Segments that are final now; the last one waits while the next window may still change it."""
        segment = to_segment(window, hypothesis)
        finished = []
        if self._held is not None:
            separator = word_separator(hypothesis.language)
            left, right = join_words(self._held.words, segment.words, *self._overlap)
            finished.append(with_words(self._held, left, separator))
            segment = with_words(segment, right, separator)
        self._held = segment if window.overlap else None
        self._overlap = (seconds(window.end - window.overlap), seconds(window.end))
        if not window.overlap:
            finished.append(segment)
        return [segment for segment in finished if segment.text]

    def flush(self) -> list[Segment]:
        """The segment that still waits, where there is one."""
        held, self._held = self._held, None
        return [held] if held is not None and held.text else []


def to_segment(window: Window, hypothesis: Hypothesis) -> Segment:
    """The hypothesis with times of the stream; bounds are those of its words, else of the window."""
    offset = seconds(window.start)
    words = tuple(
        replace(word, start=round(offset + word.start, 3), end=round(offset + word.end, 3)) for word in hypothesis.words
    )
    start, end = (words[0].start, words[-1].end) if words else (offset, seconds(window.end))
    return Segment(start, end, hypothesis.text, words, hypothesis.avg_logprob, hypothesis.no_speech_prob)


def with_words(segment: Segment, words: tuple[Word, ...], separator: str) -> Segment:
    """The segment cut down to `words`; unchanged where that is all of them."""
    if words == segment.words:
        return segment
    if not words:
        return replace(segment, text="", words=())
    text = separator.join(word.text for word in words)
    return replace(segment, start=words[0].start, end=words[-1].end, text=text, words=words)
