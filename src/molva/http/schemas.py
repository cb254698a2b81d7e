"""Shapes of the native door's answers, for the OpenAPI document and for building them."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from molva.engines.base import Task


class Health(BaseModel):
    """GET /health: one object for the clients of all doors."""

    status: Literal["ok"] = "ok"
    model: str
    version: str
    device: str
    loaded: bool
    model_state: Literal["unloaded", "loading", "waiting_for_gpu", "ready"]
    gpu_name: str | None = None
    vram_total_mb: int | None = None
    queue_depth: Annotated[int, Field(description="Jobs that wait")] = 0
    variant: str | None
    punctuation: bool | None
    itn: bool | None
    diarization: Annotated[bool, Field(description="Whether the models that tell speakers apart are loaded")] = False


class Ready(BaseModel):
    """GET /ready when a place is free."""

    status: Literal["ready"] = "ready"
    pool_available: int
    pool_total: int


class NotReady(BaseModel):
    """GET /ready otherwise. The places are absent while the model is not in memory."""

    status: Literal["not_ready"] = "not_ready"
    pool_available: int | None = None
    pool_total: int | None = None
    reason: Literal["initializing", "shutting_down", "pool_exhausted"]


class ModelObject(BaseModel):
    """One entry of OpenAI's model list."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str
    languages: Annotated[list[str], Field(description="ISO 639-1 codes that it knows; empty for an alias")] = []
    tasks: Annotated[list[Task], Field(description="What it can do; empty for an alias")] = []


class ModelInfo(BaseModel):
    """GET /v1/models: gigastt's flat object and OpenAI's list in one."""

    id: str
    name: str
    version: str
    encoder: str = Field(description="Precision of the encoder's weights")
    vocab_size: int
    sample_rate: int
    pool_size: int
    pool_available: int
    supported_formats: list[str]
    supported_rates: list[int]
    diarization: bool
    variant: str
    punctuation: bool
    itn: bool
    object: Literal["list"] = "list"
    data: list[ModelObject]


class WordBody(BaseModel):
    """One word; seconds from the start of the file."""

    word: str
    start: float
    end: float
    confidence: float
    speaker: Annotated[int | None, Field(description="Absent without diarization")] = None


class CoverageBody(BaseModel):
    """Seconds of speech found in the file, and how many of them were transcribed."""

    speech: float
    transcribed: float


class TranscriptBody(BaseModel):
    """POST /v1/transcribe with format=json."""

    text: str
    words: list[WordBody]
    duration: float
    language: str
    coverage: CoverageBody
    declared_duration: Annotated[
        float | None, Field(description="Present when the file is shorter than its header says")
    ] = None
    diarization: Annotated[
        Literal["done", "failed"] | None, Field(description="Present when speakers were asked for")
    ] = None
    channels: Annotated[
        int | None, Field(description="How many were transcribed by themselves; present with channels=split")
    ] = None


class Problem(BaseModel):
    """Every error of the native door."""

    error: str
    message: str = Field(description="The same text as `error`")
    code: str
    retry_after_ms: Annotated[int | None, Field(description="Present where Retry-After is")] = None


def _documented(description: str) -> dict[str, Any]:
    return {"model": Problem, "description": description}


ERRORS: dict[int | str, dict[str, Any]] = {
    400: {
        "description": "`empty_body`, `invalid_format`, `invalid_option`, `unsupported_task`; plain text for a query "
        "parameter of the wrong type",
        "content": {
            "text/plain": {"schema": {"type": "string"}},
        },
        "model": Problem,
    },
    401: _documented("`invalid_api_key`, where the server asks for keys; /v1/models tells it in OpenAI's shape"),
    403: _documented("`origin_denied`, `host_denied`"),
    408: _documented("`body_timeout`"),
    409: _documented("`diarization_not_available`: the models that tell speakers apart are not here"),
    413: _documented("`payload_too_large`"),
    429: _documented("`rate_limited`, `quota_exceeded`, with Retry-After"),
    422: _documented("`transcription_error` or `invalid_audio`: the file cannot be decoded or is too long"),
    500: _documented("`internal`"),
    503: _documented("`timeout` and `model_not_ready` with Retry-After, `pool_closed`, `initializing`"),
    504: _documented("`inference_timeout`"),
}
"""Responses that every native route documents."""
