"""Samples that the caller already has, read like a recording."""

from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from molva.audio.decode import BLOCK, AudioReader, Source
from molva.errors import AudioError, AudioTooLong
from molva.samples import MAX_SIDES, Channels, Samples, Sides, seconds

AnySource: TypeAlias = Source | NDArray[Any]
"""A recording in a container, or samples: 16 kHz, floats in -1..1; mono, or of shape (n_sides, n) to be split."""

LOUDEST = 1.5
"""Samples beyond this were not scaled; int16 values would give an empty text."""


class ArrayReader:
    """The interface of `AudioReader` over an array."""

    declared_duration: float | None = None
    shortfall_s = 0.0

    def __init__(self, samples: NDArray[Any], *, max_duration_s: float | None = None) -> None:
        """Raises AudioError for another type or range, AudioTooLong for more than the limit."""
        if not np.issubdtype(samples.dtype, np.floating):
            raise AudioError(f"Samples must be floats, not {samples.dtype}. Divide int16 samples by 32768.")
        self._samples: NDArray[np.float32] = samples.astype(np.float32, copy=False)
        loudest = float(np.abs(self._samples).max(initial=0.0))
        if not loudest <= LOUDEST:
            raise AudioError(
                f"Samples reach {loudest:g}; they must be finite and in -1..1. Divide int16 samples by 32768."
            )
        if max_duration_s is not None and self.duration > max_duration_s:
            raise AudioTooLong(max_duration_s)

    @property
    def duration(self) -> float:
        """Seconds."""
        return seconds(self._samples.shape[-1] if self._samples.ndim else 0)

    def __iter__(self) -> Iterator[Samples]:
        return (block[0] for block in self.blocks())

    def blocks(self, channels: Channels = "mix") -> Iterator[Sides]:
        """As those of `AudioReader`. Raises AudioError for another shape."""
        if self._samples.ndim != 1 and channels == "mix":
            raise AudioError(
                f"Samples must be a one-dimensional array, not of shape {self._samples.shape}. "
                "Average stereo to mono, or have its channels split."
            )
        sides = np.atleast_2d(self._samples)
        if self._samples.ndim not in (1, 2) or not 0 < len(sides) <= MAX_SIDES:
            raise AudioError(
                f"Samples must have the shape (n,) or (n_sides, n) with at most {MAX_SIDES} sides, "
                f"not {self._samples.shape}."
            )
        for start in range(0, sides.shape[1], BLOCK):
            yield sides[:, start : start + BLOCK]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


def open_audio(source: AnySource, *, max_duration_s: float | None = None) -> AudioReader | ArrayReader:
    """A reader for whatever the caller has. Raises what the readers raise."""
    if isinstance(source, np.ndarray):
        return ArrayReader(source, max_duration_s=max_duration_s)
    return AudioReader(source, max_duration_s=max_duration_s)
