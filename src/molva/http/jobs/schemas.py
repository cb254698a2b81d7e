"""Shapes of this door's answers, for the OpenAPI document and for building them."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

State = Literal["unloaded", "loading", "waiting_for_gpu", "ready"]


class ModelInMemory(BaseModel):
    """A model in memory or on its way there."""

    id: str
    state: State
    users: Annotated[int, Field(description="Requests and sessions that use it or wait for it")]


class ModelStatus(BaseModel):
    """GET /model/status. What does not belong to the state, or is not known, is absent."""

    state: State
    loaded_at: Annotated[str | None, Field(description="RFC 3339; when ready")] = None
    vram_needed_mb: Annotated[int | None, Field(description="Estimate; when waiting_for_gpu")] = None
    vram_free_mb: Annotated[int | None, Field(description="When waiting_for_gpu")] = None
    retry_in_secs: Annotated[int | None, Field(description="When waiting_for_gpu")] = None
    vram_used_mb: int | None = None
    vram_total_mb: int | None = None
    model: Annotated[str, Field(description="The main model, which the other keys are about")]
    models: Annotated[list[ModelInMemory], Field(description="All models in memory; the one used last is the last")]


class LoadAnswer(BaseModel):
    """POST /model/load."""

    status: Literal["already_ready", "load_initiated"]


class UnloadAnswer(BaseModel):
    """POST /model/unload."""

    status: Literal["unload_requested"] = "unload_requested"


class JobsProblem(BaseModel):
    """Every error of this door, and of the door of jobs."""

    error: str
    code: str
    retry_after_ms: Annotated[int | None, Field(description="Present where Retry-After is")] = None
    state: Annotated[str | None, Field(description="Of the model, with `model_not_ready`")] = None
    retry_after_secs: Annotated[int | None, Field(description="As Retry-After, with `model_not_ready`")] = None


def documented(description: str) -> dict[str, Any]:
    """An error, for the OpenAPI document."""
    return {"model": JobsProblem, "description": description}


ERRORS: dict[int | str, dict[str, Any]] = {
    400: documented("`invalid_option`"),
    401: documented("`invalid_api_key`, where the server asks for keys"),
    403: documented("`origin_denied`, `host_denied`"),
    413: documented("`payload_too_large`"),
    429: documented("`rate_limited`, `quota_exceeded`, with Retry-After"),
    500: documented("`internal`"),
    503: documented("`pool_closed`, `initializing`"),
}
"""Responses that every route of this door documents."""

NO_MODEL = documented("`unknown_model`, `model_not_installed`")
