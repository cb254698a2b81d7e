"""Who is charged for audio: the door that lets a caller in says so, whatever hears the caller's audio tells it."""

from collections.abc import Callable
from contextvars import ContextVar


def nobody(_seconds: float) -> None:
    """Charges nobody."""


METER: ContextVar[Callable[[float], None]] = ContextVar("meter", default=nobody)
"""Told seconds of audio that were decoded for the caller in whose context it is read. Called from any thread, also
after that caller has gone: a job is run later."""
