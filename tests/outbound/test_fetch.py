"""Bringing a file: what arrives, and what ends it."""

import socket
import threading
from ipaddress import ip_network
from typing import Any

import pytest

from molva.errors import AddressRefused, Cancelled, FetchFailed, PayloadTooLarge
from molva.outbound.connection import Network
from molva.outbound.fetch import MAX_REDIRECTS, fetch
from molva.outbound.policy import AddressPolicy
from tests.outbound.receiver import Receiver, Script, answer, close_early, drip, flood, hang, receiver, until

HOME = AddressPolicy(allowed=(ip_network("127.0.0.1/32"),))


def bring(url: str, *, policy: AddressPolicy = HOME, max_bytes: int = 1_000_000, timeout_s: float = 10) -> bytes:
    received: list[bytes] = []
    count = fetch(url, received.append, policy, max_bytes=max_bytes, timeout_s=timeout_s)
    assert count == sum(map(len, received))
    return b"".join(received)


def chunked(*chunks: bytes) -> Script:
    def script(stream: socket.socket, _: Receiver) -> None:
        stream.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for chunk in chunks:
            stream.sendall(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
        stream.sendall(b"0\r\n\r\n")

    return script


def test_a_file_arrives_as_it_is() -> None:
    data = bytes(range(256)) * 2000
    for script in (answer(200, data), chunked(data[:300_000], data[300_000:])):
        with receiver(script) as there:
            assert bring(f"{there.url}/talk.ogg?key=1") == data
        assert there.heard[0].line == "GET /hook/talk.ogg?key=1 HTTP/1.1"
        assert there.heard[0].headers["accept-encoding"] == "identity"


def test_redirects_are_followed() -> None:
    with receiver(answer(200, b"there")) as there, receiver(answer(302, Location=there.url)) as first:
        assert bring(first.url) == b"there"


@pytest.mark.parametrize("host", ["127.0.0.2", "0x7f000002", "[::ffff:127.0.0.2]"])
def test_a_redirect_to_a_private_address_is_never_requested(host: str) -> None:
    with socket.create_server(("127.0.0.2", 0)) as inside:
        inside.setblocking(False)
        location = f"http://{host}:{inside.getsockname()[1]}/"
        with receiver(answer(302, Location=location)) as there, pytest.raises(AddressRefused):
            bring(there.url)
        with pytest.raises(BlockingIOError):
            inside.accept()


def test_a_redirect_leads_to_listed_hosts_only() -> None:
    policy = AddressPolicy(HOME.allowed, hosts={"127.0.0.1"})
    with receiver(answer(302, Location="http://example.com/")) as there, pytest.raises(AddressRefused, match="fetch"):
        bring(there.url, policy=policy)


def test_redirects_end() -> None:
    with receiver(answer(302, Location="/again")) as there:
        with pytest.raises(FetchFailed, match="redirects more than 3 times"):
            bring(there.url)
        assert there.connections == MAX_REDIRECTS + 1


@pytest.mark.parametrize(
    ("script", "told"),
    [
        (answer(404), "it answered 404"),
        (answer(206), "it answered 206"),
        (answer(200, Content_Encoding="gzip"), "compressed"),
        (answer(200, b"short", Content_Length="100"), "too early"),
        (answer(200, b"short", Content_Length="x"), "does not speak HTTP"),
        (close_early, "too early"),
        (hang, "in time"),
        (drip(b"HTTP/1.1 200 OK\r\n\r\n"), "in time"),
        (answer(302, Location="http://["), "."),
    ],
)
def test_a_file_that_does_not_arrive_is_told_with_what_to_do(script: Script, told: str) -> None:
    with receiver(script) as there, pytest.raises((FetchFailed, AddressRefused), match=told) as caught:
        bring(there.url, timeout_s=0.7)
    if isinstance(caught.value, FetchFailed):
        assert "upload the file itself" in str(caught.value)


def test_a_file_that_says_it_is_too_large_is_not_read() -> None:
    with receiver(answer(200, b"", Content_Length="1001")) as there, pytest.raises(PayloadTooLarge, match="1,000"):
        bring(there.url, max_bytes=1000)


@pytest.mark.parametrize("script", [flood, chunked(b"a" * 600, b"a" * 600)])
def test_a_file_that_is_too_large_is_not_handed_on(script: Script) -> None:
    received: list[bytes] = []
    with receiver(script) as there, pytest.raises(PayloadTooLarge):
        fetch(there.url, received.append, HOME, max_bytes=1000, timeout_s=10)
    assert sum(map(len, received)) <= 1000


def test_a_file_of_exactly_the_limit_arrives() -> None:
    with receiver(answer(200, b"a" * 1000)) as there:
        assert len(bring(there.url, max_bytes=1000)) == 1000


def test_cancelling_ends_a_fetch_that_waits() -> None:
    cancelled = threading.Event()
    ended: list[BaseException] = []

    def run() -> None:
        try:
            fetch(there.url, lambda _: None, HOME, max_bytes=1, timeout_s=60, cancelled=cancelled.is_set)
        except Cancelled as error:
            ended.append(error)

    with receiver(hang) as there:
        thread = threading.Thread(target=run)
        thread.start()
        until(lambda: bool(there.heard))
        cancelled.set()
        thread.join(10)
    assert len(ended) == 1


def test_what_the_writer_raises_comes_through() -> None:
    def full(_: bytes) -> None:
        raise OSError("no room")

    with receiver(answer(200, b"data")) as there, pytest.raises(OSError, match="no room"):
        fetch(there.url, full, HOME, max_bytes=100, timeout_s=10)


def test_no_message_tells_the_address_of_a_name() -> None:
    def private(_: str, port: int, **__: object) -> list[tuple[Any, ...]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    url, network = f"http://inside.example:{port}/", Network(getaddrinfo=private)
    for policy in (HOME, AddressPolicy()):
        with pytest.raises((FetchFailed, AddressRefused)) as caught:
            fetch(url, lambda _: None, policy, max_bytes=1, timeout_s=5, network=network)
        assert "127.0.0.1" not in str(caught.value)
