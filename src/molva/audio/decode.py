"""A recording in any container and codec -> blocks of samples, with bounded memory."""

import io
import os
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from molva.audio.ffmpeg import Track
from molva.audio.ogg import link_starts
from molva.audio.resample import Resampler
from molva.errors import AudioError, AudioTooLong, EmptyAudio
from molva.samples import SAMPLE_RATE, Channels, Samples, Sides, seconds

Source: TypeAlias = Path | bytes | BinaryIO
"""A file, its bytes, or an open seekable file, which is read from its start and stays open."""

BLOCK = SAMPLE_RATE
"""Samples in every block but the last."""

_TOLERANCE_S = 0.5
_TOLERANCE_SHARE = 0.001
"""A header may promise as much more than there is: encoder delay, padding, rounding."""


class AudioReader:
    """One recording, decoded as far as it is iterated over. A context manager; the end of the iteration closes it too.

    To be used by one thread at a time.
    """

    def __init__(self, source: Source, *, max_duration_s: float | None = None) -> None:
        """Raises EmptyAudio where there is not a byte, AudioTooLong where the header says so, AudioError where there
        is no sound that can be decoded; OSError where the file cannot be read."""
        self._max_duration_s = max_duration_s
        self._decoded = 0
        self._shortfall_s = 0.0
        self._damaged = False
        with ExitStack() as resources:
            self._file = _open(source, resources)
            starts = link_starts(self._file) or [0]
            (first, *self._later_parts) = zip(starts, [*starts[1:], None], strict=True)
            self._track = Track(self._file, *first)
            resources.callback(self._track.close)
            self.declared_duration = self._track.declared_s
            """Seconds that the header states; None where it states nothing, as in most streamed formats."""
            if max_duration_s is not None and self._promised_beyond(max_duration_s):
                raise AudioTooLong(max_duration_s)
            self._resources: ExitStack | None = resources.pop_all()

    @property
    def duration(self) -> float:
        """Seconds given out so far."""
        return seconds(self._decoded)

    @property
    def shortfall_s(self) -> float:
        """After the end: seconds that the header promised and the file did not hold; 0.0 where it kept its word."""
        return self._shortfall_s

    def __iter__(self) -> Iterator[Samples]:
        """The blocks with all channels mixed."""
        return (block[0] for block in self.blocks())

    def blocks(self, channels: Channels = "mix") -> Iterator[Sides]:
        """Blocks of `BLOCK` samples, the last one shorter; once. All have as many sides as the recording begins with.

        Raises AudioTooLong as soon as there is more than the limit, AudioError where nothing could be decoded. Damaged
        packets are left out, and a missing end is no error: see `shortfall_s`. A sound container with no sound in it
        is an empty recording.
        """
        try:
            self._check_open()
            for block in _blocks(self._resampled(channels)):
                self._decoded += block.shape[1]
                yield block
                self._check_open()
            self._shortfall_s = self._promised_beyond(self.duration)
            if not self._decoded and (self._damaged or self._shortfall_s):
                raise AudioError
        finally:
            self.close()

    def close(self) -> None:
        """Give back the file and the memory; an iteration under way cannot go on. May be called twice."""
        if self._resources is not None:
            self._resources.close()
            self._resources = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _check_open(self) -> None:
        if self._resources is None:
            raise ValueError("the reader is closed")

    def _promised_beyond(self, duration_s: float) -> float:
        """Seconds by which the header promises more than `duration_s`; 0.0 within the tolerance."""
        declared_s = self.declared_duration or 0.0
        excess_s = declared_s - duration_s
        return excess_s if excess_s > _TOLERANCE_S + _TOLERANCE_SHARE * declared_s else 0.0

    def _sound(self, channels: Channels) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Rate in Hz and samples of all parts of the file."""
        yield from self._track.sound(channels)
        self._damaged |= self._track.damaged
        for start, end in self._later_parts:
            try:
                track = Track(self._file, start, end)
            except AudioError:
                self._damaged = True
                continue
            with closing(track):
                yield from track.sound(channels)
            self._damaged |= track.damaged

    def _resampled(self, channels: Channels) -> Iterator[Sides]:
        """Pieces of about a second at most."""
        resamplers: list[Resampler] = []
        rate = heard = 0
        heard_before_s = 0.0
        for frame_rate, frame in self._sound(channels):
            if not resamplers or frame_rate != rate:
                if resamplers:
                    yield np.stack([resampler.flush() for resampler in resamplers])
                    heard_before_s += heard / rate
                resamplers = [Resampler(frame_rate) for _ in resamplers or frame]
                rate, heard = frame_rate, 0
            heard += frame.shape[1]
            # Counted before resampling, which rounds, and never summed up, so that the limit itself still passes.
            if self._max_duration_s is not None and heard_before_s + heard / rate > self._max_duration_s:
                raise AudioTooLong(self._max_duration_s)
            sides = _on_sides(frame, len(resamplers))
            # At a low rate a small frame is a long time.
            for start in range(0, frame.shape[1], rate):
                piece = sides[:, start : start + rate]
                yield np.stack([resampler.feed(side) for resampler, side in zip(resamplers, piece, strict=True)])
        if resamplers:
            yield np.stack([resampler.flush() for resampler in resamplers])


def decode(source: Source, *, max_duration_s: float | None = None) -> Samples:
    """The whole of a short recording, shape (n,). Raises what `AudioReader` raises."""
    with AudioReader(source, max_duration_s=max_duration_s) as reader:
        return np.concatenate([np.zeros(0, np.float32), *reader])


def _open(source: Source, resources: ExitStack) -> BinaryIO:
    file: BinaryIO
    match source:
        case Path():
            file = resources.enter_context(source.open("rb"))
        case bytes():
            file = io.BytesIO(source)
        case _:
            file = source
    if file.seek(0, os.SEEK_END) == 0:
        raise EmptyAudio
    return file


def _on_sides(frame: NDArray[np.float32], n_sides: int) -> NDArray[np.float32]:
    """The frame on so many sides. One of another number of channels is mixed to the first side; the others are silent.

    Files change in the middle where they were joined from several; then nobody knows which channel was whose.
    """
    if len(frame) == n_sides:
        return frame
    sides = np.zeros((n_sides, frame.shape[1]), np.float32)
    sides[0] = frame.mean(axis=0)
    return sides


def _blocks(pieces: Iterator[Sides]) -> Iterator[Sides]:
    """The same samples in blocks of `BLOCK`, the last one shorter."""
    block, filled = np.empty((0, BLOCK), np.float32), 0
    for piece in pieces:
        rest = piece
        while rest.shape[1]:
            if not filled:
                block = np.empty((len(piece), BLOCK), np.float32)
            taken = rest[:, : BLOCK - filled]
            block[:, filled : filled + taken.shape[1]] = taken
            filled += taken.shape[1]
            rest = rest[:, taken.shape[1] :]
            if filled == BLOCK:
                yield block
                filled = 0
    if filled:
        yield block[:, :filled]
