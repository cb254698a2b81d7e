"""Tells something to an address that a client named."""

from collections.abc import Mapping
from dataclasses import dataclass

from molva.errors import AddressRefused
from molva.outbound.connection import Deadline, Network
from molva.outbound.exchange import Answer, Unanswered, exchange
from molva.outbound.policy import AddressPolicy
from molva.outbound.url import follow

MAX_ANSWER = 64 * 2**10
"""Bytes of an answer's body that are read, unseen: who answers should not find the connection cut."""
LISTEN_S = 1.0
"""How long they are waited for; all that counts has been heard by then."""


@dataclass(frozen=True, slots=True)
class Told:
    """What the receiver said."""

    status: int
    retry_after: str | None = None
    """Its header of that name."""
    redirects_to: str | None = None
    """The host it sends us on to, where nobody went."""


def post(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    policy: AddressPolicy,
    timeout_s: float,
    *,
    network: Network = Network(),  # noqa: B008  # immutable
) -> Told:
    """Posts `body`; all of it, looking the name up included, takes `timeout_s` seconds at most.

    No redirect is followed: a receiver has one address, and what is meant for it goes nowhere else. Raises
    AddressRefused, and Unanswered with what went wrong.
    """
    deadline = Deadline(timeout_s)
    target = policy.check_url(url)
    with exchange("POST", target, headers, body, policy, deadline, network) as answer:
        redirects_to = None
        if answer.redirect is not None:
            try:
                redirects_to = follow(target, answer.redirect).host
            except AddressRefused:
                redirects_to = "an address that is not allowed"
        _listen(answer, deadline)
        return Told(answer.status, answer.headers.get("retry-after"), redirects_to)


def _listen(answer: Answer, deadline: Deadline) -> None:
    """To the end of a small answer, and to the beginning of a large or slow one."""
    deadline.sooner(LISTEN_S)
    received = 0
    try:
        for chunk in answer.chunks:
            received += len(chunk)
            if received > MAX_ANSWER:
                return
    except Unanswered:
        return  # the status is what counts
