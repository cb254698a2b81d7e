"""Samples that the caller already has, read like a recording."""

from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from molva.audio.decode import BLOCK, AudioReader, Source
from molva.errors import AudioError, AudioTooLong
from molva.samples import Samples, seconds

AnySource: TypeAlias = Source | NDArray[Any]
"""A recording in a container, or samples: mono, 16 kHz, floats in -1..1."""

LOUDEST = 1.5
"""Samples beyond this were not scaled; int16 values would give an empty text."""


class ArrayReader:
    """The interface of `AudioReader` over an array."""

    declared_duration: float | None = None
    shortfall_s = 0.0

    def __init__(self, samples: NDArray[Any], *, max_duration_s: float | None = None) -> None:
        """Raises AudioError for another shape, type or range, AudioTooLong for more than the limit."""
        if samples.ndim != 1 or not np.issubdtype(samples.dtype, np.floating):
            raise AudioError(
                f"Samples must be a one-dimensional array of floats, not {samples.dtype} of shape {samples.shape}. "
                "Average stereo to mono, and divide int16 samples by 32768."
            )
        self._samples: Samples = samples.astype(np.float32, copy=False)
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
        return seconds(self._samples.size)

    def __iter__(self) -> Iterator[Samples]:
        for start in range(0, self._samples.size, BLOCK):
            yield self._samples[start : start + BLOCK]

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
