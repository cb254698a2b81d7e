"""Sends what is due, in threads of its own. Whatever happens here fails nobody else."""

import logging
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit

from molva.errors import AddressRefused, StoreError
from molva.models.headers import retry_after_s
from molva.outbound.connection import Network
from molva.outbound.exchange import Unanswered
from molva.outbound.policy import AddressPolicy
from molva.outbound.post import Told, post
from molva.threads import undying
from molva.webhooks.delivery import Delivery, DeliveryStore
from molva.webhooks.schedule import Schedule
from molva.webhooks.signing import headers

log = logging.getLogger(__name__)

POLL_S = 1.0
"""How soon deliveries are seen that another process has added or made due."""
LEASE_MARGIN_S = 15.0
"""For the store to take the result; then the delivery is anybody's."""
LONGEST_PAUSE_S = 30.0
"""Between attempts to reach a store that does not answer."""
GONE = 410
ASKS_FOR_PATIENCE = frozenset({429, 503})


@dataclass(frozen=True, slots=True)
class _Attempt:
    """What came of one."""

    problem: str | None
    """What went wrong; None for a success."""
    status: int | None = None
    asked_s: float | None = None
    """How long the receiver asks to be left alone."""


class WebhookSender:
    """Delivers what is in `store`. Several may share a store, in one process or in many."""

    def __init__(
        self,
        store: DeliveryStore,
        policy: AddressPolicy,
        *,
        keys: Sequence[bytes] = (),
        schedule: Schedule = Schedule(),  # noqa: B008  # immutable
        timeout_s: float = 15.0,
        at_once: int = 16,
        agent: str = "molva",
        network: Network = Network(),  # noqa: B008  # immutable
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`timeout_s`: for a whole attempt; `at_once`: attempts, each to another receiver; `keys` sign; `agent`:
        what molva is called there."""
        self._store = store
        self._policy = policy
        self._keys = keys
        self._schedule = schedule
        self._timeout_s = timeout_s
        self._lease_s = timeout_s + LEASE_MARGIN_S
        self._at_once = at_once
        self._agent = agent
        self._network = network
        self._clock = clock
        self._changed = threading.Condition()
        self._woken = False
        self._closing = False
        self._in_hand = 0
        self._counts: Counter[str] = Counter()
        self._dispatcher = undying("webhooks", self._dispatch)

    def change(self, keys: Sequence[bytes], schedule: Schedule) -> None:
        """Other keys to sign with and another schedule, for attempts from now on. From any thread."""
        self._keys, self._schedule = keys, schedule

    @property
    def counts(self) -> Mapping[str, int]:
        """Attempts since the start by outcome: `delivered`, `failed` (attempted again later) and `given_up`."""
        with self._changed:
            return dict(self._counts)

    def start(self) -> None:
        """Begins with what earlier processes left."""
        self._dispatcher.start()

    def wake(self) -> None:
        """Something is due now. From any thread; returns at once."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def close(self, timeout_s: float) -> None:
        """Begins no further attempt, and waits so many seconds for those in hand. All the rest stays in the store."""
        until = time.monotonic() + timeout_s
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._in_hand, timeout_s)
        if self._dispatcher.ident is not None:
            self._dispatcher.join(max(0.0, until - time.monotonic()))

    def _dispatch(self) -> None:
        pause_s = POLL_S
        latest = math.inf  # so that what happened to the clock before counts as well
        while not self._closing:
            try:
                if (now := self._clock()) < latest:
                    self._store.set_right(self._lease_s)
                latest = now
                self._begin_what_is_due()
                self._wait(self._until_due())
                pause_s = POLL_S
            except StoreError as error:
                log.warning("webhooks wait for the store: %s", error)
                self._sleep(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            except Exception:
                log.exception("webhooks failed in a way that they should not; they go on")
                self._sleep(LONGEST_PAUSE_S)

    def _begin_what_is_due(self) -> None:
        with self._changed:
            self._woken = False
            free = self._at_once - self._in_hand
        if not free:
            return
        for delivery in self._store.claim(self._lease_s, free):
            with self._changed:
                if self._closing:
                    return
                threading.Thread(target=self._deliver, args=(delivery,), name="webhook", daemon=True).start()
                self._in_hand += 1

    def _until_due(self) -> float:
        """What is due already waits for its receiver or for a thread: their end wakes us."""
        due_at = self._store.next_due()
        return POLL_S if due_at is None else max(0.0, min(POLL_S, due_at - self._clock()))

    def _wait(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._woken or self._closing, seconds)

    def _sleep(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._closing, seconds)

    def _deliver(self, delivery: Delivery) -> None:
        lease_over = time.monotonic() + self._lease_s
        try:
            attempt = self._attempt(delivery)
            due_at = self._next(delivery, attempt)
            self._record(delivery, attempt, due_at, lease_over)
            self._count(delivery, attempt, due_at)
        except BaseException:  # nothing is lost: its lease ends, and it is attempted again
            log.exception("what became of webhook %s is not known", delivery.id)
        finally:
            with self._changed:
                self._in_hand -= 1
                self._woken = True
                self._changed.notify_all()

    def _attempt(self, delivery: Delivery) -> _Attempt:
        sent = {
            "Content-Type": "application/json",
            "User-Agent": self._agent,
            **headers(delivery.id, int(self._clock()), delivery.payload, self._keys),
        }
        try:
            told = post(delivery.url, delivery.payload, sent, self._policy, self._timeout_s, network=self._network)
            asked_s = None
            if told.status in ASKS_FOR_PATIENCE:
                asked_s = retry_after_s(told.retry_after, datetime.fromtimestamp(self._clock(), UTC))
            return _Attempt(problem_with(told), told.status, asked_s)
        except (AddressRefused, Unanswered) as error:
            return _Attempt(str(error))
        except BaseException:  # counts too: otherwise what always fails so would be attempted for ever
            log.exception("webhook %s failed in a way that it should not", delivery.id)
            return _Attempt("molva failed to send it; its log says more")

    def _next(self, delivery: Delivery, attempt: _Attempt) -> float | None:
        """When there is another attempt, if ever."""
        if attempt.problem is None or attempt.status == GONE:
            return None
        wait_s = self._schedule.wait_s(delivery.attempts + 1, attempt.asked_s)
        return None if wait_s is None else self._clock() + wait_s

    def _record(self, delivery: Delivery, attempt: _Attempt, due_at: float | None, lease_over: float) -> None:
        """Tells the store, as long as the result is ours to tell. Raises StoreError when it no longer is."""
        while True:
            try:
                if attempt.problem is not None:
                    self._store.failed(delivery, attempt.problem, attempt.status, due_at)
                elif attempt.status is not None:
                    self._store.delivered(delivery, attempt.status)
                break
            except StoreError as error:
                if self._closing or time.monotonic() > lease_over:
                    raise
                log.warning("the result of webhook %s waits for the store: %s", delivery.id, error)
                self._sleep(POLL_S)

    def _count(self, delivery: Delivery, attempt: _Attempt, due_at: float | None) -> None:
        host = urlsplit(delivery.url).hostname
        if attempt.problem is None:
            outcome = "delivered"
            log.info("webhook %s delivered to %s", delivery.id, host)
        elif due_at is None:
            outcome = "given_up"
            log.warning("webhook %s to %s given up: %s", delivery.id, host, attempt.problem)
        else:
            outcome = "failed"
            again_s = due_at - self._clock()
            log.info("webhook %s to %s failed: %s; again in %.0f s", delivery.id, host, attempt.problem, again_s)
        with self._changed:
            self._counts[outcome] += 1


def problem_with(told: Told) -> str | None:
    """Why an answer is no success, for people; None for a success."""
    if 200 <= told.status < 300:
        return None
    if told.redirects_to is not None:
        return f"it redirects to {told.redirects_to} ({told.status}), and webhooks follow no redirects"
    if told.status == GONE:
        return "it wants no more of these (410)"
    return f"it answered {told.status}"
