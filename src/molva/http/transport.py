"""uvicorn's WebSocket protocol with what ASGI has no words for: pings, signs of life, and an end without a Close frame.

An application finds it in its scope: `peer(websocket)`.
"""

from asyncio import BaseTransport, BufferedProtocol
from typing import Protocol, cast

from starlette.websockets import WebSocket
from uvicorn._types import ASGISendEvent
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame
from websockets.http11 import Request

EXTENSION = "molva.peer"

LINGER_S = 5.0
"""How long a peer may take to read what was sent to it and to close its side, before the connection is cut."""

READ_BYTES = 4096
"""Taken from a socket at once. A flood of tiny frames makes hundreds of messages of it, not tens of thousands: they
would take many megabytes, and all other clients would wait until they are read."""


LARGE_MESSAGES = {"/v1/realtime": 21 * 2**20}
"""Bytes of the largest message by path, where that is not the usual one: 15 MiB of audio as base64, and its frame."""


class Peer(Protocol):
    """The other side of a WebSocket."""

    unanswered_pings: int
    """Pings since the last byte that came in."""

    def ping(self) -> None:
        """Send a ping without payload."""
        ...

    def end(self) -> None:
        """End our side without a Close frame; what was sent before still arrives."""
        ...

    def abort(self) -> None:
        """Cut the connection; what was not sent is lost."""
        ...


def peer(websocket: WebSocket) -> Peer:
    """The connection under a WebSocket that `WebSocketProtocol` serves."""
    return cast(Peer, websocket.scope["extensions"][EXTENSION])


class WebSocketProtocol(WebSocketsSansIOProtocol, BufferedProtocol):
    """One connection. Its application ends it, also when the server stops; uvicorn does not."""

    unanswered_pings = 0
    _has_ended = False
    """Whether our side has, without a Close frame."""
    _joined: bytearray
    """The fragments of a message behind its first."""
    _buffer: bytearray

    def connection_made(self, transport: BaseTransport) -> None:
        """The HTTP protocol hands over."""
        self._joined = bytearray()
        self._buffer = bytearray(READ_BYTES)
        super().connection_made(transport)

    def ping(self) -> None:
        """Send a ping. None while reading is paused: the answer could not be seen, and the peer is alive."""
        if self.close_sent or self.read_paused or self.transport.is_closing():
            return
        self.conn.send_ping(b"")
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.unanswered_pings += 1

    def end(self) -> None:
        """End our side, go on reading."""
        if not self.transport.is_closing():
            self._has_ended = True
            self.transport.write_eof()

    def abort(self) -> None:
        """Cut the connection."""
        self.transport.abort()

    def handle_connect(self, event: Request) -> None:
        """Offer the connection to the application."""
        path = event.path.partition("?")[0]
        for known, max_bytes in LARGE_MESSAGES.items():
            if path.endswith(known):  # clients may double the prefix
                self.conn.max_message_size = max(max_bytes, self.config.ws_max_size)
        super().handle_connect(event)
        if not self.handshake_complete:
            extensions = cast(dict[str, object], self.scope["extensions"])
            extensions[EXTENSION] = self

    def get_buffer(self, _size_hint: int) -> bytearray:
        """Where the next bytes go."""
        return self._buffer

    def buffer_updated(self, n_bytes: int) -> None:
        """They are there."""
        self.data_received(bytes(memoryview(self._buffer)[:n_bytes]))

    def data_received(self, data: bytes) -> None:
        """Whatever comes in is a sign of life. After our end it is nothing more: no ping or Close could be answered."""
        self.unanswered_pings = 0
        if self._has_ended:
            return
        super().data_received(data)

    def handle_ping(self) -> None:
        """Answer, unless the peer has not read earlier answers: they would pile up."""
        answer = b"".join(self.conn.data_to_send())
        if self.writable.is_set():
            self.transport.write(answer)

    def handle_pong(self, event: Frame) -> None:
        """Nothing more: its bytes have been noticed."""

    def handle_cont(self, event: Frame) -> None:
        """Join fragments as they come: a list of tiny ones would take many times their size."""
        if event.data:
            self._joined += event.data
        if event.fin:
            self.frames.append(bytes(self._joined))
            self._joined.clear()
            self.send_receive_event_to_app()

    def shutdown(self) -> None:
        """The server stops: sessions have been told and end by themselves; a mere handshake is cut."""
        if not self.handshake_complete:
            super().shutdown()

    async def send(self, message: ASGISendEvent) -> None:
        """Pass on what the application sends. A refusal is an answer too: uvicorn would report a bug."""
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body"):
            self.handshake_complete = True

    async def run_asgi(self) -> None:
        """Run the application; afterwards nobody may keep the connection open."""
        await super().run_asgi()
        if not self.disconnected:
            self.loop.call_later(LINGER_S, self.transport.abort)
