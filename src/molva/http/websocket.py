"""The native door for live speech, `/v1/ws`: protocol "1.0", wire-compatible with gigastt."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request, WebSocket
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from starlette.responses import PlainTextResponse, Response
from starlette.types import Message

from molva.errors import InferencePanic, InferenceTimeout
from molva.formats.json import word_object
from molva.http.clock import unix_time
from molva.http.live_socket import Conversation, Ending, Line, Trouble, serve_line
from molva.http.problems import problem
from molva.http.state import ServerState
from molva.runtime.live import Event
from molva.runtime.recognizer import LivePlace
from molva.speech.live import Final, Partial
from molva.transcript import Word

router = APIRouter()

PROTOCOL_VERSION = "1.0"
SUBPROTOCOL = "molva"
"""What pages offer beside the one that carries their key: browsers hang up where none of those offered is chosen."""
DEFAULT_RATE = 48_000
SUPPORTED_RATES = [8000, 16000, 24000, 44100, 48000]
MAX_EMPTY_FRAMES = 1000
ENDPOINT_MODES = {"auto": True, "assistant": True, "manual": False}
"""Whether silence ends an utterance; in `manual` mode only `stop` does."""
MIN_SILENCE_MS = (100, 10_000)
"""What `min_silence_ms` is held to."""


STOPPED = Ending(final=True, close=(1000, ""))
FLOOD = Ending(error=Trouble("policy_violation", "Empty frame limit exceeded"), close=(1008, "policy violation"))


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
    offered: list[str] = websocket.scope["subprotocols"]
    await websocket.accept(subprotocol=SUBPROTOCOL if SUBPROTOCOL in offered else None)
    line = Line(websocket, error_message)
    await serve_line(line, state, lambda place: _Session(line, state, place), _served_model)


async def _served_model() -> None:
    """Clients of this door cannot choose one."""


def error_message(trouble: Trouble) -> dict[str, Any]:
    """An `error`."""
    message: dict[str, Any] = {"type": "error", "message": trouble.message, "code": trouble.code}
    if trouble.retry_after_ms is not None:
        message["retry_after_ms"] = trouble.retry_after_ms
    return message


class _Session(Conversation):
    """The conversation, from `ready` to the last final."""

    def __init__(self, line: Line, state: ServerState, place: LivePlace) -> None:
        super().__init__(line, state, place)
        self._rule = self._limits.rule
        self._rate = DEFAULT_RATE
        self._diarization = False
        self._heard_audio = False
        self._empty_frames = 0
        self._stream = place.open(
            rule=self._rule, rate=self._rate, timeout_s=self._limits.inference_timeout_s, emit=self._tell
        )

    def greet(self) -> None:
        """`ready`."""
        self._line.outbox.put(self._ready())

    async def take(self, message: Message) -> Ending | None:
        """Audio, or a message of the protocol."""
        if (data := message.get("bytes")) is not None:
            return await self._on_audio(data)
        return await self._on_text(message["text"])

    async def finish(self) -> None:
        """The last final."""
        await self._stream.finish()

    async def _on_audio(self, data: bytes) -> Ending | None:
        if data:
            self._heard_audio = True
            self._state.observer.audio_taken("ws", len(data) / 2 / self._rate)
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
                error=Trouble(
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
        if wishes.diarization is not None:
            self._diarization = wishes.diarization
        self._stream.configure(self._rule, self._rate, self._place.speakers if self._diarization else None)
        return None

    # What the client is told.

    def _ready(self) -> dict[str, Any]:
        message = {
            "type": "ready",
            "model": self._place.info.model,
            "sample_rate": DEFAULT_RATE,
            "version": PROTOCOL_VERSION,
            "supported_rates": SUPPORTED_RATES,
            "max_session_secs": self._limits.max_session_s,
            "idle_timeout_secs": self._limits.idle_timeout_s,
        }
        if self._place.speakers is not None:
            message["diarization"] = True
        return message

    def _tell(self, event: Event) -> None:
        if isinstance(event, Partial | Final):
            self._line.outbox.put(segment_message(event))
        elif isinstance(event, InferenceTimeout):
            self._hangs()
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
