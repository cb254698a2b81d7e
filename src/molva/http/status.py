"""`/v1/status`: how things stand, for the page and for scripts. `/metrics` has the same for Prometheus, and more."""

import asyncio
import os
import resource
import time
from contextlib import suppress
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from molva import __version__
from molva.errors import ShuttingDown, StoreError
from molva.http.jobs.schemas import State
from molva.http.schemas import ERRORS
from molva.http.state import ServerState
from molva.runtime.queue import Priority
from molva.runtime.slots import Slots

router = APIRouter()

STATM = Path("/proc/self/statm")


class ModelHere(BaseModel):
    """A model on this machine."""

    id: str
    main: Annotated[bool, Field(description="Whether it serves whoever asks for no model")]
    state: State
    users: Annotated[int, Field(description="Requests and sessions that use it or wait for it")]
    precision: Annotated[str | None, Field(description="Of the encoder's weights; null before the first load")] = None
    real_time_factor: Annotated[
        float | None, Field(description="A worker's seconds for a second of audio, lately; null where it is not known")
    ] = None


class Places(BaseModel):
    """How many callers are served at once, and how many wait."""

    total: int
    taken: int
    waiting: int


class Queue(BaseModel):
    """Windows that wait for an engine, by class."""

    live_final: int
    live_partial: int
    request: int
    job: int


class JobCounts(BaseModel):
    """Jobs in the database, whichever server runs them."""

    queued: int = 0
    running: int = 0
    done: int = 0
    failed: int = 0
    cancelled: int = 0


class Status(BaseModel):
    """GET /v1/status."""

    version: str
    device: str
    cores: Annotated[int, Field(description="Of the machine")]
    uptime_s: float
    cpu_s: Annotated[float, Field(description="Processor time of the process so far")]
    memory_bytes: Annotated[int | None, Field(description="Of the process; null but on Linux")]
    stopping: bool
    models: list[ModelHere]
    sessions: Annotated[Places | None, Field(description="Live sessions; null before the model's files are here")]
    requests: Annotated[Places | None, Field(description="The same places as `sessions` with `--pool-size`")]
    queue: Queue
    jobs: Annotated[JobCounts | None, Field(description="Null where jobs are switched off or their database is ill")]


@router.get("/v1/status", tags=["system"], responses={status: ERRORS[status] for status in (401, 403, 429, 500)})
async def status(request: Request) -> Status:
    """Models, places, queue and jobs as they are now. Answers also while the server starts and while it stops."""
    state: ServerState = request.app.state.server
    used = resource.getrusage(resource.RUSAGE_SELF)
    recognizer = state.recognizer
    waiting = {} if recognizer is None else recognizer.waiting
    return Status(
        version=__version__,
        device=state.device,
        cores=os.cpu_count() or 1,
        uptime_s=round(time.monotonic() - state.started, 1),
        cpu_s=round(used.ru_utime + used.ru_stime, 2),
        memory_bytes=_memory_bytes(),
        stopping=state.draining,
        models=await _models(state),
        sessions=None if recognizer is None else _places(recognizer.admission.sessions),
        requests=None if recognizer is None else _places(recognizer.admission.requests),
        queue=Queue(**{priority.name.lower(): waiting.get(priority, 0) for priority in Priority}),
        jobs=await _jobs(state),
    )


@router.options("/v1/status", include_in_schema=False)
async def preflight() -> Response:
    """Answer to a browser that asks before it sends."""
    return Response(status_code=204)


async def _models(state: ServerState) -> list[ModelHere]:
    """The main one first, then the others on the disk."""
    installed = await asyncio.to_thread(state.store.installed)
    names = dict.fromkeys([state.model, *(model.spec.name for model in installed)])
    return [_model(state, name) for name in names]


def _model(state: ServerState, name: str) -> ModelHere:
    model = ModelHere(id=name, main=name == state.model, state="unloaded", users=0)
    recognizer = state.recognizer
    if model.main:
        model.state = state.model_state.state
    if recognizer is None:
        return model
    model.state = recognizer.model_state(name).state
    model.users = next((other.users for other in recognizer.in_memory if other.name == name), 0)
    model.precision = info.precision if (info := recognizer.info_of(name)) else None
    model.real_time_factor = recognizer.real_time_factor(name)
    return model


def _places(slots: Slots) -> Places:
    return Places(total=slots.total, taken=slots.taken, waiting=slots.waiting)


async def _jobs(state: ServerState) -> JobCounts | None:
    if state.jobs is None:
        return None
    with suppress(StoreError, ShuttingDown):  # the rest is worth telling, and the log tells of this
        return JobCounts(**{str(status): n for status, n in (await state.jobs.counts()).items()})
    return None


def _memory_bytes() -> int | None:
    try:
        return int(STATM.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return None
