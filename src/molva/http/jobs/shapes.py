"""Shapes of jobs and their form, for the OpenAPI document."""

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from molva.http.jobs.form import CHANNELS, PRIORITIES, TASKS
from molva.http.jobs.schemas import documented
from molva.http.schemas import TranscriptBody
from molva.speech.clustering import MAX_SPEAKERS
from molva.speech.waveform import MAX_PEAKS

Priority = Literal["low", "normal", "high"]
JobStatus = Literal["queued", "running", "done", "failed", "cancelled"]


class Submitted(BaseModel):
    """POST /jobs: the job is kept, also over a restart."""

    job_id: str = Field(json_schema_extra={"format": "uuid"})


class JobSummary(BaseModel):
    """A job without its segments. What is not known is absent."""

    id: UUID
    status: JobStatus
    task: Literal["transcribe", "translate"]
    language: Annotated[str | None, Field(description="ISO 639-1; asked for, or heard")] = None
    priority: Priority
    model: Annotated[str, Field(description="Name of the one that serves it")]
    progress: Annotated[int, Field(ge=0, le=100, description="100 only when it is done")]
    duration_secs: Annotated[float | None, Field(description="Of the recording, once it has been looked through")] = (
        None
    )
    error: Annotated[str | None, Field(description="Why it failed")] = None
    webhook_url: str | None = None
    filename: str | None = None
    channels: Annotated[Literal["split"] | None, Field(description="Each is transcribed by itself")] = None
    created_at: Annotated[str, Field(json_schema_extra={"format": "date-time"})]
    completed_at: Annotated[str | None, Field(json_schema_extra={"format": "date-time"})] = None


class JobWord(BaseModel):
    """One word; seconds from the start of the recording."""

    text: str
    start: float
    end: float
    probability: Annotated[float, Field(ge=0, le=1)]
    speaker: Annotated[
        int | None, Field(description="Zero-based, where it is known; with channels=split the number of the channel")
    ] = None


class JobSegment(BaseModel):
    """One stretch of speech; seconds from the start of the recording."""

    index: int
    start: float
    end: float
    text: str
    words: list[JobWord]


class JobDocument(JobSummary):
    """A job. `segments` is empty until it is done."""

    segments: list[JobSegment]
    diarization: Annotated[
        Literal["done", "failed"] | None,
        Field(description="Whether speakers were told apart, where that was asked for"),
    ] = None


class JobPage(BaseModel):
    """GET /jobs: newest first."""

    jobs: list[JobSummary]
    next_cursor: Annotated[str | None, Field(description="Ask for it as `cursor` to get the next ones")]


class WaveformBody(BaseModel):
    """GET /jobs/{job_id}/waveform: the picture of the recording, of the same size however long it is."""

    duration_secs: float
    step_secs: Annotated[float, Field(description="What one of the peaks stands for")]
    peaks: Annotated[
        list[Annotated[int, Field(ge=0, le=255)]],
        Field(description="The loudest sample of each step, 255 at full scale", max_length=MAX_PEAKS + 1),
    ]
    speech: Annotated[
        list[Annotated[list[float], Field(min_length=2, max_length=2)]],
        Field(description="Start and end of each stretch of speech"),
    ]


ERRORS: dict[int | str, dict[str, Any]] = {
    401: documented("`invalid_api_key`, where the server asks for keys"),
    403: documented("`origin_denied`, `host_denied`"),
    429: documented("`rate_limited`, `quota_exceeded`, with Retry-After"),
    500: documented("`internal`"),
    503: documented("`store_unavailable`: the database does not answer"),
}
"""Of every route here."""
BAD_REQUEST: dict[int | str, dict[str, Any]] = {400: documented("`invalid_option`, `invalid_format`")}
NOT_FOUND: dict[int | str, dict[str, Any]] = {
    400: documented("`invalid_option`: no UUID, or a query parameter of the wrong type; `invalid_format`"),
    404: documented("`job_not_found`"),
}
CONFLICT: dict[int | str, dict[str, Any]] = {
    409: documented("`job_finished`: it has ended already; `job_not_done`: it has no result, or no waveform yet")
}
SUBMISSION_ERRORS: dict[int | str, dict[str, Any]] = {
    **ERRORS,
    400: documented(
        "`missing_audio`, `empty_body`, `invalid_option`, `unsupported_task`, `address_refused`, `fetch_failed`"
    ),
    408: documented("`body_timeout`"),
    409: documented("`idempotency_mismatch`, `diarization_not_available`"),
    413: documented("`payload_too_large`: what is at audio_url"),
    503: documented("`model_not_ready` with Retry-After, `pool_closed`, `store_unavailable`"),
    507: documented("`disk_full`"),
}
EVENTS: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {}}, "description": "Events `progress`, `done`, `error` and `closing`"}
}
_TEXT = {"schema": {"type": "string"}}
RESULT: dict[int | str, dict[str, Any]] = {
    200: {
        "model": TranscriptBody,
        "description": "In the format asked for",
        "content": {
            "text/plain": _TEXT,
            "text/vtt": _TEXT,
            "text/markdown": _TEXT,
            "text/tab-separated-values": _TEXT,
            "application/x-subrip": _TEXT,
        },
    }
}


def _speakers(description: str) -> dict[str, Any]:
    return {"type": "integer", "minimum": 1, "maximum": MAX_SPEAKERS, "description": f"{description}; with diarization"}


FORM: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["audio"],
                    "properties": {
                        "audio": {
                            "type": "string",
                            "format": "binary",
                            "description": "Any container and codec, of any size; or audio_url in its place",
                        },
                        "language": {
                            "type": "string",
                            "pattern": "^[a-z]{2}$",
                            "description": "ISO 639-1; absent lets the model tell, `auto` is refused",
                        },
                        "task": {"type": "string", "enum": list(TASKS), "default": "transcribe"},
                        "channels": {
                            "type": "string",
                            "enum": list(CHANNELS),
                            "default": "mix",
                            "description": "split transcribes each channel by itself, as the speaker of its number",
                        },
                        "model": {"type": "string", "description": "A name of GET /v1/models; absent: by language"},
                        "priority": {"type": "string", "enum": list(PRIORITIES), "default": "normal"},
                        "diarization": {
                            "type": "boolean",
                            "default": False,
                            "description": "Tell speakers apart; without the models for it the answer is 409",
                        },
                        "num_speakers": _speakers("How many there are, where that is known"),
                        "min_speakers": _speakers("At least so many"),
                        "max_speakers": _speakers("At most so many"),
                        "webhook_url": {
                            "type": "string",
                            "format": "uri",
                            "description": "Gets the job by POST when it has ended",
                        },
                        "audio_url": {
                            "type": "string",
                            "format": "uri",
                            "description": "Where the server fetches the recording, in place of audio",
                        },
                    },
                }
            }
        },
    }
}
