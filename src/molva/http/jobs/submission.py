"""`POST /jobs`: a recording of any size goes to the disk, and is a job once the answer says so."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import PurePosixPath
from typing import Annotated
from urllib.parse import unquote

from fastapi import APIRouter, Depends, Header, Request
from starlette.responses import JSONResponse, Response

from molva.errors import (
    AddressRefused,
    EmptyAudio,
    ModelNotReady,
    OptionError,
    ShuttingDown,
    UnsupportedOperation,
    UnsupportedTask,
)
from molva.http.disconnect import unless_disconnected
from molva.http.filenames import base_name
from molva.http.jobs.access import OurJobs, jobs_of
from molva.http.jobs.form import Wishes, digest_of, parse_form
from molva.http.jobs.shapes import FORM, SUBMISSION_ERRORS, Submitted
from molva.http.middleware import KEY_NAME
from molva.http.multipart import Form, read_form, spooled
from molva.http.openai.transcriptions import chooser
from molva.http.state import ServerState
from molva.jobs.job import Submission
from molva.jobs.store import Idempotency
from molva.outbound.url import parse_url
from molva.runtime.model_state import LOADING
from molva.spool import SpoolFile
from molva.threads import ThreadPool

router = APIRouter(tags=["jobs"], dependencies=[Depends(jobs_of)])

KEEP_FREE_BYTES = 256 * 2**20
"""Of the disk: whatever is sent, jobs that are already here can be finished."""
MAX_KEY_LENGTH = 255

_fetchers = ThreadPool(8, thread_name_prefix="fetching")
"""Others may send as slowly as they like, for minutes: the threads that every other request needs are not for that."""

IdempotencyKey = Annotated[
    str | None,
    Header(
        description="Sent again with the same submission, it makes no second job",
        json_schema_extra={"minLength": 1, "maxLength": MAX_KEY_LENGTH, "pattern": "^[ -~]+$"},
    ),
]


@router.post("/jobs", status_code=202, response_model=Submitted, openapi_extra=FORM, responses=SUBMISSION_ERRORS)
async def submit(request: Request, jobs: OurJobs, idempotency_key: IdempotencyKey = None) -> Response:
    """Have a recording transcribed when its turn comes."""
    state: ServerState = request.app.state.server
    if state.draining:
        raise ShuttingDown
    _check_key(idempotency_key)
    refusal = ready_or_load(state)
    async with AsyncExitStack() as work:
        if refusal is not None:
            # The audio is dropped; the address that wants to hear when the model is ready may come after it.
            wishes = _wishes(state, await _read(request, None))
            if wishes.webhook_url is not None:
                jobs.register(wishes.webhook_url)
            raise refusal
        audio = await work.enter_async_context(spooled(state.spool, keep_free=KEEP_FREE_BYTES))
        await _expect_body(request, audio)
        form = await _read(request, audio)
        wishes = _wishes(state, form)
        submission = _submission(await _choose_model(state, wishes), wishes, form)
        if wishes.speakers is not None and state.recognizer is not None:
            await state.recognizer.load_speakers()
        if wishes.webhook_url is not None:
            jobs.register(wishes.webhook_url)
        idempotency = None
        if idempotency_key is not None:
            digest = await asyncio.to_thread(digest_of, form, audio.path)
            scope = request.scope.get("state", {}).get(KEY_NAME, "")
            idempotency = Idempotency(scope, idempotency_key, digest)
            if (known := await jobs.submitted_before(idempotency)) is not None:
                return _accepted(known.id, replayed=True)
        if wishes.audio_url is not None:
            await unless_disconnected(request, _fetch(state, wishes.audio_url, audio))
        job, replayed = await jobs.submit(submission, audio, idempotency)
    return _accepted(job.id, replayed=replayed)


@router.options("/jobs", include_in_schema=False)
async def preflight() -> Response:
    """Answer to a browser that asks before it sends."""
    return Response(status_code=204)


def ready_or_load(state: ServerState) -> ModelNotReady | None:
    """Why no job is accepted now; None where one is. A model that is missing is loaded from now on.

    Another model that has taken the memory is no reason: jobs wait for their model in their turn.
    """
    found, recognizer = state.model_state, state.recognizer
    if recognizer is None or not state.serving.is_set():
        return LOADING.not_ready()
    if found.state == "ready" or any(model.state == "ready" for model in recognizer.in_memory):
        return None
    recognizer.begin_load()
    return found.not_ready()


def _check_key(key: str | None) -> None:
    if key is not None and not (0 < len(key) <= MAX_KEY_LENGTH and key.isascii() and key.isprintable()):
        raise OptionError(
            "Idempotency-Key", f"Idempotency-Key must be 1 to {MAX_KEY_LENGTH} printable characters of ASCII"
        )


async def _expect_body(request: Request, audio: SpoolFile) -> None:
    """Raises SpoolFull where the disk will not hold what the headers promise."""
    declared = request.headers.get("content-length", "")
    await asyncio.to_thread(audio.expect, int(declared) if declared.isdecimal() else 0)


async def _read(request: Request, audio: SpoolFile | None) -> Form:
    try:
        return await read_form(request, audio, max_file_bytes=None, part="audio", forgiving=True)
    except OptionError as error:
        raise OptionError(error.option, f"multipart error: {error}") from error


def _wishes(state: ServerState, form: Form) -> Wishes:
    """What is asked for. Raises what is answered with 400, as far as it can be told without a model."""
    wishes = parse_form(form)
    if wishes.audio_url is not None and state.fetch is None:
        raise AddressRefused("This server fetches no recordings. Send the file itself, as 'audio'.")
    if wishes.audio_url is not None:
        parse_url(wishes.audio_url)
    if wishes.webhook_url is not None:
        state.check_webhook_url(wishes.webhook_url)
    return wishes


async def _choose_model(state: ServerState, wishes: Wishes) -> str:
    assert state.recognizer is not None  # noqa: S101 - see ready_or_load
    # Also while the server drains: an upload that comes to its end then is a job for the next one.
    choose = await chooser(state, state.recognizer.info, wishes.task)
    try:
        return choose(wishes.model, wishes.language)
    except UnsupportedOperation:
        raise UnsupportedTask(wishes.task) from None


def _submission(model: str, wishes: Wishes, form: Form) -> Submission:
    if form.file is not None:
        filename = form.file.name
    else:
        assert wishes.audio_url is not None  # noqa: S101 - see parse_form
        filename = base_name(unquote(PurePosixPath(parse_url(wishes.audio_url).path.partition("?")[0]).name))
    return Submission(
        model=model,
        task=wishes.task,
        language=wishes.language,
        priority=wishes.priority,
        webhook_url=wishes.webhook_url,
        filename=filename or None,
        channels=wishes.channels,
        speakers=wishes.speakers,
    )


async def _fetch(state: ServerState, url: str, audio: SpoolFile) -> None:
    assert state.fetch is not None  # noqa: S101 - see _wishes
    await asyncio.get_running_loop().run_in_executor(_fetchers, state.fetch, url, audio)
    if not audio.path.stat().st_size:
        raise EmptyAudio("the file at audio_url is empty")


def _accepted(job_id: str, *, replayed: bool) -> Response:
    headers = {"idempotent-replayed": "true"} if replayed else {}
    return JSONResponse(Submitted(job_id=job_id).model_dump(), 202, headers)
