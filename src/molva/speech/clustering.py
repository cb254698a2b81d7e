"""Embeddings of voices -> which of them are one speaker, with or without knowing how many there are."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self, TypeAlias

import numpy as np
import scipy  # it imports its parts when they are first used: 42 MB and 0.4 s, which whoever tells no speakers saves
from numpy.typing import NDArray

from molva.errors import OptionError

Embedding: TypeAlias = NDArray[np.float32]
"""A voice: a vector of length 1."""

MAX_SPEAKERS = 64

SAME_VOICE = 0.28
"""Mean cosine from which two groups of embeddings are one speaker."""
RELIABLE_S = 0.8
"""Seconds of speech from which an embedding may make a speaker; one of less only joins one."""
MIN_SPEAKER_S = 1.6
"""Seconds of speech below which a group is no speaker of its own: at least two stretches have to agree."""
KNOWN_VOICE = 0.4
"""Cosine from which a speaker is a known one: seconds of speech on both sides tell more than two stretches."""
MAX_CLUSTERED = 2500
"""Embeddings that are compared pair by pair: 25 MB. The others go to the nearest speaker that these make."""


@dataclass(frozen=True, slots=True)
class SpeakerCount:
    """How many speakers there may be. Equal bounds say how many there are."""

    minimum: int = 1
    maximum: int = MAX_SPEAKERS

    @classmethod
    def of(cls, num: int | None = None, minimum: int | None = None, maximum: int | None = None) -> Self:
        """What a caller says, who may say nothing. Raises OptionError for what cannot be meant."""
        for option, value in (("num_speakers", num), ("min_speakers", minimum), ("max_speakers", maximum)):
            if value is not None and not 1 <= value <= MAX_SPEAKERS:
                raise OptionError(option, f"{option} must be 1 to {MAX_SPEAKERS}, not {value}")
        if num is not None:
            if minimum is not None or maximum is not None:
                raise OptionError("num_speakers", "num_speakers goes without min_speakers and max_speakers")
            return cls(num, num)
        if minimum is not None and maximum is not None and minimum > maximum:
            raise OptionError("min_speakers", f"min_speakers {minimum} is more than max_speakers {maximum}")
        return cls(minimum or 1, maximum or MAX_SPEAKERS)


def cluster(embeddings: NDArray[np.float32], speech_s: NDArray[np.float64], count: SpeakerCount) -> NDArray[np.intp]:
    """The speaker of each embedding, 0 to k-1 in no particular order; k follows from the voices and from `count`.

    `embeddings`, shape (n, size), are of length 1; `speech_s` is how much speech each was made from. There are never
    more speakers than embeddings. Memory is bounded, whatever n.
    """
    if len(embeddings) < 2:
        return np.zeros(len(embeddings), np.intp)
    chosen = _representatives(speech_s, count.minimum)
    voices = embeddings[chosen]
    if len(voices) < 2:
        centroids = voices
    else:
        groups = _groups(
            scipy.cluster.hierarchy.linkage(voices, method="average", metric="cosine"), speech_s[chosen], count
        )
        centroids = np.stack([mean_voice(voices[group], speech_s[chosen][group]) for group in groups])
    return np.asarray((embeddings @ centroids.T).argmax(axis=1))


def recognize(
    embeddings: NDArray[np.float32], speech_s: NDArray[np.float64], labels: Sequence[int], known: Sequence[Embedding]
) -> dict[int, int]:
    """Labels of speakers who are among the known -> which of them. Nobody is two, and no two are one."""
    if not known or not len(embeddings):
        return {}
    speakers, of = np.unique(np.array(labels, np.intp), return_inverse=True)
    voices = np.stack([mean_voice(embeddings[of == i], speech_s[of == i]) for i in range(len(speakers))])
    likeness = voices @ np.stack(known).T
    pairs = zip(*scipy.optimize.linear_sum_assignment(-likeness), strict=True)
    return {int(speakers[row]): int(column) for row, column in pairs if likeness[row, column] >= KNOWN_VOICE}


def _representatives(speech_s: NDArray[np.float64], at_least: int) -> NDArray[np.intp]:
    """Embeddings that speakers are made from: the reliable ones, those from most speech where they are too many."""
    # Shuffled before the sorting, so that of many equally good ones not the start of the recording is taken.
    shuffled = np.random.default_rng(0).permutation(len(speech_s))
    order = shuffled[np.argsort(-speech_s[shuffled], kind="stable")]
    reliable = int((speech_s >= RELIABLE_S).sum())
    return np.sort(order[: min(max(reliable, at_least), MAX_CLUSTERED)])


def _groups(tree: NDArray[np.float64], speech_s: NDArray[np.float64], count: SpeakerCount) -> list[NDArray[np.bool_]]:
    """Members of each speaker. Odd embeddings, which group with nothing, make no speaker while there is a choice."""
    natural = _split(scipy.cluster.hierarchy.fcluster(tree, 1 - SAME_VOICE, criterion="distance"))
    heavy = [group for group in natural if speech_s[group].sum() >= MIN_SPEAKER_S] or [
        max(natural, key=lambda group: float(speech_s[group].sum()))
    ]
    wanted = min(max(len(heavy), count.minimum), count.maximum, len(speech_s))
    if wanted == len(heavy):
        return heavy
    # The coarsest cut that has enough groups of some weight; the odd ones beside them are dropped.
    for n_groups in range(wanted, len(speech_s) + 1):
        groups = _split(scipy.cluster.hierarchy.fcluster(tree, n_groups, criterion="maxclust"))
        heavy = [group for group in groups if speech_s[group].sum() >= MIN_SPEAKER_S]
        if len(heavy) >= wanted:
            heavy.sort(key=lambda group: -float(speech_s[group].sum()))
            return heavy[:wanted]
    return _split(scipy.cluster.hierarchy.fcluster(tree, wanted, criterion="maxclust"))


def _split(labels: NDArray[np.int32]) -> list[NDArray[np.bool_]]:
    return [labels == label for label in np.unique(labels)]


def mean_voice(voices: NDArray[np.float32], speech_s: NDArray[np.float64]) -> Embedding:
    """The mean voice; what was made from more speech counts more."""
    mean = (voices * speech_s[:, np.newaxis]).sum(axis=0)
    return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-9), np.float32)
