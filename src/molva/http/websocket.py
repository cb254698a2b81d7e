"""The native door for live speech, `/v1/ws`: protocol "1.0", wire-compatible with gigastt."""

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request, WebSocket
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from starlette.responses import PlainTextResponse, Response
from starlette.types import Message
from starlette.websockets import WebSocketDisconnect

from molva.errors import Busy, InferencePanic, InferenceTimeout, ShuttingDown
from molva.formats.json import word_object
from molva.http.clock import unix_time
from molva.http.outbox import Outbox
from molva.http.problems import problem
from molva.http.state import ServerState
from molva.http.transport import LINGER_S, Peer, peer
from molva.runtime.live import Event
from molva.runtime.recognizer import LivePlace
from molva.speech.live import Final, Partial
from molva.transcript import Word

router = APIRouter()

PROTOCOL_VERSION = "1.0"
DEFAULT_RATE = 48_000
SUPPORTED_RATES = [8000, 16000, 24000, 44100, 48000]
MAX_EMPTY_FRAMES = 1000
MAX_UNANSWERED_PINGS = 2
ENDPOINT_MODES = {"auto": True, "assistant": True, "manual": False}
"""Whether silence ends an utterance; in `manual` mode only `stop` does."""
MIN_SILENCE_MS = (100, 10_000)
"""What `min_silence_ms` is held to."""


@dataclass(frozen=True)
class Ending:
    """How a session ends."""

    error: tuple[str, str] | None = None
    """Code and message of an `error` before everything else."""
    final: bool = False
    """Whether what is buffered is decoded and told."""
    close: tuple[int, str] | None = None
    """Code and reason of the Close frame; without one the connection just ends."""


STOPPED = Ending(final=True, close=(1000, ""))
GONE = Ending()
DEAD = Ending(close=(1001, "ping timeout"))
SHUTDOWN = Ending(final=True, close=(1001, "server shutdown"))
SHUTDOWN_UNHEARD = Ending(close=SHUTDOWN.close)
IDLE = Ending(error=("idle_timeout", "Idle timeout"), close=(1001, "idle timeout"))
FLOOD = Ending(error=("policy_violation", "Empty frame limit exceeded"), close=(1008, "policy violation"))
TOO_LONG = Ending(
    error=("max_session_duration_exceeded", "Maximum session duration exceeded"),
    final=True,
    close=(1008, "max session duration"),
)
HANGING = Ending(error=("inference_timeout", "Inference timed out."))


class Configure(BaseModel):
    """The client's wishes, before its first audio."""

    model_config = ConfigDict(strict=True)

    type: Literal["configure"]
    sample_rate: Annotated[int, Field(ge=0, lt=2**32)] | None = None
    diarization: bool | None = None
    protocol_version: str | None = None
    endpoint_mode: str | None = None
    """One of ENDPOINT_MODES; others are ignored."""
    min_silence_ms: Annotated[int, Field(ge=0, lt=2**32)] | None = None


class Stop(BaseModel):
    """The client has said everything."""

    type: Literal["stop"]


CLIENT_MESSAGE: TypeAdapter[Configure | Stop] = TypeAdapter(Annotated[Configure | Stop, Field(discriminator="type")])


@router.get("/v1/ws", include_in_schema=False)
async def not_an_upgrade(_request: Request) -> Response:
    """What a request that is no WebSocket handshake gets."""
    return PlainTextResponse("This is a WebSocket; the Connection and Upgrade headers are missing.", 400)


@router.websocket("/v1/ws")
async def serve(websocket: WebSocket) -> None:
    """One connection from the handshake to its end."""
    state: ServerState = websocket.app.state.server
    if state.draining:
        await websocket.send_denial_response(problem(503, "shutting_down", "Server shutting down"))
        return
    await websocket.accept()
    line = _Line(websocket)
    sending = asyncio.ensure_future(line.outbox.run())
    try:
        await line.leave(await _admit_and_converse(line, state))
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)  # a client that has gone cannot be told anything


async def _admit_and_converse(line: "_Line", state: ServerState) -> Ending:
    admission = _Admission(line, state)
    ending = await first_of(shutdown(state, SHUTDOWN_UNHEARD), admission.wait(), line.departure(keep_first=True))
    if admission.place is None:
        assert ending is not None  # noqa: S101 - whatever else came first has one
        return ending
    session = _Session(line, state, admission.place)
    try:
        return ending or await session.converse()
    finally:
        session.close()


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


class _Line:
    """The connection: what goes out, and how it comes to its end."""

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket
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

    def tell_error(self, code: str, message: str, **more: int) -> None:
        """Send an `error`."""
        self.outbox.put({"type": "error", "message": message, "code": code, **more})

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


class _Admission:
    """The wait for a place."""

    def __init__(self, line: _Line, state: ServerState) -> None:
        self._line = line
        self._state = state
        self.place: LivePlace | None = None

    async def wait(self) -> Ending | None:
        """A place, once the model is loaded and one is free; None then."""
        timeout_s = self._state.sessions.checkout_timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                await self._state.loaded.wait()
            recognizer = self._state.recognizer
            assert recognizer is not None  # noqa: S101 - it is loaded
            self.place = await recognizer.admit_session()
        except (TimeoutError, Busy):
            self._line.tell_error("timeout", "Server busy, try again later", retry_after_ms=round(timeout_s * 1000))
            return Ending()
        except ShuttingDown:
            return SHUTDOWN_UNHEARD
        return None


class _Session:
    """The conversation, from `ready` to the last final."""

    def __init__(self, line: _Line, state: ServerState, place: LivePlace) -> None:
        self._line = line
        self._state = state
        self._limits = state.sessions
        self._place = place
        self._rule = self._limits.rule
        self._rate = DEFAULT_RATE
        self._heard_audio = False
        self._empty_frames = 0
        self._ended: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
        """Set where the session ends from within."""
        self._stream = place.open(
            rule=self._rule, rate=self._rate, timeout_s=self._limits.inference_timeout_s, emit=self._tell
        )

    async def converse(self) -> Ending:
        """Serve the client until something ends it."""
        self._line.outbox.put(self._ready())
        ending = await first_of(
            shutdown(self._state, SHUTDOWN), self._cap(), self._keepalive(), self._end_from_within(), self._listen()
        )
        assert ending is not None  # noqa: S101 - each of these has one
        if ending.error is not None:
            self._line.tell_error(*ending.error)
        if ending.final:
            cut_short = await first_of(self._finish(), self._end_from_within(), self._line.departure())
            if cut_short is not None:
                if cut_short.error is not None:
                    self._line.tell_error(*cut_short.error)
                return cut_short
        return ending

    def close(self) -> None:
        """Take back what waits; the place is free when nothing of this session runs."""
        self._place.close()

    # What a session waits for. Each tells how the session ends.

    async def _finish(self) -> None:
        await self._stream.finish()

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
            if (data := message.get("bytes")) is not None:
                ending = await self._on_audio(data)
            else:
                ending = await self._on_text(message["text"])
            if ending is not None:
                return ending
            await asyncio.sleep(0)  # a client that floods has its turn like all others

    async def _on_audio(self, data: bytes) -> Ending | None:
        if data:
            self._heard_audio = True
            await self._stream.feed(data)
            return None
        self._empty_frames += 1
        return FLOOD if self._empty_frames > MAX_EMPTY_FRAMES else None

    async def _on_text(self, text: str) -> Ending | None:
        """What is no message of the protocol is ignored."""
        try:
            message = CLIENT_MESSAGE.validate_json(text)
        except ValidationError:
            return None
        await self._stream.settle()
        return STOPPED if isinstance(message, Stop) else self._configure(message)

    def _configure(self, wishes: Configure) -> Ending | None:
        if self._heard_audio:
            self._line.tell_error("configure_too_late", "Configure must be sent before first audio frame")
            return None
        if wishes.protocol_version is not None and wishes.protocol_version != PROTOCOL_VERSION:
            given = wishes.protocol_version[:40]
            return Ending(
                error=(
                    "unsupported_protocol_version",
                    f"Unsupported protocol version: {given}. Supported: {PROTOCOL_VERSION}",
                )
            )
        if wishes.sample_rate is not None and wishes.sample_rate in SUPPORTED_RATES:
            self._rate = wishes.sample_rate
        elif wishes.sample_rate is not None:
            self._line.tell_error(
                "invalid_sample_rate", f"Unsupported sample rate: {wishes.sample_rate}Hz. Supported: {SUPPORTED_RATES}"
            )
        if wishes.endpoint_mode in ENDPOINT_MODES:
            self._rule = replace(self._rule, endpoint=ENDPOINT_MODES[wishes.endpoint_mode])
        if wishes.min_silence_ms is not None:
            shortest, longest = MIN_SILENCE_MS
            self._rule = replace(self._rule, min_silence_ms=min(max(wishes.min_silence_ms, shortest), longest))
        self._stream.configure(self._rule, self._rate)
        return None

    # What the client is told.

    def _ready(self) -> dict[str, Any]:
        return {
            "type": "ready",
            "model": self._place.info.model,
            "sample_rate": DEFAULT_RATE,
            "version": PROTOCOL_VERSION,
            "supported_rates": SUPPORTED_RATES,
            "max_session_secs": self._limits.max_session_s,
            "idle_timeout_secs": self._limits.idle_timeout_s,
        }

    def _tell(self, event: Event) -> None:
        if isinstance(event, Partial | Final):
            self._line.outbox.put(segment_message(event))
        elif isinstance(event, InferenceTimeout):
            if not self._ended.done():
                self._ended.set_result(HANGING)
        elif isinstance(event, InferencePanic):
            self._line.tell_error("inference_panic", "Inference failed unexpectedly. Session reset.")
        else:
            self._line.tell_error("inference_error", "Inference failed. Please check audio format.")


def segment_message(event: Partial | Final) -> dict[str, Any]:
    """`partial` or `final`. Fields of later protocol versions are sent where they have a value."""
    message: dict[str, Any] = {
        "type": "final" if isinstance(event, Final) else "partial",
        "text": event.text,
        "words": [word_object(word) for word in event.words],
        "is_final": isinstance(event, Final),
        "timestamp": round(unix_time(), 3),
    }
    if event.words:
        message["confidence"] = round(mean_confidence(event.words), 3)
    if isinstance(event, Partial):
        message["stable"] = event.n_stable
    elif event.reason is not None:
        message["speech_final"] = True
        message["endpoint_reason"] = event.reason
    return message


def mean_confidence(words: Sequence[Word]) -> float:
    """Weighted by duration; plain where no word has one. `words` must not be empty."""
    total = sum(word.end - word.start for word in words)
    if total <= 0:
        return sum(word.confidence for word in words) / len(words)
    return sum(word.confidence * (word.end - word.start) for word in words) / total
