"""What live sessions over a WebSocket share, whatever words they use: the line, places, and how sessions end."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, NamedTuple

from starlette.types import Message
from starlette.websockets import WebSocket, WebSocketDisconnect

from molva.errors import Busy, ModelError, OptionError, ShuttingDown
from molva.http.outbox import Outbox
from molva.http.state import ServerState
from molva.http.transport import LINGER_S, Peer, peer
from molva.runtime.recognizer import LivePlace

MAX_UNANSWERED_PINGS = 2


class Trouble(NamedTuple):
    """What an error says, before a dialect puts it into its words."""

    code: str
    message: str
    retry_after_ms: int | None = None
    param: str | None = None
    """The wish that cannot be granted, where it is one."""


@dataclass(frozen=True)
class Ending:
    """How a session ends."""

    error: Trouble | None = None
    """Told before everything else."""
    final: bool = False
    """Whether what is buffered is decoded and told."""
    close: tuple[int, str] | None = None
    """Code and reason of the Close frame; without one the connection just ends."""


GONE = Ending()
DEAD = Ending(close=(1001, "ping timeout"))
SHUTDOWN = Ending(final=True, close=(1001, "server shutdown"))
SHUTDOWN_UNHEARD = Ending(close=SHUTDOWN.close)
IDLE = Ending(error=Trouble("idle_timeout", "Idle timeout"), close=(1001, "idle timeout"))
TOO_LONG = Ending(
    error=Trouble("max_session_duration_exceeded", "Maximum session duration exceeded"),
    final=True,
    close=(1008, "max session duration"),
)
HANGING = Ending(error=Trouble("inference_timeout", "Inference timed out."))


async def first_of(*waits: Coroutine[Any, Any, Ending | None]) -> Ending | None:
    """What the first of several waits tells; ties go by their order. The others are cancelled."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return next(task for task in tasks if task.done()).result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def shutdown(state: ServerState, ending: Ending) -> Ending:
    """When the server drains."""
    await state.drained.wait()
    return ending


class Line:
    """The connection: what goes out, and how it comes to its end."""

    def __init__(self, websocket: WebSocket, error_message: Callable[[Trouble], dict[str, Any]]) -> None:
        """`error_message` puts an error into the words of the dialect."""
        self._websocket = websocket
        self._error_message = error_message
        self.peer: Peer = peer(websocket)
        self.outbox = Outbox(websocket.send_text, self.peer.abort)
        self._early: Message | None = None

    async def receive(self) -> Message:
        """The client's next message, or its end, which may be asked for again."""
        message, self._early = self._early, None
        message = message or await self._websocket.receive()
        if message["type"] == "websocket.disconnect":
            self._early = message
        return message

    async def departure(self, *, keep_first: bool = False) -> Ending:
        """Wait for the client's end. Messages are dropped, or the first is kept and the rest left in the socket."""
        while (message := await self.receive())["type"] != "websocket.disconnect":
            if keep_first:
                self._early = message
                await asyncio.get_running_loop().create_future()
        return GONE

    def tell_error(self, code: str, message: str) -> None:
        """Send an error."""
        self.tell(Trouble(code, message))

    def tell(self, trouble: Trouble) -> None:
        """Send an error with all that is known of it."""
        self.outbox.put(self._error_message(trouble))

    async def leave(self, ending: Ending) -> None:
        """Send what waits and the Close frame. Without one, give the client time: an abrupt end can overtake text."""
        if ending is GONE:
            return
        try:
            async with asyncio.timeout(LINGER_S):
                await self.outbox.flushed()
                if ending.close is not None:
                    await self._websocket.close(*ending.close)
                else:
                    self.peer.end()
                    await self.departure()
        except TimeoutError:
            self.peer.abort()
        except WebSocketDisconnect:
            return  # it was quicker


class Conversation(ABC):
    """What is said on a line that has a place, from the greeting to the end."""

    def __init__(self, line: Line, state: ServerState, place: LivePlace) -> None:
        self._line = line
        self._state = state
        self._limits = state.sessions
        self._place = place
        self._ended: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
        """Set where the session ends from within."""

    @abstractmethod
    def greet(self) -> None:
        """Send the first message."""

    @abstractmethod
    async def take(self, message: Message) -> Ending | None:
        """Handle a client's message, which is handed over; an Ending where it ends the session."""

    @abstractmethod
    async def finish(self) -> None:
        """Decode what is left, and tell it."""

    async def converse(self) -> Ending:
        """Serve the client until something ends it."""
        self.greet()
        ending = await first_of(
            shutdown(self._state, SHUTDOWN), self._cap(), self._keepalive(), self._end_from_within(), self._listen()
        )
        assert ending is not None  # noqa: S101 - each of these has one
        if ending.error is not None:
            self._line.tell(ending.error)
        if ending.final:
            cut_short = await first_of(self._finish(), self._end_from_within(), self._line.departure())
            if cut_short is not None:
                if cut_short.error is not None:
                    self._line.tell(cut_short.error)
                return cut_short
        return ending

    def close(self) -> None:
        """Take back what waits; the place is free when nothing of this session runs."""
        self._place.close()

    def _hangs(self) -> None:
        """The engine does; so the session ends."""
        if not self._ended.done():
            self._state.observer.inference_timed_out()
            self._ended.set_result(HANGING)

    # What a session waits for. Each tells how the session ends.

    async def _finish(self) -> Ending | None:
        """Nothing is left to finish of what has ended from within, so that this may be over first."""
        await self.finish()
        return self._ended.result() if self._ended.done() else None

    async def _cap(self) -> Ending:
        await asyncio.sleep(self._limits.max_session_s or float("inf"))
        return TOO_LONG

    async def _keepalive(self) -> Ending:
        while True:
            await asyncio.sleep(self._limits.ping_interval_s)
            if self._line.peer.unanswered_pings >= MAX_UNANSWERED_PINGS:
                return DEAD
            self._line.peer.ping()

    async def _end_from_within(self) -> Ending:
        return await asyncio.shield(self._ended)

    async def _listen(self) -> Ending:
        """Handle messages in order until one ends the session."""
        while True:
            try:
                async with asyncio.timeout(self._limits.idle_timeout_s):
                    message = await self._line.receive()
            except TimeoutError:
                return IDLE
            if message["type"] == "websocket.disconnect":
                return GONE
            ending = await self.take(message)
            if ending is not None:
                return ending
            await asyncio.sleep(0)  # a client that floods has its turn like all others


async def serve_line(
    line: Line,
    state: ServerState,
    converse: Callable[[LivePlace], Conversation],
    choose_model: Callable[[], Awaitable[str | None]],
) -> None:
    """One accepted connection to its end: a place first, then the conversation.

    `choose_model` is asked once the server serves. It may raise OptionError.
    """
    sending = asyncio.ensure_future(line.outbox.run())
    state.open_sockets += 1
    try:
        await line.leave(await _admit_and_converse(line, state, converse, choose_model))
    finally:
        state.open_sockets -= 1
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)  # a client that has gone cannot be told anything


async def _admit_and_converse(
    line: Line,
    state: ServerState,
    converse: Callable[[LivePlace], Conversation],
    choose_model: Callable[[], Awaitable[str | None]],
) -> Ending:
    admission = _Admission(line, state, choose_model)
    ending = await first_of(shutdown(state, SHUTDOWN_UNHEARD), admission.wait(), line.departure(keep_first=True))
    if admission.place is None:
        assert ending is not None  # noqa: S101 - whatever else came first has one
        return ending
    conversation = converse(admission.place)
    try:
        return ending or await conversation.converse()
    finally:
        conversation.close()


class _Admission:
    """The wait for a place."""

    def __init__(self, line: Line, state: ServerState, choose_model: Callable[[], Awaitable[str | None]]) -> None:
        self._line = line
        self._state = state
        self._choose_model = choose_model
        self.place: LivePlace | None = None

    async def wait(self) -> Ending | None:
        """A place, once the server serves, the model is in memory and a place is free; None then."""
        timeout_s = self._state.sessions.checkout_timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                await self._state.serving.wait()
            self.place = await self._state.admit().admit_session(await self._choose_model())
        except (TimeoutError, Busy):
            self._line.tell(busy(timeout_s))
            return Ending()
        except ShuttingDown:
            return SHUTDOWN_UNHEARD
        except (OptionError, ModelError) as error:
            self._line.tell(Trouble(error.code, str(error), param=getattr(error, "option", None)))
            return Ending(close=(1008, "policy violation"))
        return None


def busy(timeout_s: float) -> Trouble:
    """What is said when no place became free."""
    return Trouble("timeout", "Server busy, try again later", retry_after_ms=round(timeout_s * 1000))
