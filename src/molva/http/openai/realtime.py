"""`/v1/realtime`: OpenAI's realtime transcription, in its beta and its GA dialect."""

import time
from collections import deque
from typing import Any

from fastapi import APIRouter, Request, WebSocket
from starlette.responses import Response
from starlette.types import Message

from molva.errors import Busy, InferencePanic, InferenceTimeout, InvalidKey, ModelError, OptionError, ShuttingDown
from molva.http.auth import presented_key
from molva.http.live_socket import Conversation, Ending, Line, serve_line
from molva.http.openai.answers import logprobs, usage
from molva.http.openai.ephemeral import PREFIX, Ephemeral
from molva.http.openai.problems import error_object, problem, problem_for
from molva.http.openai.realtime_events import (
    Append,
    BetaUpdate,
    Clear,
    Commit,
    EventError,
    GaUpdate,
    event_error,
    item_object,
    new_id,
    parse,
    server_event,
    trouble_error,
)
from molva.http.openai.realtime_settings import DEFAULT, Settings, field_name, patched
from molva.http.openai.transcriptions import chooser
from molva.http.state import ServerState
from molva.runtime.live import Event, LiveStream
from molva.runtime.recognizer import LivePlace
from molva.speech.live import Final, LiveRule, SpeechStarted, SpeechStopped
from molva.transcript import Segment

router = APIRouter(tags=["openai"])

SUBPROTOCOLS = ("realtime", "openai-beta.realtime-v1")
"""Those that can be chosen. What carries a key is never sent back."""

BETA_SUBPROTOCOL = "openai-beta.realtime-v1"
BETA_HEADER = "realtime=v1"

PIECE_BYTES = 64 * 2**10
"""Of decoded audio that are taken at once: a long event is heard at the pace at which it is recognised."""

EMPTY = "input_audio_buffer_commit_empty"
TRANSCRIPTION = "conversation.item.input_audio_transcription"


@router.get("/v1/realtime", include_in_schema=False)
async def not_an_upgrade(_request: Request) -> Response:
    """What a request that is no WebSocket handshake gets."""
    return problem(400, "This is a WebSocket; the Connection and Upgrade headers are missing.")


@router.websocket("/v1/realtime")
async def serve(websocket: WebSocket) -> None:
    """One connection from the handshake to its end."""
    state: ServerState = websocket.app.state.server
    if state.draining:
        await websocket.send_denial_response(problem_for(ShuttingDown()))
        return
    presented = presented_key(websocket.scope)
    token = state.ephemeral.find(presented)
    if token is None and presented.startswith(PREFIX):
        # Also where no key is needed: the session would not have the settings that came with the token.
        await websocket.send_denial_response(problem_for(InvalidKey()))
        return
    offered: list[str] = websocket.scope["subprotocols"]
    await websocket.accept(subprotocol=next((name for name in SUBPROTOCOLS if name in offered), None))
    beta = BETA_SUBPROTOCOL in offered or BETA_HEADER in websocket.headers.get("openai-beta", "")
    settings = _first_settings(token, websocket.query_params.get("model"))

    async def choose_model() -> str:
        choose = await chooser(state, state.admit().info, "transcribe")
        return choose(settings.model, settings.language)

    line = Line(websocket, trouble_error)
    await serve_line(line, state, lambda place: _Session(line, state, place, settings, beta=beta), choose_model)


def _first_settings(token: Ephemeral | None, model: str | None) -> Settings:
    settings = DEFAULT if token is None else token.settings
    if settings.model is None and model:
        return patched(settings, {"transcription": {"model": model[:256]}})
    return settings


class _Session(Conversation):
    """One session. Each utterance is an item: announced, committed, then transcribed, all in order."""

    def __init__(self, line: Line, state: ServerState, place: LivePlace, settings: Settings, *, beta: bool) -> None:
        super().__init__(line, state, place)
        self._id = new_id("sess")
        self._expires_at = round(time.time() + self._limits.max_session_s) if self._limits.max_session_s else None
        self._settings = settings
        self._beta = beta
        """Whether the client's last update was in that dialect."""
        self._heard_audio = False
        self._item: str | None = None
        """Of the utterance that goes on."""
        self._last_item: str | None = None
        """The one committed last."""
        self._untold: deque[tuple[str, float]] = deque()
        """Items that wait for their transcript, and their seconds of audio."""
        self._stream = self._open()

    def greet(self) -> None:
        """The session as it is."""
        self._tell_session("created")

    async def take(self, message: Message) -> Ending | None:
        """One event, which stands or fails as a whole."""
        try:
            event = parse(message.pop("text", "") or "")  # it can be large, and hearing what it holds takes its time
            if isinstance(event, Append):
                data = self._settings.to_pcm16(event.decode())
                del event
                await self._hear(data)
            elif isinstance(event, Commit):
                await self._commit(event)
            elif isinstance(event, Clear):
                await self._stream.clear()
                self._item = None
                self._put("input_audio_buffer.cleared")
            else:
                await self._update(event)
        except EventError as error:
            self._line.outbox.put(event_error(error))
        return None

    async def finish(self) -> None:
        """The utterance that goes on, and all that wait."""
        await self._stream.commit()
        await self._stream.settle()

    # What the client says.

    async def _hear(self, data: bytes) -> None:
        if not data:
            return
        self._heard_audio = True
        self._state.observer.audio_taken("realtime", len(data) / 2 / self._settings.rate)
        if self._settings.turn_detection is None and self._item is None:
            self._item = new_id("item")
        for start in range(0, len(data), PIECE_BYTES):
            await self._stream.feed(data[start : start + PIECE_BYTES])

    async def _commit(self, event: Commit) -> None:
        if not await self._stream.commit():
            self._item = None
            message = "Error committing input audio buffer: there is nothing in it."
            raise EventError(message, code=EMPTY, event_id=event.event_id)

    async def _update(self, event: GaUpdate | BetaUpdate) -> None:
        beta = isinstance(event, BetaUpdate)
        settings = patched(self._settings, event.session.patch)
        await self._choose_model(settings, event, beta=beta)
        before, self._settings, self._beta = self._settings, settings, beta
        if (settings.turn_detection, settings.format) != (before.turn_detection, before.format):
            await self._stream.change(self._rule, settings.rate)
            self._item = None
        self._stream.options = settings.options
        self._tell_session("updated")

    async def _choose_model(self, settings: Settings, event: GaUpdate | BetaUpdate, *, beta: bool) -> None:
        """Raises EventError where there is none, or where it is too late for another one."""
        try:
            choose = await chooser(self._state, self._state.admit().info, "transcribe")
            model = choose(settings.model, settings.language)
            if model == self._place.info.model:
                return
            if not self._heard_audio:
                await self._place.change_model(model)
                self._stream = self._open()
                return
        except OptionError as error:
            param = field_name(f"transcription.{error.option}", beta=beta)
            raise EventError(str(error), param, event_id=event.event_id) from None
        except (Busy, ModelError, ShuttingDown) as error:
            raise EventError(str(error), code=error.code, event_id=event.event_id) from None
        name = "language" if settings.model == self._settings.model else "model"
        message = f"The {name} needs another model, which can be chosen before the first audio only."
        raise EventError(message, field_name(f"transcription.{name}", beta=beta), event_id=event.event_id)

    def _open(self) -> LiveStream:
        stream = self._place.open(
            rule=self._rule, rate=self._settings.rate, timeout_s=self._limits.inference_timeout_s, emit=self._tell
        )
        stream.options = self._settings.options
        return stream

    @property
    def _rule(self) -> LiveRule:
        return self._settings.rule(self._limits.rule)

    # What the client is told.

    def _tell_session(self, what: str) -> None:
        session = {
            "id": self._id,
            "object": "realtime.transcription_session",
            "expires_at": self._expires_at,
            **self._settings.told(self._place.info.model, beta=self._beta),
        }
        self._put(f"{'transcription_session' if self._beta else 'session'}.{what}", session=session)

    def _tell(self, event: Event) -> None:
        if isinstance(event, SpeechStarted):
            self._item = new_id("item")
            started_ms = round(event.start_s * 1000)
            self._put("input_audio_buffer.speech_started", audio_start_ms=started_ms, item_id=self._item)
        elif isinstance(event, SpeechStopped):
            self._stopped(event)
        elif isinstance(event, Final):
            self._transcribed(event)
        elif isinstance(event, InferenceTimeout):
            self._hangs()
        elif isinstance(event, InferencePanic):
            self._lost()
        # All else are failures of single windows, which their Final tells.

    def _stopped(self, event: SpeechStopped) -> None:
        self._item = self._item or new_id("item")
        if self._settings.turn_detection is not None and event.reason != "commit":
            stopped_ms = round(event.end_s * 1000)
            self._put("input_audio_buffer.speech_stopped", audio_end_ms=stopped_ms, item_id=self._item)
        self._commit_item(self._item, event.end_s - event.start_s)

    def _commit_item(self, item: str, length_s: float) -> None:
        previous, self._last_item, self._item = self._last_item, item, None
        self._put("input_audio_buffer.committed", item_id=item, previous_item_id=previous)
        for kind in ["created"] if self._beta else ["added", "done"]:
            self._put(f"conversation.item.{kind}", item=item_object(item), previous_item_id=previous)
        self._untold.append((item, length_s))

    def _transcribed(self, final: Final) -> None:
        if final.failed:
            self._failed()
            return
        item, length_s = self._untold.popleft()
        about: dict[str, Any] = {"item_id": item, "content_index": 0}
        more: dict[str, Any] = {}
        if self._settings.include:
            segment = Segment(start=0.0, end=length_s, text=final.text, words=final.words)
            more["logprobs"] = logprobs(final.text, segment) if final.text else []
        if final.text:
            self._put(f"{TRANSCRIPTION}.delta", **about, delta=final.text, **more)
        self._put(f"{TRANSCRIPTION}.completed", **about, transcript=final.text, usage=usage(length_s), **more)

    def _failed(self) -> None:
        item, _ = self._untold.popleft()
        error = error_object(500, "Transcription failed.", code="inference_error")
        self._put(f"{TRANSCRIPTION}.failed", item_id=item, content_index=0, error=error)

    def _lost(self) -> None:
        """The engine has lost its state, and what went on with it."""
        if self._item is not None:
            self._commit_item(self._item, 0.0)
        while self._untold:
            self._failed()

    def _put(self, kind: str, **fields: Any) -> None:
        self._line.outbox.put(server_event(kind, **fields))
