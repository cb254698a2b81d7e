"""How often an address may ask: a token bucket for each, by gigastt's formula, in bounded memory."""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

MAX_PER_MINUTE = 60_000
"""Higher rates are this one."""
IDLE_NS = 300 * 10**9
"""A bucket that is not used for so long is dropped."""
MAX_BUCKETS = 100_000
"""Of one limiter; the one that was used longest ago makes room."""
TOKEN = 60 * 10**9
"""One token in the unit in which they are counted: a rate of N a minute refills N of these in a nanosecond. Whole
numbers, so that no fraction is ever lost."""


@dataclass(frozen=True)
class RateRule:
    """`per_minute` requests in the long run, `burst` of them at once. Both at least 1."""

    per_minute: int
    burst: int

    @property
    def refill(self) -> int:
        """Units a nanosecond."""
        return min(self.per_minute, MAX_PER_MINUTE)

    @property
    def interval_ms(self) -> int:
        """Between two requests at this rate."""
        return max(1, 60_000 // self.refill)


class Bucket:
    """What one client has left. Starts full."""

    __slots__ = ("_filled_ns", "_level")

    def __init__(self, rule: RateRule, now_ns: int) -> None:
        self._level = rule.burst * TOKEN
        self._filled_ns = now_ns

    @property
    def used_ns(self) -> int:
        """When a token was last asked for."""
        return self._filled_ns

    def take(self, rule: RateRule, now_ns: int) -> bool:
        """Whether there was a token; it is gone then."""
        self._level = min(rule.burst * TOKEN, self._level + (now_ns - self._filled_ns) * rule.refill)
        self._filled_ns = now_ns
        if self._level < TOKEN:
            return False
        self._level -= TOKEN
        return True


class RateLimiter:
    """The buckets of all clients.

    Our own, since the package `limits` counts in windows: it has no bucket that refills by the contract's formula, and
    its memory is bounded by time only.
    """

    def __init__(self, rule: RateRule | None, clock_ns: Callable[[], int] = time.monotonic_ns) -> None:
        """`rule`: None lets everybody pass. `clock_ns` never goes back."""
        self._rule = rule
        self._clock_ns = clock_ns
        self._buckets: OrderedDict[bytes, Bucket] = OrderedDict()
        """The one that was used longest ago comes first."""

    def __len__(self) -> int:
        """Buckets that are kept."""
        return len(self._buckets)

    @property
    def rule(self) -> RateRule | None:
        return self._rule

    def configure(self, rule: RateRule | None) -> None:
        """Another rule from now on, with full buckets; nothing happens where it is the same."""
        if rule != self._rule:
            self._rule = rule
            self._buckets.clear()

    def refuse(self, client: bytes) -> float | None:
        """None where the client may pass, which takes a token of its; otherwise seconds until it may try again."""
        rule = self._rule
        if rule is None:
            return None
        now = self._clock_ns()
        self._drop_idle(now)
        bucket = self._buckets.get(client)
        if bucket is None:
            if len(self._buckets) >= MAX_BUCKETS:
                self._buckets.popitem(last=False)
            bucket = self._buckets[client] = Bucket(rule, now)
        else:
            self._buckets.move_to_end(client)
        return None if bucket.take(rule, now) else rule.interval_ms / 1000

    def _drop_idle(self, now_ns: int) -> None:
        while self._buckets:
            oldest = next(iter(self._buckets))
            if now_ns - self._buckets[oldest].used_ns < IDLE_NS:
                return
            del self._buckets[oldest]


def client_key(address: IPv4Address | IPv6Address | None) -> bytes:
    """By what a client is counted: its address, or with IPv6 its /64, of which one machine has all addresses."""
    if address is None:
        return b""  # a socket without addresses: whoever uses it is one client
    return address.packed[:8]
