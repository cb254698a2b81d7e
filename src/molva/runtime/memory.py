"""Giving memory back to the system once nothing uses it. What is said of malloc is about glibc's."""

import ctypes
import gc
from collections.abc import Callable
from functools import cache
from typing import Any

M_ARENA_MAX = -8
"""Of malloc.h."""


def give_memory_back() -> None:
    """Drop what only cycles hold, and return free pages. Blocking; takes a tenth of a second."""
    gc.collect()
    if (trim := _libc("malloc_trim")) is not None:
        trim(0)


def keep_one_heap() -> None:
    """Have all threads allocate from one heap. For processes that load and drop models; call it before they do.

    By default each thread gets a heap of its own, and what little stays in one keeps much of the rest: 180 MB after
    whisper-base. Engines allocate few and large blocks, so threads do not wait for each other.
    """
    if (mallopt := _libc("mallopt")) is not None:
        mallopt(M_ARENA_MAX, 1)


@cache
def _libc(name: str) -> Callable[..., Any] | None:
    """A function that other C libraries lack."""
    try:
        return getattr(ctypes.CDLL(None), name)  # type: ignore[no-any-return]
    except (AttributeError, OSError):
        return None
