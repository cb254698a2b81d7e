"""Which words of a growing utterance will not be taken back.

Source: LocalAgreement-2 (Liu, Spanakis and Niehues, Low-Latency Sequence-to-Sequence Speech Recognition, 2020; used
for Whisper by Machacek, Dabre and Bojar, 2023): what two consecutive hypotheses agree on from the start is kept.
"""

from collections.abc import Sequence
from typing import NamedTuple

from molva.speech.stitch import middle
from molva.transcript import Word


class Reading(NamedTuple):
    """The words to show now; the first `n_stable` of them are never changed by a later reading."""

    words: tuple[Word, ...]
    n_stable: int


class StablePrefix:
    """Reads the hypotheses of one utterance, which grow by its end."""

    def __init__(self) -> None:
        self._stable: tuple[Word, ...] = ()
        self._previous: tuple[Word, ...] = ()

    def read(self, hypothesis: Sequence[Word]) -> Reading:
        """The hypothesis, with what is stable put in the place of what contradicts it."""
        words = self._reconcile(tuple(hypothesis))
        agreed = 0
        for mine, before in zip(words, self._previous, strict=False):
            if mine.text != before.text:
                break
            agreed += 1
        self._stable = words[: max(agreed, len(self._stable))]
        self._previous = words
        return Reading(words, len(self._stable))

    def _reconcile(self, hypothesis: tuple[Word, ...]) -> tuple[Word, ...]:
        n = len(self._stable)
        if [word.text for word in hypothesis[:n]] == [word.text for word in self._stable]:
            return hypothesis
        end = self._stable[-1].end
        return self._stable + tuple(word for word in hypothesis if middle(word) > end)
