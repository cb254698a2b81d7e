"""Voices of a live session -> numbers that stay. Utterance by utterance, without hearing what comes later.

What was heard is clustered anew with each utterance, as a recording's stretches are: a first guess from little speech
does no harm for long. A number stays with the voice it was given to: it is that of the cluster in which most of what
carries it lies.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from molva.speech.clustering import MAX_SPEAKERS, Embedding, SpeakerCount, cluster

MAX_REMEMBERED = 400
"""Stretches that are compared with each other: ten minutes of speech."""


class Voice(NamedTuple):
    """What one stretch of speech sounds like."""

    embedding: Embedding
    speech_s: float
    """Seconds that the embedding was made from."""


class Voices:
    """The speakers of one session."""

    def __init__(self) -> None:
        self._heard: list[Voice] = []
        self._numbers: list[int] = []
        """Of each that was heard."""
        self._given = 0
        """Numbers so far."""

    def tell_apart(self, utterance: Sequence[Voice]) -> list[int]:
        """The number of each stretch of the next utterance; numbers begin with 0, there are at most MAX_SPEAKERS."""
        if not utterance:
            return []
        heard = [*self._heard, *utterance]
        speech_s = np.array([voice.speech_s for voice in heard])
        labels = cluster(np.stack([voice.embedding for voice in heard]), speech_s, SpeakerCount())
        before = len(self._heard)
        known = self._known(labels[:before], speech_s[:before])
        for label in labels[before:].tolist():
            if label not in known:
                known[label] = self._new(heard[:before], heard, labels == label)
        told = [known[label] for label in labels[before:].tolist()]
        self._heard = heard
        self._numbers += told
        self._forget()
        return told

    def nearest(self, voices: Sequence[Voice]) -> list[int]:
        """The number of the voice that each is most like, as a first guess. Where none is known, all are the first."""
        if not self._heard:
            return [0] * len(voices)
        numbers = np.array(self._numbers, np.intp)
        heard = np.stack([voice.embedding for voice in self._heard])
        given = np.unique(numbers)
        known = np.stack([heard[numbers == number].mean(axis=0) for number in given])
        return [int(given[(known @ voice.embedding).argmax()]) for voice in voices]

    def _known(self, labels: NDArray[np.intp], speech_s: NDArray[np.float64]) -> dict[int, int]:
        """The numbers of clusters that have one: of those that are at home there, the one with most speech."""
        numbers = np.array(self._numbers, np.intp)
        most: dict[int, tuple[float, int]] = {}
        for number in np.unique(numbers).tolist():
            speech = np.bincount(labels[numbers == number], weights=speech_s[numbers == number])
            home = int(speech.argmax())
            most[home] = max(most.get(home, (0.0, 0)), (float(speech[home]), -number))
        return {label: -minus for label, (_, minus) in most.items()}

    def _new(self, before: Sequence[Voice], heard: Sequence[Voice], members: NDArray[np.bool_]) -> int:
        """A number for a cluster that has none; once all are given, that of the nearest voice."""
        if self._given < MAX_SPEAKERS:
            self._given += 1
            return self._given - 1
        voice = np.stack([voice.embedding for voice in heard])[members].mean(axis=0)
        return self._numbers[int((np.stack([known.embedding for known in before]) @ voice).argmax())]

    def _forget(self) -> None:
        """The oldest of whoever has spoken most, so that nobody who has said little is forgotten."""
        while len(self._heard) > MAX_REMEMBERED:
            oldest = self._numbers.index(int(np.bincount(self._numbers).argmax()))
            del self._heard[oldest], self._numbers[oldest]
