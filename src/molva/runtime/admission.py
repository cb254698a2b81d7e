"""Who may come in: places for live sessions and for requests, from one pool or from two."""

from molva.observer import NOBODY, Observer
from molva.runtime.capacity import sustained_sessions
from molva.runtime.scheduler import Lane
from molva.runtime.slots import Slots

DEFAULT_REQUESTS = 2
"""Requests that are served at once where no pool size is given. Their windows share all workers, so more of them
finish no sooner and hold more memory."""


class Admission:
    """With a pool size, sessions and requests share so many places, as gigastt's do. Without one, requests have a few
    places of their own, and there are as many for sessions as the machine sustains."""

    def __init__(
        self, pool_size: int | None, *, max_waiting: int, timeout_s: float, observer: Observer = NOBODY
    ) -> None:
        self._measured = pool_size is None
        self.timeout_s = timeout_s
        """Longest wait of a caller for a place, and as long again for a model."""
        self.requests = Slots(
            pool_size or DEFAULT_REQUESTS, max_waiting=max_waiting, timeout_s=timeout_s, observer=observer
        )
        self.sessions = self.requests
        """What `pool_size` and `pool_available` are about."""
        if self._measured:
            self.sessions = Slots(1, max_waiting=max_waiting, timeout_s=timeout_s, name="sessions", observer=observer)

    def change(self, *, max_waiting: int, timeout_s: float) -> None:
        """Other limits, for those who come from now on."""
        self.timeout_s = timeout_s
        for slots in (self.requests, self.sessions):
            slots.max_waiting, slots.timeout_s = max_waiting, timeout_s

    def measure(self, lane: Lane) -> None:
        """Follow what the machine sustains now: slower where others use it too."""
        if self._measured and lane.real_time_factor is not None:
            self.sessions.resize(sustained_sessions(lane.real_time_factor, lane.workers))

    def close(self) -> None:
        """Refuse everybody who waits or comes; those inside finish."""
        self.requests.close()
        self.sessions.close()
