"""Giving memory back to the system once nothing uses it. What is said of malloc is about glibc's."""

import ctypes
import gc
import time
from collections.abc import Callable
from functools import cache
from typing import Any

from molva.threads import undying

M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3
M_ARENA_MAX = -8
"""Of malloc.h."""

MAPPED_FROM = 1 << 17
"""Bytes from which a block is mapped by itself, and so goes back to the system when it is freed: recordings, features,
what encoders make of them. With a whole MB here, small things settled in the room that those leave: after six minutes
of mixed load the heap held 92 MB in place of 47, and the process 150 in place of 135. Smaller blocks, of which there
are thousands a second, stay in it."""

ROOM = 1 << 25
"""The largest size from which glibc lets blocks be mapped."""

TRIM_EVERY_S = 10.0
"""It took 1 to 10 ms mostly, and 137 once on a busy machine; other threads wait where they allocate."""


def give_memory_back() -> None:
    """Drop what only cycles hold, and return free pages. Blocking; takes a tenth of a second."""
    gc.collect()
    if (trim := _libc("malloc_trim")) is not None:
        trim(0)


def keep_heap_small() -> None:
    """Have all threads allocate from one heap, and large blocks outside of it. For processes that live long and load
    and drop models; call it before they do.

    By default each thread gets a heap of its own, and what little stays in one keeps much of the rest: 180 MB after
    whisper-base. Engines allocate few and large blocks, so threads do not wait for each other. And by default the
    size from which blocks are mapped grows with each that is freed, up to 32 MB: then recordings lie between small
    things in the heap.
    """
    if (mallopt := _libc("mallopt")) is not None:
        mallopt(M_ARENA_MAX, 1)
        mallopt(M_MMAP_THRESHOLD, MAPPED_FROM)


def keep_room_for_large_blocks() -> None:
    """Take blocks from the heap again, and leave it the room that they leave until it is trimmed: for engines that ask
    for megabytes with every operation, as CTranslate2 does.

    To have each of them mapped cost whisper-base 2.1 to 2.3 s of processor time for 5 s of speech, in place of 1.5.
    """
    if (mallopt := _libc("mallopt")) is not None:
        mallopt(M_MMAP_THRESHOLD, ROOM)
        mallopt(M_TRIM_THRESHOLD, 2 * ROOM)


def pass_over_what_is_here() -> None:
    """Have collections of cycles pass over all objects that there are by now. For a server that has imported what it
    needs: each would look at 100,000 objects that never go, for 60 ms in which nothing else runs.
    """
    gc.collect()
    gc.freeze()


def trim_now_and_then(every_s: float = TRIM_EVERY_S) -> None:
    """From now on, drop what only cycles hold, and return pages of the heap that nothing uses.

    Sessions and requests end in cycles, by the errors and tasks in them, and Python waits with those until there are
    many: without this a server of the small model held 112 to 115 MB after two minutes of mixed load and 15 s of rest,
    in place of 106. And what stays in the heap for long lies scattered among what goes: under mixed load 16 MB of the
    heap were free after five minutes, and 24 after half an hour.
    """
    trim = _libc("malloc_trim")

    def trim_on() -> None:
        while True:
            time.sleep(every_s)
            gc.collect()
            if trim is not None:
                trim(0)

    undying("trim", trim_on).start()


@cache
def _libc(name: str) -> Callable[..., Any] | None:
    """A function that other C libraries lack."""
    try:
        return getattr(ctypes.CDLL(None), name)  # type: ignore[no-any-return]
    except (AttributeError, OSError):
        return None
