"""What audio is inside molva: float32, mono, 16 kHz, -1..1. Positions are sample counts, times are seconds."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 16_000

Samples: TypeAlias = NDArray[np.float32]
"""Mono audio at `SAMPLE_RATE`, shape (n,), values in -1..1."""


def seconds(n_samples: int) -> float:
    """Duration in seconds of `n_samples` at `SAMPLE_RATE`."""
    return n_samples / SAMPLE_RATE
