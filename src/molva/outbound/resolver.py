"""Names to addresses, with an end: the operating system's look-up may hang for as long as it likes."""

import socket
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from ipaddress import ip_address
from typing import Any

from molva.outbound.policy import IPAddress

GetAddrInfo = Callable[..., Iterable[Sequence[Any]]]
"""`socket.getaddrinfo`."""

MAX_HANGING = 32
"""Look-ups at once. Nobody can end one that hangs; more of them would only take memory."""
_room = threading.BoundedSemaphore(MAX_HANGING)


def resolve(host: str, port: int, timeout_s: float, getaddrinfo: GetAddrInfo = socket.getaddrinfo) -> list[IPAddress]:
    """All addresses of a host, in the system's order.

    Raises OSError where it has none, TimeoutError where they are not known in time.
    """
    deadline = time.monotonic() + timeout_s
    if not _room.acquire(timeout=timeout_s):
        raise TimeoutError
    future: Future[list[IPAddress]] = Future()

    def look_up() -> None:
        try:
            found = getaddrinfo(host, port, type=socket.SOCK_STREAM)
            # As keys of a dict: each once, in order.
            future.set_result(list(dict.fromkeys(ip_address(entry[4][0]) for entry in found)))
        except (OSError, ValueError) as error:
            future.set_exception(error if isinstance(error, OSError) else OSError("an address of no known form"))
        finally:
            _room.release()

    try:
        threading.Thread(target=look_up, name="resolver", daemon=True).start()
    except RuntimeError as error:  # the machine has no more threads
        _room.release()
        raise OSError("no thread") from error
    return future.result(max(0.0, deadline - time.monotonic()))
