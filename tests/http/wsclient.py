"""Clients of /v1/ws: one that keeps to the protocol, and one that writes whatever bytes it likes."""

import json
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlsplit

import numpy as np
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from molva.runtime.loading import sample_speech
from molva.samples import SAMPLE_RATE, Samples

PATIENCE_S = 60.0
"""How long a client waits for a message that must come: a busy machine is no failure."""

Message = dict[str, Any]


class Server(Protocol):
    """Where to connect to."""

    @property
    def ws_url(self) -> str: ...


def silence(length_s: float) -> Samples:
    return np.zeros(int(length_s * SAMPLE_RATE), np.float32)


def speech(length_s: float) -> Samples:
    """Real speech without a pause, five seconds at most."""
    return sample_speech()[: int(length_s * SAMPLE_RATE)]


UTTERANCE = np.concatenate([speech(2.5), silence(1)])
"""Two and a half seconds of speech and a pause that ends it: two words of the counting engine."""


def pcm(samples: Samples) -> bytes:
    return (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()


class Ended(NamedTuple):
    """How the server ended a connection; 1006 without a Close frame."""

    code: int
    reason: str


class Client:
    """A client that keeps to the protocol and speaks 16 kHz."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    def send(self, **message: Any) -> None:
        self.connection.send(json.dumps(message))

    def text(self, text: str) -> None:
        self.connection.send(text)

    def say(self, *audio: Samples, frame_s: float = 0.1) -> None:
        """Send audio, in frames of `frame_s`, as fast as the socket takes it."""
        data = pcm(np.concatenate(audio))
        size = int(frame_s * SAMPLE_RATE) * 2
        for start in range(0, len(data), size):
            self.connection.send(data[start : start + size])

    def read(self, timeout: float = PATIENCE_S) -> Message:
        """The next message. Raises TimeoutError, ConnectionClosed."""
        message = json.loads(self.connection.recv(timeout))
        assert isinstance(message, dict)
        return message

    def read_until(self, kind: str) -> list[Message]:
        """Messages up to and with the first of this type."""
        messages = [self.read()]
        while messages[-1]["type"] != kind:
            messages.append(self.read())
        return messages

    def settled(self) -> list[Message]:
        """Everything that the audio so far has caused: a configuration that comes too late waits for it."""
        self.send(type="configure")
        messages = [self.read()]
        while messages[-1].get("code") != "configure_too_late":
            messages.append(self.read())
        return messages[:-1]

    def stop(self) -> list[Message]:
        """Send `stop`; all messages until the connection ends."""
        self.send(type="stop")
        return self.rest()

    def rest(self) -> list[Message]:
        """All messages until the connection ends."""
        messages = []
        while True:
            try:
                messages.append(self.read())
            except ConnectionClosed:
                return messages

    @property
    def ended(self) -> Ended:
        """How the connection ended, once it has."""
        received = self.connection.protocol.close_rcvd
        return Ended(1006, "") if received is None else Ended(received.code, received.reason)


@contextmanager
def connected(server: Server, **options: Any) -> Iterator[Client]:
    """A client that has been accepted; nothing of it is read yet."""
    patience: dict[str, Any] = {"open_timeout": PATIENCE_S, "close_timeout": PATIENCE_S}
    with connect(server.ws_url, compression=None, ping_interval=None, proxy=None, **patience, **options) as connection:
        yield Client(connection)


@contextmanager
def in_session(server: Server, **wishes: Any) -> Iterator[Client]:
    """A client that has a place, at 16 kHz, with further wishes in its `configure`."""
    with connected(server) as client:
        assert client.read()["type"] == "ready"
        client.send(type="configure", **{"sample_rate": SAMPLE_RATE, **wishes})
        yield client


def of_type(kind: str, messages: list[Message]) -> list[Message]:
    return [message for message in messages if message["type"] == kind]


def kinds(messages: list[Message]) -> list[str]:
    return [message["type"] for message in messages]


def codes(messages: list[Message]) -> list[str]:
    return [message["code"] for message in of_type("error", messages)]


def texts(messages: list[Message]) -> list[str]:
    """Texts of the finals that have one."""
    return [message["text"] for message in of_type("final", messages) if message["text"]]


CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10

HANDSHAKE = (
    b"GET /v1/ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def frame_head(opcode: int, length: int, *, fin: bool = True) -> bytes:
    """The head of a client's frame, whose mask is zero: the payload goes as it is."""
    first = opcode | (0x80 if fin else 0)
    if length < 126:
        return struct.pack("!BB4x", first, 0x80 | length)
    if length < 2**16:
        return struct.pack("!BBH4x", first, 0x80 | 126, length)
    return struct.pack("!BBQ4x", first, 0x80 | 127, length)


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True) -> bytes:
    return frame_head(opcode, len(payload), fin=fin) + payload


class Raw:
    """A client that writes bytes, and reads frames without ever answering one by itself."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self._input = connection.makefile("rb")

    def close(self) -> None:
        self._input.close()
        self.socket.close()

    def upgrade(self) -> None:
        """Shake hands."""
        self.socket.sendall(HANDSHAKE)
        assert self._input.readline().startswith(b"HTTP/1.1 101 ")
        while self._input.readline() != b"\r\n":
            pass

    def send(self, opcode: int, payload: bytes = b"") -> None:
        self.socket.sendall(frame(opcode, payload))

    def read(self) -> tuple[int, bytes]:
        """Opcode and payload of the next frame. Raises EOFError at the connection's end."""
        head = self._input.read(2)
        if len(head) < 2:
            raise EOFError
        opcode, length = head[0] & 0x0F, head[1]
        if length == 126:
            length = int.from_bytes(self._input.read(2))
        elif length == 127:
            length = int.from_bytes(self._input.read(8))
        return opcode, self._input.read(length)

    def rest(self) -> list[tuple[int, bytes]]:
        """All frames until the server closes the WebSocket or the connection."""
        frames: list[tuple[int, bytes]] = []
        while not frames or frames[-1][0] != CLOSE:
            try:
                frames.append(self.read())
            except EOFError:
                break
        return frames


def close_frame(code: int, reason: str = "") -> tuple[int, bytes]:
    """What `Raw.read` gives for a Close."""
    return CLOSE, code.to_bytes(2) + reason.encode()


@contextmanager
def raw(url: str, *, upgrade: bool = True, receive_buffer: int | None = None) -> Iterator[Raw]:
    """A bare connection, after its handshake unless that is left to the test."""
    address = urlsplit(url)
    assert address.hostname is not None
    with socket.socket() as connection:
        if receive_buffer is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.settimeout(PATIENCE_S)
        connection.connect((address.hostname, address.port))
        client = Raw(connection)
        try:
            if upgrade:
                client.upgrade()
            yield client
        finally:
            client.close()
