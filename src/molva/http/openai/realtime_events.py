"""Events of a realtime session: what clients may say, and what they are told."""

import binascii
import secrets
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, ValidationError
from pydantic_core import from_json

from molva.http.live_socket import Trouble
from molva.http.openai.problems import error_object
from molva.http.openai.realtime_settings import BetaSession, GaSession, Shape

MAX_AUDIO_BYTES = 15 * 2**20
"""Of one `append`, decoded."""

EventId = Annotated[str, Field(max_length=512)]

OURS = frozenset({"timeout", "inference_timeout"})
"""Troubles that are no fault of the client."""


class Append(Shape):
    """Audio."""

    type: Literal["input_audio_buffer.append"]
    audio: str
    event_id: EventId | None = None

    def decode(self) -> bytes:
        """The bytes. Raises EventError."""
        try:
            data = binascii.a2b_base64(self.audio, strict_mode=True)
        except ValueError:
            raise EventError("Invalid 'audio': it is not base64.", "audio", event_id=self.event_id) from None
        if len(data) > MAX_AUDIO_BYTES:
            message = f"Invalid 'audio': {len(data)} bytes are more than the {MAX_AUDIO_BYTES} that one event may have."
            raise EventError(message, "audio", event_id=self.event_id)
        return data


class Commit(Shape):
    """The utterance is over."""

    type: Literal["input_audio_buffer.commit"]
    event_id: EventId | None = None


class Clear(Shape):
    """The audio so far is to be forgotten."""

    type: Literal["input_audio_buffer.clear"]
    event_id: EventId | None = None


class GaUpdate(Shape):
    """Other settings."""

    type: Literal["session.update"]
    session: GaSession
    event_id: EventId | None = None


class BetaUpdate(Shape):
    """Other settings, in the words of the beta dialect."""

    type: Literal["transcription_session.update"]
    session: BetaSession
    event_id: EventId | None = None


ClientEvent: TypeAlias = Append | Commit | Clear | GaUpdate | BetaUpdate

SHAPES: dict[str, type[ClientEvent]] = {
    "input_audio_buffer.append": Append,
    "input_audio_buffer.commit": Commit,
    "input_audio_buffer.clear": Clear,
    "session.update": GaUpdate,
    "transcription_session.update": BetaUpdate,
}

CODES = {"extra_forbidden": "unknown_parameter", "missing": "missing_required_parameter"}
"""What pydantic finds wrong, in OpenAI's words; all else is `invalid_value`."""


class EventError(Exception):
    """What is wrong with a client's event. Nothing has changed."""

    def __init__(
        self, message: str, param: str | None = None, *, code: str = "invalid_value", event_id: str | None = None
    ) -> None:
        super().__init__(message)
        self.param = param
        self.code = code
        self.event_id = event_id


def parse(text: str) -> ClientEvent:
    """A client's event. Raises EventError."""
    try:
        event: Any = from_json(text, allow_inf_nan=False)
    except ValueError:
        raise EventError("Could not parse the event: it is not JSON.", code="invalid_json") from None
    if not isinstance(event, dict):
        raise EventError("An event must be a JSON object.", code="invalid_json")
    event_id, kind = event.get("event_id"), event.get("type")
    known_id = event_id if isinstance(event_id, str) and len(event_id) <= 512 else None
    shape = SHAPES.get(kind) if isinstance(kind, str) else None
    if shape is None:
        said = f"'{kind[:64]}' is not known" if isinstance(kind, str) else "it is missing"
        message = f"Invalid 'type': {said}. Known are: {', '.join(SHAPES)}."
        raise EventError(message, "type", event_id=known_id)
    try:
        return shape.model_validate(event)
    except ValidationError as error:
        problem = error.errors(include_input=False, include_url=False)[0]
        param = ".".join(str(part) for part in problem["loc"])
        code = CODES.get(problem["type"], "invalid_value")
        raise EventError(f"Invalid '{param}': {problem['msg']}.", param, code=code, event_id=known_id) from None


def new_id(prefix: str) -> str:
    """One that nobody else has."""
    return f"{prefix}_{secrets.token_hex(12)}"


def server_event(kind: str, **fields: Any) -> dict[str, Any]:
    """An event with an id of its own."""
    return {"type": kind, "event_id": new_id("event"), **fields}


def event_error(error: EventError) -> dict[str, Any]:
    """The answer to an event that is refused."""
    told = error_object(400, str(error), param=error.param, code=error.code)
    return server_event("error", error={**told, "event_id": error.event_id})


def trouble_error(trouble: Trouble) -> dict[str, Any]:
    """An error that no event of the client has caused."""
    status = 503 if trouble.code in OURS else 400
    told: dict[str, Any] = dict(error_object(status, trouble.message, param=trouble.param, code=trouble.code))
    if trouble.retry_after_ms is not None:
        told["retry_after_ms"] = trouble.retry_after_ms
    return server_event("error", error={**told, "event_id": None})


def item_object(item_id: str) -> dict[str, Any]:
    """An utterance as an item of a conversation. Its transcript comes with events of its own."""
    return {
        "id": item_id,
        "object": "realtime.item",
        "type": "message",
        "status": "completed",
        "role": "user",
        "content": [{"type": "input_audio", "transcript": None}],
    }
