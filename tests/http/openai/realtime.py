"""A client of /v1/realtime that keeps to the protocol, and reads what it is told."""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import soxr
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from molva.samples import SAMPLE_RATE, Samples
from tests.http.wsclient import PATIENCE_S, Ended, Message, Server, pcm

BETA = {"OpenAI-Beta": "realtime=v1"}
COMPLETED = "conversation.item.input_audio_transcription.completed"
DELTA = "conversation.item.input_audio_transcription.delta"
FAILED = "conversation.item.input_audio_transcription.failed"


def pcm24(*audio: Samples) -> bytes:
    """Audio of 16 kHz as this door takes it by default."""
    return pcm(soxr.resample(np.concatenate(audio), SAMPLE_RATE, 24_000))


class RealtimeClient:
    """One connection."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    def send(self, kind: str, **fields: Any) -> None:
        self.connection.send(json.dumps({"type": kind, **fields}))

    def append(self, data: bytes, piece: int = 48_000) -> None:
        """Send audio in pieces of so many bytes."""
        for start in range(0, len(data), piece):
            audio = base64.b64encode(data[start : start + piece]).decode()
            self.send("input_audio_buffer.append", audio=audio)

    def say(self, *audio: Samples) -> None:
        """Send audio of 16 kHz as PCM."""
        self.append(pcm24(*audio))

    def update(self, **given: Any) -> Message:
        """Change `audio.input`; the answer."""
        self.send("session.update", session={"type": "transcription", "audio": {"input": given}})
        return self.read()

    def read(self, timeout: float = PATIENCE_S) -> Message:
        message = json.loads(self.connection.recv(timeout))
        assert isinstance(message, dict)
        assert message["event_id"].startswith("event_")
        return message

    def read_until(self, kind: str) -> list[Message]:
        """Events up to and with the first of this type."""
        messages = [self.read()]
        while messages[-1]["type"] != kind:
            messages.append(self.read())
        return messages

    def settled(self) -> list[Message]:
        """Everything that has been told by the time an event is answered that nobody knows."""
        self.send("what.else")
        return self.read_until("error")[:-1]

    def rest(self) -> list[Message]:
        """Events until the connection ends."""
        messages = []
        while True:
            try:
                messages.append(self.read())
            except ConnectionClosed:
                return messages

    @property
    def ended(self) -> Ended:
        received = self.connection.protocol.close_rcvd
        return Ended(1006, "") if received is None else Ended(received.code, received.reason)


@contextmanager
def connected(server: Server, query: str = "?intent=transcription", **options: Any) -> Iterator[RealtimeClient]:
    """A client that has been accepted; nothing of it is read yet."""
    url = server.ws_url.removesuffix("/v1/ws") + "/v1/realtime" + query
    patience: dict[str, Any] = {"open_timeout": PATIENCE_S, "close_timeout": PATIENCE_S}
    with connect(url, compression=None, ping_interval=None, proxy=None, max_size=None, **patience, **options) as made:
        yield RealtimeClient(made)


@contextmanager
def in_session(server: Server, **given: Any) -> Iterator[RealtimeClient]:
    """A client with a session, and such settings."""
    with connected(server) as client:
        assert client.read()["type"] == "session.created"
        if given:
            assert client.update(**given)["type"] == "session.updated"
        yield client


def kinds(messages: list[Message]) -> list[str]:
    return [message["type"].rpartition(".")[2] for message in messages]


def transcripts(messages: list[Message]) -> list[str]:
    return [message["transcript"] for message in messages if message["type"] == COMPLETED]
