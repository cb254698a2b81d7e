"""A partial costs what is new: of a window that has grown long only the tail is decoded again.

What was heard before the tail stays as it was. Finals are never put together like this: they are decoded whole.
"""

from dataclasses import dataclass, replace
from itertools import pairwise

from molva.samples import SAMPLE_RATE, seconds
from molva.speech.stitch import middle
from molva.transcript import Hypothesis, Word, word_separator

LONGEST_S = 8.0
"""Windows up to here are decoded whole. At full size the encoder takes 180 ms for 5 s, and 1050 for 25."""
SHORTEST_S = 4.0
"""Speech before a word helps to hear it, so that much is decoded again."""
SETTLED_S = 1.0
"""At the end of what was decoded words may be cut in half."""


@dataclass(frozen=True, slots=True)
class Head:
    """The start of a window that is not decoded again."""

    words: tuple[Word, ...] = ()
    """Seconds from the window's start."""
    size: int = 0
    """Samples."""

    def join(self, tail: Hypothesis) -> Hypothesis:
        """The hypothesis of the whole window, given that of what is behind the head."""
        if self.size == 0:
            return tail
        offset = seconds(self.size)
        moved = (replace(word, start=word.start + offset, end=word.end + offset) for word in tail.words)
        words = (*self.words, *moved)
        text = word_separator(tail.language).join(word.text for word in words)
        return replace(tail, text=text, tokens=(), words=words)


def next_head(head: Head, heard: Hypothesis, heard_size: int, size: int) -> Head:
    """The head for a window that has grown to `size` samples, when `heard` came of its first `heard_size`, with `head`.

    It ends in the widest pause between two words that leaves SHORTEST_S to LONGEST_S, so it does not cut a word.
    """
    if seconds(size) <= LONGEST_S:
        return head
    earliest = max(seconds(head.size), seconds(size) - LONGEST_S)
    latest = min(seconds(size) - SHORTEST_S, seconds(heard_size) - SETTLED_S)
    pauses = [(before.end, after.start) for before, after in pairwise(heard.words)]
    inside = [(begin, end) for begin, end in pauses if earliest <= (begin + end) / 2 <= latest]
    if not inside:
        return head
    begin, end = max(inside, key=lambda pause: pause[1] - pause[0])
    cut = (begin + end) / 2
    words = tuple(word for word in heard.words if middle(word) <= cut)
    return Head(words, round(cut * SAMPLE_RATE))
