"""uvicorn's HTTP protocol on h11, with what it lacks against hostile clients: one reading of every request, a deadline
for its head, and a bound on connections.
"""

import asyncio
import re
from asyncio import BaseTransport
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Protocol

import h11
from h11._receivebuffer import ReceiveBuffer
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from molva.http.guard import IN_EXCESS

MAX_HEAD_BYTES = 16 * 2**10
"""Of a request line and its headers."""

RESERVE = 32
"""Connections beyond the limit, for monitors' probes; all else is told there that there is no room."""

BODY_HEADERS = (b"content-length", b"transfer-encoding")

BARE_LINE_FEED = re.compile(rb"(?<!\r)\n")


@dataclass(frozen=True)
class ConnectionRule:
    """What the operator chose."""

    max_connections: int = 1000
    header_timeout_s: float = 15


class Waiting(Protocol):
    """A connection without a request in hand."""

    in_excess: bool
    """Whether it is in the reserve."""

    def give_way(self) -> None:
        """End at once."""
        ...


class Crowd:
    """What all connections of a server share: their rule, and who waits for the head of a request."""

    def __init__(self, rule: ConnectionRule | None = None) -> None:
        self.rule = rule or ConnectionRule()
        """May be changed whenever; new waits and connections go by it."""
        self._waiting: dict[Waiting, None] = {}
        """Each group by how long it has waited, the longest first."""
        self._waiting_in_reserve: dict[Waiting, None] = {}

    def begin_wait(self, connection: Waiting) -> None:
        """Nothing changes where it waits already."""
        self._group(connection.in_excess).setdefault(connection)

    def end_wait(self, connection: Waiting) -> None:
        """Its head is here, or it has gone."""
        self._group(connection.in_excess).pop(connection, None)

    def make_room(self, *, in_reserve: bool) -> None:
        """End whoever has waited longest for a head, idle or slow. Nobody where all have requests in hand."""
        longest = next(iter(self._group(in_reserve)), None)
        if longest is not None:
            del self._group(in_reserve)[longest]
            longest.give_way()

    def _group(self, in_reserve: bool) -> dict[Waiting, None]:
        return self._waiting_in_reserve if in_reserve else self._waiting


class HttpProtocol(H11Protocol):
    """One connection."""

    in_excess = False

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        crowd: Crowd,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.conn: StrictConnection = StrictConnection(h11.SERVER, MAX_HEAD_BYTES)
        self._crowd = crowd
        self._deadline: asyncio.TimerHandle | None = None
        self._handed_over = False
        """Whether this is a WebSocket now."""

    def connection_made(self, transport: BaseTransport) -> None:
        """A client has come. The room is its own, that of one who waits, or in the reserve."""
        limit = self._crowd.rule.max_connections
        for bound, in_reserve in ((limit, False), (limit + RESERVE, True)):
            if len(self.connections) >= bound:
                self._crowd.make_room(in_reserve=in_reserve)
        self.in_excess = len(self.connections) >= limit
        no_room = len(self.connections) >= limit + RESERVE
        super().connection_made(transport)  # type: ignore[arg-type]
        if no_room:
            self.transport.abort()
            return
        if self.in_excess:
            self.app_state = {**self.app_state, IN_EXCESS: True}
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """It has gone."""
        self._crowd.end_wait(self)
        self._stop_deadline()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """The answer is with the system."""
        super().on_response_complete()
        self._watch()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Hand over to the WebSocket protocol. With a body there would be two ways to read what follows."""
        if any(name in BODY_HEADERS and value != b"0" for name, value in event.headers):
            self._refuse(400)
        else:
            self._handed_over = True
            super().handle_websocket_upgrade(event)

    def send_400_response(self, _msg: str) -> None:
        """Refuse what h11 has refused."""
        self._refuse(self.conn.refusal)

    def give_way(self) -> None:
        """End at once; another connection has the place of this one."""
        self.connections.discard(self)
        self.transport.abort()

    def _watch(self) -> None:
        """Have a deadline for what the client owes: a head that it may have begun, or the rest of a body that has been
        answered. uvicorn has one for those who are idle between requests.
        """
        ours = not self._handed_over and not self.transport.is_closing()
        if ours and self.conn.their_state is h11.IDLE:
            self._crowd.begin_wait(self)
            owes = self.timeout_keep_alive_task is None or self.conn.has_begun
        else:
            self._crowd.end_wait(self)
            answered = self.cycle is not None and self.cycle.response_complete
            owes = ours and answered and self.conn.their_state is h11.SEND_BODY
        if not owes:
            self._stop_deadline()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(self._crowd.rule.header_timeout_s, self._expire)

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _expire(self) -> None:
        if self.conn.their_state is h11.IDLE and self.conn.has_begun:
            self._refuse(408)
        else:
            self.transport.abort()

    def _refuse(self, status: int) -> None:
        """Answer if there is no answer yet, and close."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            phrase = HTTPStatus(status).phrase
            headers = [("content-type", "text/plain; charset=utf-8"), ("connection", "close")]
            for event in (
                h11.Response(status_code=status, headers=headers, reason=phrase.encode()),
                h11.Data(data=phrase.encode()),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        if self.cycle is not None:  # the handler must not answer too
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.close()


class StrictConnection(h11.Connection):
    """h11 without its leniencies.

    A proxy in front may read an ambiguous request in another way than h11 does, and so let one request through as two.
    """

    refusal = 400
    """Status for what was refused."""

    def __init__(self, our_role: type[h11.SERVER], max_incomplete_event_size: int) -> None:
        super().__init__(our_role, max_incomplete_event_size)
        self._receive_buffer = _StrictBuffer()

    @property
    def has_begun(self) -> bool:
        """Whether there are bytes of which nothing has been made yet."""
        return bool(self._receive_buffer)

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        """As h11 does it. Raises RemoteProtocolError for what has more than one meaning, too."""
        try:
            event = super().next_event()
            if isinstance(event, h11.Request):
                _check(event)
        except h11.RemoteProtocolError as error:
            self.refusal = error.error_status_hint
            raise
        return event


class _StrictBuffer(ReceiveBuffer):
    """What came in and was not read yet."""

    def maybe_extract_lines(self) -> list[bytearray] | None:
        """The lines of a head or of trailers, once they are there. Raises LocalProtocolError, as h11's readers do."""
        end = 0 if self._data.startswith(b"\r\n") else self._data.find(b"\r\n\r\n", self._multiple_lines_search)
        head_bytes = len(self._data) if end < 0 else end
        if head_bytes > MAX_HEAD_BYTES:
            raise h11.LocalProtocolError("the head is too long", error_status_hint=431)
        if BARE_LINE_FEED.search(self._data, self._multiple_lines_search, head_bytes):
            raise h11.LocalProtocolError("a line ends without a carriage return")
        lines = super().maybe_extract_lines()
        if lines is not None:
            _check_lines(lines)
        return lines


def _check_lines(lines: list[bytearray]) -> None:
    if any(line.startswith((b" ", b"\t")) for line in lines):
        raise h11.LocalProtocolError("a header goes on in the next line")
    lengths = [
        value for name, _, value in (line.partition(b":") for line in lines) if name.lower() == b"content-length"
    ]
    if len(lengths) > 1 or any(b"," in value for value in lengths):
        raise h11.LocalProtocolError("several lengths")


def _check(request: h11.Request) -> None:
    if request.http_version not in (b"1.0", b"1.1"):
        raise h11.RemoteProtocolError("unknown version of HTTP", error_status_hint=505)
    names = [name for name, _ in request.headers]
    if b"transfer-encoding" in names and (b"content-length" in names or request.http_version == b"1.0"):
        raise h11.RemoteProtocolError("the end of the body can be told in two ways")
    if not request.target.startswith(b"/") and (request.method, request.target) != (b"OPTIONS", b"*"):
        raise h11.RemoteProtocolError("the target is no path")
