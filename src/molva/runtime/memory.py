"""Giving memory back to the system once nothing uses it."""

import ctypes
import gc
from collections.abc import Callable
from functools import cache
from typing import Any


def give_memory_back() -> None:
    """Drop what only cycles hold, and return free pages. Blocking; takes a tenth of a second."""
    gc.collect()
    if (trim := _malloc_trim()) is not None:
        trim(0)


@cache
def _malloc_trim() -> Callable[[int], Any] | None:
    """glibc keeps what is freed until it is told; other C libraries have no such call and need none."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError):
        return None
