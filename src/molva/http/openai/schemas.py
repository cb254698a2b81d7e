"""Shapes of the OpenAI door, for the OpenAPI document."""

from typing import Any, Literal

from pydantic import BaseModel

from molva.http.openai.form import FORMATS, MAX_KNOWN_SPEAKERS, MAX_NAME


class ErrorObject(BaseModel):
    """What is wrong; all four keys are always there."""

    message: str
    type: Literal["invalid_request_error", "rate_limit_error", "server_error", "api_error"]
    param: str | None
    code: str | None


class OpenAiProblem(BaseModel):
    """Every error of the OpenAI door."""

    error: ErrorObject


class Usage(BaseModel):
    """Whole seconds of audio."""

    type: Literal["duration"] = "duration"
    seconds: int


class Transcription(BaseModel):
    """response_format=json; the other formats have fields of their own."""

    text: str
    usage: Usage


def _error(description: str) -> dict[str, Any]:
    return {"model": OpenAiProblem, "description": description}


ERRORS: dict[int | str, dict[str, Any]] = {
    400: _error("The form, a field (`param` names it), or the audio"),
    401: _error("`invalid_api_key`"),
    403: _error("`origin_denied`, `host_denied`"),
    408: _error("The rest of the form did not come"),
    413: _error("The file is larger than the server takes"),
    429: _error("`rate_limited`, `quota_exceeded`; Retry-After tells when to try again"),
    500: _error("A bug, or the engine failed"),
    503: _error("No place in time (Retry-After), still loading, or stopping"),
    507: _error("The server's disk is full"),
}

NO_MODEL = _error("`model_not_found`")

ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "model": Transcription,
        "description": "In the format asked for; with stream=true server-sent events",
        "content": {
            "text/plain": {"schema": {"type": "string"}},
            "text/vtt": {"schema": {"type": "string"}},
            "text/event-stream": {},
        },
    }
}

_TEXT = {"type": "string"}

FORM: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {"type": "string", "format": "binary", "description": "Any container and codec"},
                        "model": {**_TEXT, "description": "A name of GET /v1/models; absent: the one that is served"},
                        "language": {**_TEXT, "description": "ISO 639-1; absent lets the model tell"},
                        "prompt": {**_TEXT, "description": "For Whisper; others do not need it"},
                        "response_format": {"type": "string", "enum": list(FORMATS), "default": "json"},
                        "temperature": {"type": "number", "minimum": 0, "maximum": 1},
                        "timestamp_granularities[]": {
                            "type": "array",
                            "items": {"type": "string", "enum": ["word", "segment"]},
                        },
                        "include[]": {"type": "array", "items": {"type": "string", "enum": ["logprobs"]}},
                        "stream": {"type": "boolean", "default": False},
                        "known_speaker_names[]": {
                            "type": "array",
                            "items": {"type": "string", "minLength": 1, "maxLength": MAX_NAME},
                            "maxItems": MAX_KNOWN_SPEAKERS,
                            "description": "For diarized_json",
                        },
                        "known_speaker_references[]": {
                            "type": "array",
                            "items": _TEXT,
                            "maxItems": MAX_KNOWN_SPEAKERS,
                            "description": "For each name a data URL (base64) with 2 to 10 s of the voice",
                        },
                        "chunking_strategy": {**_TEXT, "description": "`auto`, or a server_vad object as JSON"},
                    },
                }
            }
        },
    }
}
