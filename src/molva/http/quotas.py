"""What each key has used of what it may use. In memory, of this process: with it the counts begin anew."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from molva.errors import QuotaExceeded
from molva.http.rate import Bucket, RateRule
from molva.keys import Quota

DAY_S = 86_400
CONCURRENT_RETRY_S = 1.0
"""Nobody knows when one of the others ends."""


class Account:
    """Of one key."""

    def __init__(self, clock_ns: Callable[[], int], wall_s: Callable[[], float]) -> None:
        self._clock_ns = clock_ns
        self._wall_s = wall_s
        self._bucket: Bucket | None = None
        self._running = 0
        self._audio_lock = threading.Lock()
        self._day = 0
        self._audio_s = 0.0

    @contextmanager
    def use(self, quota: Quota, *, brings_audio: bool) -> Iterator[None]:
        """One request or session, from its start to its end. Raises QuotaExceeded at its start."""
        if brings_audio and quota.audio_seconds_per_day is not None:
            self._check_audio(quota.audio_seconds_per_day)
        if quota.concurrent is not None and self._running >= quota.concurrent:
            raise QuotaExceeded(
                CONCURRENT_RETRY_S, f"This key may have {quota.concurrent} requests and sessions at once"
            )
        if quota.requests_per_minute is not None:
            self._take(quota.requests_per_minute)
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1

    def charge(self, seconds: float) -> None:
        """So much audio was decoded for this key. May be called from any thread."""
        with self._audio_lock:
            self._begin_day()
            self._audio_s += seconds

    def _check_audio(self, limit_s: int) -> None:
        with self._audio_lock:
            self._begin_day()
            if self._audio_s >= limit_s:
                left_s = DAY_S - self._wall_s() % DAY_S
                raise QuotaExceeded(left_s, f"This key has used up its {limit_s} seconds of audio for today")

    def _begin_day(self) -> None:
        today = int(self._wall_s() // DAY_S)
        if today != self._day:
            self._day, self._audio_s = today, 0.0

    def _take(self, per_minute: int) -> None:
        rule, now = RateRule(per_minute, per_minute), self._clock_ns()
        if self._bucket is None:
            self._bucket = Bucket(rule, now)
        if not self._bucket.take(rule, now):
            raise QuotaExceeded(rule.interval_ms / 1000, f"This key may make {per_minute} requests a minute")


class Quotas:
    """The accounts of all keys, by their names."""

    def __init__(
        self, clock_ns: Callable[[], int] = time.monotonic_ns, wall_s: Callable[[], float] = time.time
    ) -> None:
        """`clock_ns` never goes back; `wall_s` is Unix time, by which days begin."""
        self._clock_ns = clock_ns
        self._wall_s = wall_s
        self._accounts: dict[str, Account] = {}

    def account(self, name: str) -> Account:
        """Of the key of this name."""
        if name not in self._accounts:
            self._accounts[name] = Account(self._clock_ns, self._wall_s)
        return self._accounts[name]
