"""Any sample rate -> 16 kHz, block by block, as if the whole signal had been there at once."""

from typing import cast

import numpy as np
import soxr
from numpy.typing import NDArray

from molva.errors import AudioError
from molva.samples import SAMPLE_RATE, Samples

MIN_RATE, MAX_RATE = 1_000, 192_000
"""Hz. Speech is recorded with no other, and a header that says so is broken or hostile: every sample at 1 Hz would
become 16000."""

_NOTHING = np.zeros(0, np.float32)


def check_rate(rate: int) -> None:
    """Raises AudioError where `rate`, in Hz, is not one to record speech with."""
    if not MIN_RATE <= rate <= MAX_RATE:
        raise AudioError


class Resampler:
    """One stream of mono audio on its way to `SAMPLE_RATE`."""

    def __init__(self, rate_in: int) -> None:
        """`rate_in` is in Hz. Raises AudioError where it is not in `MIN_RATE`..`MAX_RATE`."""
        check_rate(rate_in)
        self._stream = None
        if rate_in != SAMPLE_RATE:
            self._stream = soxr.ResampleStream(rate_in, SAMPLE_RATE, 1, dtype="float32", quality="HQ")

    def feed(self, samples: NDArray[np.float32]) -> Samples:
        """What is ready after `samples`, shape (n,), of any block size; the rest comes with later calls.

        What is not finite becomes 0 and what is louder than full scale becomes full scale: one such value
        would otherwise spread over the whole length of the filter.
        """
        return self.convert(np.clip(np.where(np.isfinite(samples), samples, np.float32(0)), -1, 1))

    def convert(self, samples: NDArray[np.float32]) -> Samples:
        """Like `feed`, for samples that are known to be finite and in -1..1."""
        return samples if self._stream is None else self._convert(samples, last=False)

    def flush(self) -> Samples:
        """The end of the signal. Call it once, after the last `feed`."""
        return _NOTHING if self._stream is None else self._convert(_NOTHING, last=True)

    def _convert(self, samples: Samples, *, last: bool) -> Samples:
        assert self._stream is not None  # noqa: S101 - for the type checker
        converted = cast(Samples, self._stream.resample_chunk(samples, last=last))
        # The filter rings beyond full scale at steep edges.
        return np.clip(converted, -1, 1, out=converted)
