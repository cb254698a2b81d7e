"""Greedy CTC decoding (Graves et al., 2006): the best token of each frame, repeats merged, blanks dropped."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Emission(NamedTuple):
    """A token that a head emitted."""

    frame: int
    """Encoder frame of the token's first appearance."""
    token: int
    confidence: float
    """Softmax score, 0..1."""


def decode_ctc(log_probs: NDArray[np.float32], blank: int) -> list[Emission]:
    """Emissions of one window from log-probabilities of shape (n_frames, n_tokens).

    A repeated token's confidence is that of its most certain frame.
    """
    best = log_probs.argmax(axis=1)
    scores = np.exp(log_probs[np.arange(len(best)), best])
    changes = np.flatnonzero(np.diff(best, prepend=-1))
    peaks = np.maximum.reduceat(scores, changes) if changes.size else scores
    return [
        Emission(int(frame), int(best[frame]), float(peak))
        for frame, peak in zip(changes, peaks, strict=True)
        if best[frame] != blank
    ]
