"""The diarization error rate as NIST defined it: missed, false alarm and confusion over the time of all speakers."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.optimize import linear_sum_assignment

from molva.transcript import Turn


@dataclass(frozen=True)
class DiarizationError:
    """Seconds, summed over speakers: two who speak at once count twice."""

    total: float
    """Of the reference, outside the collars."""
    missed: float
    false_alarm: float
    confusion: float

    @property
    def rate(self) -> float:
        """0 is perfect; may exceed 1."""
        return (self.missed + self.false_alarm + self.confusion) / self.total


def diarization_error(reference: Sequence[Turn], found: Sequence[Turn], *, collar_s: float = 0.25) -> DiarizationError:
    """Compare under the best mapping of names. `collar_s` to each side of the reference's borders is not judged.

    The reference must have speech outside its collars.
    """
    borders = sorted(
        {time for turn in (*reference, *found) for time in (turn.start, turn.end)}
        | {time + side for turn in reference for time in (turn.start, turn.end) for side in (-collar_s, collar_s)}
    )
    names, theirs = sorted({t.speaker for t in reference}), sorted({t.speaker for t in found})
    together = np.zeros((len(names), len(theirs)))
    total = missed = false_alarm = matchable = 0.0
    for begin, end in pairwise(borders):
        middle, length = (begin + end) / 2, end - begin
        if any(abs(middle - time) < collar_s for turn in reference for time in (turn.start, turn.end)):
            continue
        speaking = {turn.speaker for turn in reference if turn.start < middle < turn.end}
        heard = {turn.speaker for turn in found if turn.start < middle < turn.end}
        total += length * len(speaking)
        missed += length * max(len(speaking) - len(heard), 0)
        false_alarm += length * max(len(heard) - len(speaking), 0)
        matchable += length * min(len(speaking), len(heard))
        for speaker in speaking:
            for other in heard:
                together[names.index(speaker), theirs.index(other)] += length
    right = float(together[linear_sum_assignment(-together)].sum())
    return DiarizationError(total, missed, false_alarm, matchable - right)
