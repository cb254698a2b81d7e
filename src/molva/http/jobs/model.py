"""`/model/…`: where the main model is in its life, and how to change that. Other models may be named too."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from starlette.responses import JSONResponse

from molva.errors import ShuttingDown
from molva.http.jobs.schemas import ERRORS, NO_MODEL, LoadAnswer, ModelInMemory, ModelStatus, UnloadAnswer
from molva.http.sse import CLOSING, EventStream, event_frame, with_heartbeats
from molva.http.state import ServerState
from molva.models.catalog import find
from molva.runtime.gpu import read_gpu
from molva.runtime.model_state import ModelEvent

router = APIRouter(prefix="/model", tags=["model"])

BUFFER = 32
"""Events that wait for a slow reader; it loses the oldest."""

ModelName = Annotated[
    str | None, Query(alias="model", max_length=64, description="A model on this machine; absent for the main one")
]


@router.get("/status", response_model_exclude_none=True, responses=ERRORS)
async def status(request: Request) -> ModelStatus:
    """Where the main model is in its life. Loads nothing."""
    state: ServerState = request.app.state.server
    gpu = await asyncio.to_thread(read_gpu) if state.device == "cuda" else None
    in_memory = [] if state.recognizer is None else state.recognizer.in_memory
    return ModelStatus(
        **state.model_state.document(),
        vram_used_mb=gpu.used_mb if gpu else None,
        vram_total_mb=gpu.total_mb if gpu else None,
        model=state.model,
        models=[ModelInMemory(id=name, state=where, users=users) for name, where, users in in_memory],
    )


@router.post(
    "/load",
    status_code=202,
    response_model=LoadAnswer,
    responses={**ERRORS, 200: {"model": LoadAnswer, "description": "It is ready already"}, 404: NO_MODEL},
)
async def load(request: Request, name: ModelName = None) -> Response:
    """Have a model loaded. Does not wait for it, and does nothing where it is on its way."""
    state: ServerState = request.app.state.server
    if state.draining:
        raise ShuttingDown
    name = await _installed(state, name)
    if state.recognizer is None:
        state.load_at_start = True
        return JSONResponse(LoadAnswer(status="load_initiated").model_dump(), 202)
    is_ready = state.recognizer.model_state(name).state == "ready"
    state.recognizer.begin_load(name)
    if is_ready:
        return JSONResponse(LoadAnswer(status="already_ready").model_dump(), 200)
    return JSONResponse(LoadAnswer(status="load_initiated").model_dump(), 202)


@router.post("/unload", responses={**ERRORS, 404: NO_MODEL})
async def unload(request: Request, name: ModelName = None) -> UnloadAnswer:
    """Have a model dropped, after those who use it now."""
    state: ServerState = request.app.state.server
    name = await _installed(state, name)
    if state.recognizer is None:
        state.load_at_start = False
    else:
        state.recognizer.unload(name)
    return UnloadAnswer()


@router.get(
    "/events",
    response_class=Response,
    responses={**ERRORS, 200: {"content": {"text/event-stream": {}}, "description": "`model_…` events, without end"}},
)
async def events(request: Request) -> Response:
    """What becomes of the main model from now on."""
    state: ServerState = request.app.state.server
    if state.draining:
        raise ShuttingDown
    subscription, work = _Subscription(), AsyncExitStack()
    state.model_listeners.append(subscription.put)
    work.callback(state.model_listeners.remove, subscription.put)
    return EventStream(with_heartbeats(subscription.frames(state.drained)), work)


@router.options("/status", include_in_schema=False)
@router.options("/load", include_in_schema=False)
@router.options("/unload", include_in_schema=False)
@router.options("/events", include_in_schema=False)
async def preflight() -> Response:
    """Answer to a browser that asks before it sends."""
    return Response(status_code=204)


class _Subscription:
    """Events on their way to one reader."""

    def __init__(self) -> None:
        self._events: deque[ModelEvent] = deque(maxlen=BUFFER)
        self._changed = asyncio.Event()

    def put(self, event: ModelEvent) -> None:
        """Queue an event, in the place of the oldest where too many wait."""
        self._events.append(event)
        self._changed.set()

    async def frames(self, drained: asyncio.Event) -> AsyncIterator[bytes]:
        """What was put, until the server drains."""
        while not drained.is_set():
            self._changed.clear()
            while self._events:
                event = self._events.popleft()
                yield event_frame(event.type, event.document())
            waits = [asyncio.ensure_future(self._changed.wait()), asyncio.ensure_future(drained.wait())]
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()
        yield CLOSING


async def _installed(state: ServerState, name: str | None) -> str | None:
    """The name of a model on this machine, None for the main one. Raises UnknownModel, ModelNotInstalled."""
    if not name or name == state.model:
        return None
    await asyncio.to_thread(state.store.require, find(name))
    return name
