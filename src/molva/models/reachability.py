"""Whether a host answers at all, decided within a bounded time.

A plain connect tries a host's addresses one after the other, each with its own timeout, and looks the name up with no
timeout at all: behind a firewall that drops packets this takes minutes.
"""

import socket
import threading
from queue import Empty, SimpleQueue


def answers(host: str, port: int, timeout_s: float) -> bool:
    """Whether any address of `host` takes a TCP connection within `timeout_s`, name lookup included."""
    outcome: SimpleQueue[bool] = SimpleQueue()
    threading.Thread(target=_try_all, args=(host, port, timeout_s, outcome), daemon=True).start()
    try:
        return outcome.get(timeout=timeout_s)
    except Empty:
        return False


def _try_all(host: str, port: int, timeout_s: float, outcome: SimpleQueue[bool]) -> None:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        found = []
    attempts = [
        threading.Thread(target=_try_one, args=(family, address, timeout_s, outcome), daemon=True)
        for family, _type, _protocol, _name, address in found
    ]
    for attempt in attempts:
        attempt.start()
    for attempt in attempts:
        attempt.join()
    outcome.put(False)


def _try_one(family: socket.AddressFamily, address: object, timeout_s: float, outcome: SimpleQueue[bool]) -> None:
    try:
        with socket.socket(family, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout_s)
            connection.connect(address)  # type: ignore[arg-type]
    except OSError:
        return
    outcome.put(True)
