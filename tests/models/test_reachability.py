"""A host that does not answer is found out within the time given."""

import socket
import threading

import pytest

from molva.models.reachability import answers


def test_a_listening_port_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert answers("127.0.0.1", server.getsockname()[1], timeout_s=2.0)


def test_a_refused_connection_is_no_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert not answers("127.0.0.1", port, timeout_s=2.0)


def test_a_name_that_does_not_exist_is_no_answer() -> None:
    assert not answers("nobody.invalid", 443, timeout_s=2.0)


def test_a_name_that_cannot_be_one_is_no_answer() -> None:
    assert not answers("a" * 70 + ".example", 443, timeout_s=2.0)


def test_a_lookup_that_hangs_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()

    def hang(*_args: object, **_kwargs: object) -> list[object]:
        released.wait(60)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    assert not answers("hub.example", 443, timeout_s=0.1)
    assert not released.is_set()  # answered while the lookup still hangs
    released.set()


def test_one_good_address_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host may have an IPv6 address on a machine whose IPv6 leads nowhere."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        dead = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 1))
        good = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_kwargs: [dead, good])
        assert answers("hub.example", port, timeout_s=2.0)
