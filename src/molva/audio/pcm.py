"""PCM16 bytes as they come off a socket -> 16 kHz samples, whatever the messages' borders."""

import numpy as np
from numpy.typing import NDArray

from molva.audio.resample import Resampler
from molva.samples import Samples


class PcmStream:
    """One stream of signed 16-bit little-endian mono audio."""

    def __init__(self, rate: int) -> None:
        """`rate` is in Hz. Raises AudioError where no speech is recorded at it."""
        self._resampler = Resampler(rate)
        self._odd = b""

    def feed(self, data: bytes) -> Samples:
        """Samples that are ready after `data`; half a sample at its end waits for the next call."""
        data = self._odd + data
        whole = len(data) & ~1
        self._odd = data[whole:]
        return self._resampler.convert(from_pcm16(data[:whole]))

    def flush(self) -> Samples:
        """The end of the signal; half a sample is dropped."""
        return self._resampler.flush()


def from_pcm16(data: bytes) -> NDArray[np.float32]:
    """Samples in -1..1 at the rate they were recorded at."""
    return np.frombuffer(data, "<i2") * np.float32(1 / 32768)
