"""What audio is inside molva: float32, mono, 16 kHz, -1..1. Positions are sample counts, times are seconds."""

from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 16_000

Samples: TypeAlias = NDArray[np.float32]
"""Mono audio at `SAMPLE_RATE`, shape (n,), values in -1..1."""

Sides: TypeAlias = NDArray[np.float32]
"""Samples of several sides that were recorded together, shape (n_sides, n): what is mixed has one."""

Channels: TypeAlias = Literal["mix", "split"]
"""What becomes of the channels of a recording: one side of all of them, or a side of each."""

MAX_SIDES = 8
"""More channels than these are no conversation but a mixing desk, and each costs as much as a recording."""


def seconds(n_samples: int) -> float:
    """Duration in seconds of `n_samples` at `SAMPLE_RATE`."""
    return n_samples / SAMPLE_RATE
