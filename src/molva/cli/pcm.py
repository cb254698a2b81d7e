"""Audio on its way to a server: PCM16 frames of 100 ms at most, of a file or a pipe, at the right pace."""

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator, Generator, Iterable
from contextlib import closing, suppress
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from molva.samples import Samples

FRAMES_PER_SECOND = 10
SAMPLE_BYTES = 2
FILE_RATE = 16_000
"""What files are decoded to, in Hz."""

Frames: TypeAlias = Generator[bytes, None, None]


def frames_of_file(blocks: "Iterable[Samples]") -> Frames:
    """What `AudioReader` decodes, at `FILE_RATE`. 16-bit recordings at that rate stay exactly what they are."""
    import numpy as np

    size = FILE_RATE // FRAMES_PER_SECOND
    for block in blocks:
        pcm = np.clip(np.rint(block * 32768), -32768, 32767).astype("<i2")
        for start in range(0, len(pcm), size):
            yield pcm[start : start + size].tobytes()


def frames_of_pipe(descriptor: int, rate: int) -> Frames:
    """Raw PCM16 as it comes: a live source is not held up until a frame is full.

    It reads past Python's own buffer, whose lock a read that waits at the end of the process would hold for ever.
    """
    size = rate // FRAMES_PER_SECOND * SAMPLE_BYTES
    while frame := os.read(descriptor, size):
        yield frame


def at_real_time(frames: Iterable[bytes], rate: int) -> Frames:
    """The same frames, each not before it would have been spoken."""
    start = time.monotonic()
    n_samples = 0
    for frame in frames:
        n_samples += len(frame) // SAMPLE_BYTES
        time.sleep(max(start + n_samples / rate - time.monotonic(), 0))
        yield frame


async def read_ahead(frames: Frames, n_ahead: int = 2 * FRAMES_PER_SECOND) -> AsyncIterator[bytes]:
    """Frames that block, for the event loop; at most `n_ahead` wait here.

    They are read in a thread that never holds up the end of the process: a read from a pipe cannot be broken off.
    """
    loop = asyncio.get_running_loop()
    arrived: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()
    room = threading.Semaphore(n_ahead)
    unwanted = threading.Event()

    def put(item: bytes | Exception | None) -> None:
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(arrived.put_nowait, item)

    def read() -> None:
        try:
            with closing(frames):
                for frame in frames:
                    room.acquire()
                    if unwanted.is_set():
                        return
                    put(frame)
            put(None)
        except Exception as error:  # noqa: BLE001 - raised where the frames are wanted
            put(error)

    threading.Thread(target=read, daemon=True).start()
    try:
        while (item := await arrived.get()) is not None:
            if isinstance(item, Exception):
                raise item
            room.release()
            yield item
    finally:
        unwanted.set()
        room.release()
