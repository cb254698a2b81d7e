"""Admission: how many callers are served at once, and how long the others wait.

Lives on the event loop; not for use from other threads.
"""

import asyncio
import time
from collections import deque

from molva import tracing
from molva.errors import Busy, ShuttingDown
from molva.observer import NOBODY, Admission, Observer


class Slots:
    """A number of places, given out first come, first served."""

    def __init__(
        self, total: int, *, max_waiting: int, timeout_s: float, name: str = "requests", observer: Observer = NOBODY
    ) -> None:
        """`name`: what `observer` is told that they are."""
        self.total = total
        self._name = name
        self._observer = observer
        self.taken = 0
        self.max_waiting = max_waiting
        """Callers that may wait at once; those who wait already stay."""
        self.timeout_s = timeout_s
        """Longest wait of those who come from now on."""
        self._waiting: deque[asyncio.Future[None]] = deque()
        self.closed = False

    @property
    def available(self) -> int:
        """Places free now."""
        return max(self.total - self.taken, 0)

    @property
    def waiting(self) -> int:
        """Callers that wait for a place."""
        return len(self._waiting)

    async def acquire(self) -> None:
        """Take a place, waiting for one in turn.

        Raises Busy when none became free in time or too many wait already, ShuttingDown after `close`.
        """
        started, timeout_s = time.perf_counter(), self.timeout_s
        with tracing.span("admission", {"molva.places": self._name}):
            outcome = await self._acquire(timeout_s)
            self._observer.checked_out(self._name, outcome, time.perf_counter() - started)
            if outcome != "granted":
                raise Busy(timeout_s)

    async def _acquire(self, timeout_s: float) -> Admission:
        if self.closed:
            raise ShuttingDown
        if self.available > 0 and not self._waiting:
            self.taken += 1
            return "granted"
        if len(self._waiting) >= self.max_waiting:
            return "full"
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            async with asyncio.timeout(timeout_s):
                await place
        except (TimeoutError, asyncio.CancelledError) as ending:
            if place.done() and not place.cancelled() and place.exception() is None:
                self.release()  # it was handed over in the same instant
            if isinstance(ending, TimeoutError):
                return "timeout"
            raise
        finally:
            if place in self._waiting:
                self._waiting.remove(place)
        return "granted"

    def release(self) -> None:
        """Give a place back, to the caller who has waited longest."""
        self.taken -= 1
        self._hand_out()

    def resize(self, total: int) -> None:
        """Change the number of places. Where it shrinks, those inside stay and new ones wait longer."""
        self.total = total
        self._hand_out()

    def close(self) -> None:
        """Refuse everybody who waits or comes; those inside finish."""
        self.closed = True
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_exception(ShuttingDown())

    def _hand_out(self) -> None:
        while self._waiting and self.available > 0:
            place = self._waiting.popleft()
            if not place.done():
                self.taken += 1
                place.set_result(None)
