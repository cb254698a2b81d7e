"""How much of all bodies is in memory at once."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest

from molva.engines.base import Options
from molva.engines.fake import FakeEngine
from molva.http.state import Limits
from molva.samples import Samples
from tests.http.conftest import Running, serving
from tests.http.openai.conftest import SPEECH
from tests.outbound.receiver import until

TWO = Limits(body_bytes=len(SPEECH), bodies_bytes=2 * len(SPEECH), max_audio_s=7200, inference_timeout_s=60)
"""Room for two bodies."""


@contextmanager
def connected(server: Running) -> Iterator[socket.socket]:
    address = urlsplit(server.url)
    with socket.create_connection((str(address.hostname), address.port or 0), 60) as connection:
        yield connection


def head(*lines: str) -> bytes:
    length = f"content-length: {len(SPEECH)}"
    return "\r\n".join(["POST /v1/transcribe HTTP/1.1", "host: x", length, *lines, "", ""]).encode()


@contextmanager
def sending(server: Running) -> Iterator[socket.socket]:
    """A request whose last byte does not come."""
    with connected(server) as connection:
        connection.sendall(head() + SPEECH[:-1])
        yield connection


def refused(server: Running) -> bool:
    """Whether there is no room for a body, which is not sent."""
    with connected(server) as connection:
        connection.sendall(head("expect: 100-continue"))
        return connection.recv(100).startswith(b"HTTP/1.1 503 ")


def test_what_does_not_fit_beside_the_others_is_told_to_come_later() -> None:
    with serving(FakeEngine(), limits=TWO) as server:
        with sending(server) as one, sending(server) as other:
            until(lambda: refused(server), 60)
            for connection in (one, other):
                connection.sendall(SPEECH[-1:])
                assert connection.recv(100).startswith(b"HTTP/1.1 200 ")
        until(lambda: not refused(server), 60)


def test_the_refusal_says_when_to_come_again() -> None:
    with serving(FakeEngine(), limits=TWO) as server, sending(server), sending(server):
        until(lambda: refused(server), 60)
        answer = server.client.post("/v1/transcribe", content=SPEECH)
        assert (answer.status_code, answer.json()["code"]) == (503, "timeout")
        assert int(answer.headers["retry-after"]) > 0


def test_a_client_that_goes_gives_its_memory_back() -> None:
    with serving(FakeEngine(), limits=TWO) as server:
        with sending(server), sending(server):
            until(lambda: refused(server), 60)
        until(lambda: not refused(server), 60)


def test_a_body_is_held_until_it_is_answered() -> None:
    go_on = threading.Event()

    def slow(_samples: Samples, _options: Options) -> str:
        assert go_on.wait(60)
        return "текст"

    one = Limits(body_bytes=len(SPEECH), bodies_bytes=len(SPEECH), max_audio_s=7200, inference_timeout_s=60)
    with serving(FakeEngine(slow), limits=one) as server, sending(server) as connection:
        connection.sendall(SPEECH[-1:])
        until(lambda: refused(server), 60)
        go_on.set()
        assert connection.recv(100).startswith(b"HTTP/1.1 200 ")
        until(lambda: not refused(server), 60)


def test_a_body_without_a_length_is_counted_too() -> None:
    def chunks() -> Iterator[bytes]:
        for start in range(0, len(SPEECH), 1000):
            yield SPEECH[start : start + 1000]

    with serving(FakeEngine(), limits=TWO) as server, sending(server), sending(server):
        until(lambda: refused(server), 60)
        answer = server.client.post("/v1/transcribe", content=chunks())
        assert (answer.status_code, answer.json()["code"]) == (503, "timeout")


@pytest.mark.parametrize("bodies_bytes", [1, len(SPEECH) - 1])
def test_one_body_of_the_largest_size_always_fits(bodies_bytes: int) -> None:
    limits = Limits(body_bytes=len(SPEECH), bodies_bytes=bodies_bytes, max_audio_s=7200, inference_timeout_s=60)
    with serving(FakeEngine(), limits=limits) as server:
        assert server.client.post("/v1/transcribe", content=SPEECH).status_code == 200
