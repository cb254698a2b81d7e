"""What is to be told to whom, and where it is kept."""

from dataclasses import dataclass
from typing import Literal, Protocol

DeliveryStatus = Literal["pending", "delivered", "given_up"]


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message to one address. Its content never changes, however often it is sent."""

    id: str
    """`msg_…`, the webhook id that receivers tell repetitions by."""
    url: str
    event: str
    """What it is about: `job.done`, `job.failed`, `job.cancelled`, `model_ready`, `model_unloaded`."""
    job_id: str | None
    payload: bytes
    """JSON, as it is sent and signed."""
    status: DeliveryStatus
    attempts: int
    due_at: float
    """When the next attempt is to be made; Unix seconds, as all times here."""
    created_at: float
    updated_at: float
    answer: int | None = None
    """HTTP status of the last attempt, where there was one."""
    problem: str | None = None
    """What went wrong with the last attempt, for people."""
    claim: str | None = None
    """By what the store knows again who is attempting it; only what `claim` returns has one."""


class DeliveryStore(Protocol):
    """Keeps deliveries over restarts. Calls block and may come from any thread. All raise StoreError."""

    def add(self, url: str, event: str, payload: bytes, job_id: str | None = None) -> Delivery:
        """A new delivery, due at once."""
        ...

    def claim(self, lease_s: float, limit: int) -> list[Delivery]:
        """Deliveries that are due, oldest due first, and for `lease_s` seconds nobody else's, in any process.

        One for each receiver (host and port), and none for a receiver that another claim holds: a receiver hears one
        thing at a time, in order, and one that hangs takes nobody else's place.
        """
        ...

    def delivered(self, delivery: Delivery, answer: int) -> None:
        """The receiver has it. Nothing happens where somebody else's claim has replaced this one."""
        ...

    def failed(self, delivery: Delivery, problem: str, answer: int | None, due_at: float | None) -> None:
        """An attempt failed; the next one is at `due_at`, or never where that is None."""
        ...

    def set_right(self, lease_s: float) -> None:
        """After the clock was put back: what waits is due at once, since nobody knows when it should be, and no lease
        lasts for longer than `lease_s`.
        """
        ...

    def next_due(self) -> float | None:
        """When the next delivery falls due after now; None where none will. Those that are due wait for a claim."""
        ...

    def find(self, delivery_id: str) -> Delivery | None: ...

    def list(
        self, *, status: DeliveryStatus | None = None, limit: int = 100, before: str | None = None
    ) -> list[Delivery]:
        """Newest first, and without their payloads; `before`: the id of the last one that was told already."""
        ...

    def replay(self, delivery_id: str) -> Delivery | None:
        """Make one due at once, with its attempts counted anew; the id and the content stay. None: no such delivery.

        An attempt that is under way no longer counts, but has its time: the next one begins when its lease is over.
        """
        ...

    def forget(self, before: float) -> int:
        """Remove those that were delivered or given up before a time; how many."""
        ...
