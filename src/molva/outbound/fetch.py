"""Brings a file from an address that a client named."""

from collections.abc import Callable

from molva.errors import Cancelled, FetchFailed, PayloadTooLarge
from molva.outbound.connection import Deadline, Network
from molva.outbound.exchange import Answer, Unanswered, exchange
from molva.outbound.policy import AddressPolicy
from molva.outbound.url import Target, follow

MAX_REDIRECTS = 3
HEADERS = {"User-Agent": "molva", "Accept": "*/*", "Accept-Encoding": "identity"}
"""Sizes are about the file's own bytes, not about compressed ones, of which few can be very many."""


def fetch(
    url: str,
    write: Callable[[bytes], object],
    policy: AddressPolicy,
    *,
    max_bytes: int,
    timeout_s: float,
    cancelled: Callable[[], bool] = lambda: False,
    network: Network = Network(),  # noqa: B008  # immutable
) -> int:
    """Hands the file's bytes to `write` as they come, and returns how many there were.

    Redirects are followed, three at most, each under the same policy as the first address. `timeout_s` is for all of
    it; `cancelled` is asked a few times a second. Raises AddressRefused, PayloadTooLarge, FetchFailed, Cancelled, and
    what `write` raises.
    """

    def check() -> None:
        if cancelled():
            raise Cancelled

    deadline = Deadline(timeout_s, check)
    target = policy.check_url(url)
    for _ in range(MAX_REDIRECTS + 1):
        try:
            with exchange("GET", target, HEADERS, b"", policy, deadline, network) as answer:
                if answer.redirect is None:
                    return _receive(answer, target, write, max_bytes)
                location = answer.redirect
        except Unanswered as problem:
            raise _failure(target, str(problem)) from problem
        target = policy.check_url(follow(target, location).url)
    raise _failure(target, f"it redirects more than {MAX_REDIRECTS} times")


def _receive(answer: Answer, target: Target, write: Callable[[bytes], object], max_bytes: int) -> int:
    if answer.status != 200:
        raise _failure(target, f"it answered {answer.status}")
    if answer.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise _failure(target, "it sends the file compressed, which it was asked not to do")
    too_large = PayloadTooLarge(f"The recording at {target.host} is larger than the limit of {max_bytes:,} bytes.")
    # HTTP's parser has seen to it that this is a number.
    if int(answer.headers.get("content-length", 0)) > max_bytes:
        raise too_large
    received = 0
    for chunk in answer.chunks:
        received += len(chunk)
        if received > max_bytes:
            raise too_large
        write(chunk)
    return received


def _failure(target: Target, problem: str) -> FetchFailed:
    return FetchFailed(
        f"The recording could not be fetched from {target.host}: {problem}. "
        "Check that anybody can download the URL, or upload the file itself."
    )
