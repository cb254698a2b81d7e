"""The recent part of one stream of samples, addressed by position from the stream's start."""

import numpy as np

from molva.samples import Samples


class SampleBuffer:
    """Appending and forgetting cost no more than the samples themselves, however small the blocks are."""

    def __init__(self) -> None:
        self._room: Samples = np.empty(4096, np.float32)
        self._offset = self._used = 0
        self.start = 0
        """Position of the first sample that is still here."""

    def __len__(self) -> int:
        """Samples that are here."""
        return self._used - self._offset

    @property
    def end(self) -> int:
        """Position behind the newest sample."""
        return self.start + len(self)

    def append(self, samples: Samples) -> None:
        """Add the stream's next samples."""
        if self._used + samples.size > self._room.size:
            kept = self._room[self._offset : self._used]
            room = np.empty(max(2 * (kept.size + samples.size), 4096), np.float32)
            room[: kept.size] = kept
            self._room, self._offset, self._used = room, 0, kept.size
        self._room[self._used : self._used + samples.size] = samples
        self._used += samples.size

    def drop_before(self, position: int) -> None:
        """Forget what lies before `position`."""
        dropped = min(max(position - self.start, 0), len(self))
        self._offset += dropped
        self.start += dropped

    def cut_out(self, start: int, end: int) -> Samples:
        """A copy of the samples from `start` to `end`, which must be here."""
        begin = self._offset + start - self.start
        return self._room[begin : begin + end - start].copy()
