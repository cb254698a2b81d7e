"""Bytes over a socket, as no client library would send them."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit


@contextmanager
def connected(url: str) -> Iterator[socket.socket]:
    """A connection to the server at this address; a wait of 20 s is too long."""
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port), timeout=20) as connection:
        yield connection


def read_all(connection: socket.socket) -> bytes:
    """Whatever comes until the server closes."""
    received = b""
    while True:
        try:
            data = connection.recv(65536)
        except ConnectionResetError:
            return received
        if not data:
            return received
        received += data


def answers_to(url: str, request: bytes) -> bytes:
    """All that the server sends before it closes."""
    with connected(url) as connection:
        connection.sendall(request)
        return read_all(connection)


def statuses(answer: bytes) -> list[int]:
    """Of all responses in what came."""
    return [int(part.split(b" ", 1)[0]) for part in answer.split(b"HTTP/1.1 ")[1:]]
