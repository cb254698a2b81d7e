"""Telling something to an address: who is connected to, and what an answer or the lack of one comes to."""

import socket
import ssl
import threading
from collections.abc import Iterable
from ipaddress import ip_network
from typing import Any

import pytest

from molva.errors import AddressRefused
from molva.outbound.connection import Network
from molva.outbound.exchange import Unanswered
from molva.outbound.policy import AddressPolicy
from molva.outbound.post import Told, post
from tests.outbound.receiver import PEM, Receiver, Script, answer, close_early, drip, flood, hang, receiver

HOME = AddressPolicy(allowed=(ip_network("127.0.0.1/32"),))
TRUSTING = ssl.create_default_context(cafile=str(PEM))


def names(*answers: list[str]) -> Network:
    """A name server whose answers change: the last one stays."""
    left = list(answers)

    def getaddrinfo(host: str, port: int, **_: object) -> Iterable[tuple[Any, ...]]:
        addresses = left.pop(0) if len(left) > 1 else left[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    return Network(getaddrinfo=getaddrinfo, tls=TRUSTING)


PLAIN = Network()


def tell(url: str, *, policy: AddressPolicy = HOME, timeout_s: float = 10, network: Network = PLAIN) -> Told:
    return post(url, b'{"a":1}', {"Content-Type": "application/json"}, policy, timeout_s, network=network)


def test_the_body_and_the_headers_arrive() -> None:
    with receiver(answer(204, b"")) as there:
        assert tell(f"{there.url}?token=%20a").status == 204
        [heard] = there.heard
    assert heard.line == "POST /hook?token=%20a HTTP/1.1"
    assert heard.body == b'{"a":1}'
    assert heard.headers == {
        "host": f"127.0.0.1:{there.port}",
        "content-type": "application/json",
        "content-length": "7",
        "connection": "close",
    }


def test_any_status_is_told_with_the_wait_that_is_asked_for() -> None:
    with receiver(answer(503, Retry_After="7")) as there:
        assert tell(there.url) == Told(503, retry_after="7")


@pytest.mark.parametrize(
    ("location", "told"),
    [
        ("http://{other}/secret?x=1", "127.0.0.1"),
        ("http://10.0.0.1/secret?x=1", "10.0.0.1"),
        ("/elsewhere", "127.0.0.1"),
        ("file:///etc/passwd", "an address that is not allowed"),
        ("http://[", "an address that is not allowed"),
    ],
)
def test_a_redirect_is_told_and_not_followed(location: str, told: str) -> None:
    with receiver(answer()) as other:
        address = location.replace("{other}", f"127.0.0.1:{other.port}")
        with receiver(answer(307, Location=address)) as there:
            assert tell(there.url) == Told(307, redirects_to=told)
            assert there.connections == 1
        assert other.connections == 0


@pytest.mark.parametrize("script", [flood, drip(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")])
def test_a_body_without_an_end_takes_nothing_from_the_status(script: Script) -> None:
    with receiver(script) as there:
        assert tell(there.url).status == 200


@pytest.mark.parametrize(
    ("script", "told"),
    [
        (hang, "did not answer in time"),
        (drip(b"HTTP/1.1 200 OK\r\nX: "), "did not answer in time"),
        (drip(b""), "did not answer in time|does not speak HTTP"),
        (close_early, "closed the connection too early"),
    ],
)
def test_a_receiver_that_does_not_answer_is_left_in_time(script: Script, told: str) -> None:
    with receiver(script) as there, pytest.raises(Unanswered, match=told):
        tell(there.url, timeout_s=0.5)


def test_headers_without_an_end_are_not_kept() -> None:
    def headers(stream: socket.socket, there: Receiver) -> None:
        stream.sendall(b"HTTP/1.1 200 OK\r\n")
        while not there.closing.is_set():
            stream.sendall(b"X: " + b"a" * 60000 + b"\r\n")

    with receiver(headers) as there, pytest.raises(Unanswered, match="does not speak HTTP"):
        tell(there.url)


def test_what_does_not_read_is_left_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, pytest.raises(Unanswered, match="in time"):
        post(f"http://127.0.0.1:{listener.getsockname()[1]}/", bytes(50_000_000), {}, HOME, 0.5)


def test_a_status_that_comes_before_the_body_was_read_counts() -> None:
    def refuse() -> None:
        with listener.accept()[0] as stream:
            stream.recv(100)
            stream.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
            stream.shutdown(socket.SHUT_RD)  # whoever goes on writing finds the connection broken
            over.wait()

    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=refuse, daemon=True)
        thread.start()
        assert post(f"http://127.0.0.1:{listener.getsockname()[1]}/", bytes(1000), {}, HOME, 10).status == 413
        over.set()
        thread.join()


def test_nobody_there_is_told_plainly() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(Unanswered, match="no connection: connection refused"):
        tell(f"http://127.0.0.1:{port}/")


def test_a_name_without_an_address_is_told_plainly() -> None:
    def nothing(*_: object, **__: object) -> list[tuple[Any, ...]]:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    with pytest.raises(Unanswered, match="its name has no address"):
        tell("http://example.com/", network=Network(getaddrinfo=nothing))


def test_a_look_up_that_hangs_ends_with_the_attempt() -> None:
    over = threading.Event()

    def hanging(*_: object, **__: object) -> list[tuple[Any, ...]]:
        over.wait()
        return []

    try:
        with pytest.raises(Unanswered, match="in time"):
            tell("http://example.com/", timeout_s=0.2, network=Network(getaddrinfo=hanging))
    finally:
        over.set()


def test_a_name_of_a_private_address_is_not_connected_to() -> None:
    with receiver(answer()) as there:
        with pytest.raises(AddressRefused) as caught:
            tell(f"http://example.com:{there.port}/", policy=AddressPolicy(), network=names(["127.0.0.1"]))
        assert there.connections == 0
    assert "127.0.0.1" not in str(caught.value)


def test_a_name_that_is_public_at_first_and_loopback_then_never_leads_to_loopback() -> None:
    # The address is from a network for documentation, so that the first connection leads nowhere either.
    policy = AddressPolicy(allowed=(ip_network("203.0.113.0/24"),))
    rebinding = names(["203.0.113.1"], ["127.0.0.1"])
    with receiver(answer()) as there:
        url = f"http://rebinding.example:{there.port}/"
        with pytest.raises(Unanswered):
            tell(url, policy=policy, timeout_s=0.5, network=rebinding)
        for _ in range(3):
            with pytest.raises(AddressRefused):
                tell(url, policy=policy, timeout_s=0.5, network=rebinding)
        assert there.connections == 0


def test_the_address_that_was_checked_is_the_one_that_is_used() -> None:
    with receiver(answer()) as there:
        told = tell(f"http://receiver.example:{there.port}/", network=names(["127.0.0.1"], ["203.0.113.1"]))
        assert told.status == 200
        assert there.heard[0].headers["host"] == f"receiver.example:{there.port}"


def test_of_several_addresses_only_permitted_ones_are_tried_until_one_answers() -> None:
    with receiver(answer()) as there:
        # Nobody listens on 127.0.0.2, and 127.0.0.3 is not allowed.
        policy = AddressPolicy(allowed=(ip_network("127.0.0.1/32"), ip_network("127.0.0.2/32")))
        several = names(["127.0.0.3", "127.0.0.2", "127.0.0.1"])
        assert tell(f"http://receiver.example:{there.port}/", policy=policy, network=several).status == 200


def test_proxies_of_the_environment_are_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiver(answer()) as proxy, receiver(answer()) as there:
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        assert tell(there.url).status == 200
        assert (proxy.connections, there.connections) == (0, 1)


def test_tls_is_checked_for_the_name_though_the_connection_is_to_an_address() -> None:
    with receiver(answer(), tls=True) as there:
        network = names(["127.0.0.1"])
        assert tell(f"https://receiver.example:{there.port}/", network=network).status == 200
        with pytest.raises(Unanswered, match=r"certificate is not valid: .*other\.example"):
            tell(f"https://other.example:{there.port}/", network=network)


def test_a_certificate_of_nobody_that_is_trusted_is_refused() -> None:
    with receiver(answer(), tls=True) as there:
        with pytest.raises(Unanswered, match="certificate is not valid: self-signed"):
            tell(f"https://127.0.0.1:{there.port}/")
        assert there.heard == []


def test_what_does_not_speak_tls_is_told_plainly() -> None:
    with receiver(answer()) as there, pytest.raises(Unanswered, match=r"TLS|in time"):
        tell(f"https://127.0.0.1:{there.port}/", timeout_s=1)


def test_a_handshake_that_hangs_ends_with_the_attempt() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, pytest.raises(Unanswered, match="in time"):
        tell(f"https://127.0.0.1:{listener.getsockname()[1]}/", timeout_s=0.3)
