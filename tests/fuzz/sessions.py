"""Whole live sessions, from the handshake to the last final."""

import asyncio
import base64
import json

import numpy as np
from starlette.types import Message

from molva.runtime.loading import sample_speech
from tests.fuzz.app import APPLICATION

TENTH = 4800
"""Bytes of a tenth of a second of PCM16 at 24 kHz, about what both doors begin with."""
SPEECH = (np.repeat(sample_speech(), 2) * 32767).astype("<i2").tobytes()

BUGS = ("inference_panic", "inference_error", "inference_timeout")
"""Codes of errors that no client can cause."""


class _Peer:
    """The client's side of the connection below the WebSocket."""

    unanswered_pings = 0

    def __init__(self) -> None:
        self.gone = asyncio.Event()

    def ping(self) -> None:
        pass

    def end(self) -> None:
        self.gone.set()

    def abort(self) -> None:
        self.gone.set()


def native_session(data: bytes) -> None:
    """Messages to /v1/ws, a line for each: `b` and bytes, `s` and a byte for tenths of a second of speech, or text."""
    left: list[Message] = [_native(line) for line in reversed(data.split(b"\n"))]
    _converse("/v1/ws", [{"type": "websocket.receive", "text": '{"type":"stop"}'}, *left])


def realtime_session(data: bytes) -> None:
    """The query in the first line, then events to /v1/realtime, a line for each; `s` and a byte appends speech."""
    query, *lines = data.split(b"\n")
    left: list[Message] = [{"type": "websocket.receive", "text": _event(line)} for line in reversed(lines)]
    _converse("/v1/realtime", left, query)


def _native(line: bytes) -> Message:
    if line[:1] == b"b":
        return {"type": "websocket.receive", "bytes": line[1:]}
    if line[:1] == b"s":
        return {"type": "websocket.receive", "bytes": _speech(line)}
    return {"type": "websocket.receive", "text": line.decode("utf-8", "replace")}


def _event(line: bytes) -> str:
    if line[:1] == b"s":
        return json.dumps({"type": "input_audio_buffer.append", "audio": base64.b64encode(_speech(line)).decode()})
    return line.decode("utf-8", "replace")


def _speech(line: bytes) -> bytes:
    tenths = line[1] % 32 if len(line) > 1 else 1
    return SPEECH[: tenths * TENTH]


def _converse(path: str, left: list[Message], query: bytes = b"") -> None:
    """Say what is left, from its end; then let the session come to its own."""
    peer, state = _Peer(), APPLICATION.state
    left.append({"type": "websocket.connect"})

    async def receive() -> Message:
        if left:
            return left.pop()
        state.drained.set()  # what was heard is decoded and told
        await peer.gone.wait()
        return {"type": "websocket.disconnect", "code": 1006}

    scope = {
        "type": "websocket",
        "http_version": "1.1",
        "scheme": "ws",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query,
        "root_path": "",
        "headers": [],
        "subprotocols": [],
        "extensions": {"molva.peer": peer, "websocket.http.response": {}},
        "client": ("127.0.0.1", 50_000),
        "server": ("127.0.0.1", 9876),
    }
    try:
        sent = APPLICATION.ask(scope, receive)
    finally:
        state.drained.clear()
    for message in sent:
        if "text" in message:
            told = json.loads(message["text"])
            error = told.get("error") or told
            assert not isinstance(error, dict) or error.get("code") not in BUGS, told
