"""A server on a real socket that answers as a test wants: well, badly, or not at all."""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

PEM = Path(__file__).parent / "receiver.pem"
"""Key and certificate of `receiver.example`, which nobody but these tests trusts. Made once, by openssl req -x509."""

Script = Callable[[socket.socket, "Receiver"], None]
"""What happens on a connection once its request has been read."""


@dataclass
class Heard:
    """One request."""

    line: str
    headers: dict[str, str]
    body: bytes
    at: float
    """By the monotonic clock."""


@dataclass
class Receiver:
    """What was heard, and where."""

    port: int
    script: Script
    """May be replaced at any time."""
    connections: int = 0
    heard: list[Heard] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"


@contextmanager
def receiver(script: Script, *, tls: bool = False, port: int = 0) -> Iterator[Receiver]:
    """Listens on loopback while the context lasts."""
    listener = socket.create_server(("127.0.0.1", port))
    receiver = Receiver(listener.getsockname()[1], script)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(PEM)

    def serve(connection: socket.socket) -> None:
        with suppress(OSError, ValueError), connection:
            connection.settimeout(10)
            with context.wrap_socket(connection, server_side=True) if tls else connection as stream:
                receiver.heard.append(_read(stream))
                receiver.script(stream, receiver)

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            receiver.connections += 1
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.closing.set()
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def answer(status: int = 200, body: bytes = b"ok", **headers: str) -> Script:
    """A whole answer. Underscores in names of headers become dashes."""

    def script(stream: socket.socket, _: Receiver) -> None:
        lines = [f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items()]
        length = "" if "Content_Length" in headers else f"Content-Length: {len(body)}\r\n"
        stream.sendall(f"HTTP/1.1 {status} Whatever\r\n{length}{''.join(lines)}\r\n".encode() + body)

    return script


def hang(stream: socket.socket, receiver: Receiver) -> None:
    """Says nothing until the test is over."""
    receiver.closing.wait()


def drip(head: bytes) -> Script:
    """Says `head`, and then a byte now and then, for ever."""

    def script(stream: socket.socket, receiver: Receiver) -> None:
        stream.sendall(head)
        while not receiver.closing.wait(0.05):
            stream.sendall(b"a")

    return script


def close_early(stream: socket.socket, receiver: Receiver) -> None:
    """Hangs up."""


def flood(stream: socket.socket, receiver: Receiver) -> None:
    """An answer without an end."""
    stream.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while not receiver.closing.is_set():
        stream.sendall(b"a" * 65536)


def until(condition: Callable[[], bool], timeout_s: float = 20) -> None:
    """Waits until a condition holds. Fails where it does not."""
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.01)


def _read(stream: socket.socket) -> Heard:
    with stream.makefile("rb") as file:
        line = file.readline().decode("latin-1").strip()
        headers = {}
        while (header := file.readline().decode("latin-1").strip()) != "":
            name, _, value = header.partition(":")
            headers[name.lower()] = value.strip()
        return Heard(line, headers, file.read(int(headers.get("content-length", 0))), time.monotonic())
