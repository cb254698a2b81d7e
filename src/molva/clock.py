"""Time for what a clock that jumps must not decide. That of the system may be put right, or wrong, at any moment."""

import time
from collections.abc import Callable

JUMP_S = 60.0
"""Less than this between two looks is no jump."""
BELIEVED_AFTER_S = 3600.0
"""Who has put the clock wrong has so long to put it right."""


def steady() -> float:
    """Seconds since some moment, which never jump and go on while the machine sleeps, where the system counts so."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class SettledClock:
    """Unix time for what cannot be undone: a jump ahead counts only once it has lasted for an hour.

    For one thread at a time. It learns of jumps only from calls, so whoever has one asks it again and again.
    """

    def __init__(self, wall: Callable[[], float] = lambda: time.time(), steady: Callable[[], float] = steady) -> None:
        self._wall = wall
        self._steady = steady
        self._offset = wall() - steady()
        self._ahead_since: float | None = None

    def now(self) -> float:
        """Unix seconds, behind those of the system for some time where its clock has jumped ahead."""
        steady = self._steady()
        offset = self._wall() - steady
        if offset <= self._offset + JUMP_S:
            self._offset, self._ahead_since = offset, None
        elif self._ahead_since is None:
            self._ahead_since = steady
        elif steady - self._ahead_since >= BELIEVED_AFTER_S:
            self._offset, self._ahead_since = offset, None
        return steady + self._offset
