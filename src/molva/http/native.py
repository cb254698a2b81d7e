"""The native door over REST and SSE, wire-compatible with gigastt."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from starlette.responses import JSONResponse, StreamingResponse

from molva import __version__, tracing
from molva.engines.base import Options, Task
from molva.errors import (
    AudioError,
    EmptyAudio,
    InferenceError,
    InferencePanic,
    InferenceTimeout,
    MolvaError,
    ShuttingDown,
)
from molva.formats.json import word_object
from molva.http.clock import unix_time
from molva.http.disconnect import unless_disconnected
from molva.http.openai.models import model_objects
from molva.http.openai.schemas import ERRORS as OPENAI_ERRORS
from molva.http.problems import problem, problem_of
from molva.http.rendering import Rendering
from molva.http.schemas import ERRORS, Health, ModelInfo, NotReady, Ready, TranscriptBody
from molva.http.speakers import ChannelsQuery, SpeakerWish
from molva.http.sse import EventStream, data_frame, with_heartbeats
from molva.http.state import ServerState, limits_of
from molva.observer import Observer
from molva.runtime.recognizer import Recognition, check_audio
from molva.samples import SAMPLE_RATE

log = logging.getLogger(__name__)

router = APIRouter()

AUDIO_BODY = {
    "requestBody": {
        "required": True,
        "description": "The file itself. Its container and codec are told from its bytes; Content-Type is ignored.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}

FAILED = "Transcription failed. Check audio format."
UNDECODABLE = "Failed to decode audio file. Check format (WAV, MP3, M4A, OGG, FLAC supported)."

SUPPORTED_FORMATS = ["wav", "mp3", "m4a", "ogg", "flac"]
SUPPORTED_RATES = [8000, 16000, 24000, 44100, 48000]


@router.get("/health", tags=["system"])
async def health(request: Request) -> Health:
    """Whether the process serves. Always 200."""
    state: ServerState = request.app.state.server
    info = state.recognizer.info if state.recognizer else None
    return Health(
        model=state.model,
        version=__version__,
        device=state.device,
        loaded=state.model_state.state == "ready",
        model_state=state.model_state.state,
        queue_depth=state.jobs.waiting if state.jobs else 0,
        gpu_name=state.gpu.name if state.gpu else None,
        vram_total_mb=state.gpu.total_mb if state.gpu else None,
        variant=info.variant if info else None,
        punctuation=info.punctuation if info else None,
        itn=info.punctuation if info else None,
        diarization=state.recognizer is not None and state.recognizer.diarizes,
    )


@router.get("/ready", tags=["system"], response_model=Ready, responses={503: {"model": NotReady}})
async def ready(request: Request) -> Response:
    """Whether a request sent now would find a free place."""
    state: ServerState = request.app.state.server
    available, total = state.pool_available, state.pool_size
    if not state.serving.is_set():
        answer = NotReady(reason="initializing")
    elif state.draining:
        answer = NotReady(pool_available=available, pool_total=total, reason="shutting_down")
    elif state.model_state.state != "ready":
        answer = NotReady(reason="initializing")
    elif available == 0:
        answer = NotReady(pool_available=available, pool_total=total, reason="pool_exhausted")
    else:
        return JSONResponse(Ready(pool_available=available, pool_total=total).model_dump())
    return JSONResponse(answer.model_dump(exclude_none=True), 503)


@router.get("/v1/models", tags=["native"], responses={**ERRORS, 401: OPENAI_ERRORS[401]})
async def models(request: Request) -> ModelInfo:
    """The main model, in gigastt's shape and OpenAI's list at once."""
    state: ServerState = request.app.state.server
    recognizer = state.admit()
    info = recognizer.info
    return ModelInfo(
        id=info.model,
        name=info.title,
        version=__version__,
        encoder=info.precision,
        vocab_size=info.vocabulary_size,
        sample_rate=SAMPLE_RATE,
        pool_size=state.pool_size,
        pool_available=state.pool_available,
        supported_formats=SUPPORTED_FORMATS,
        supported_rates=SUPPORTED_RATES,
        diarization=recognizer.diarizes,
        variant=info.variant,
        punctuation=info.punctuation,
        itn=info.punctuation,
        data=await model_objects(state),
    )


@router.post(
    "/v1/transcribe",
    tags=["native"],
    openapi_extra=AUDIO_BODY,
    response_model=TranscriptBody,
    responses=ERRORS,
)
async def transcribe(
    request: Request,
    rendering: Annotated[Rendering, Depends()],
    wish: Annotated[SpeakerWish, Depends()],
    language: Annotated[str | None, Query(description="ISO 639-1 code; absent or auto lets the model tell")] = None,
    task: Annotated[Task, Query(description="translate goes to English, where the model can")] = "transcribe",
) -> Response:
    """Transcribe a whole file."""
    state: ServerState = request.app.state.server
    recognizer = state.admit()
    body = await _read_body(request)
    rendering.check()
    options = _options(language, task)
    speakers = wish.count(by_default=state.diarization and recognizer.diarizes)

    async def run() -> Response:
        limits = limits_of(request)
        timeout_s = limits.inference_timeout_s
        with await recognizer.open(
            body,
            options,
            max_duration_s=limits.max_audio_s,
            timeout_s=timeout_s,
            speakers=speakers,
            channels=wish.channels,
        ) as recognition:
            started = time.perf_counter()
            try:
                async with asyncio.timeout(timeout_s):
                    transcript = await recognition.transcript()
            except TimeoutError:
                recognition.give_up()
                raise InferenceTimeout from None
        state.observer.inferred(time.perf_counter() - started)
        state.observer.audio_taken("native", transcript.duration)
        with tracing.span("render"):
            return await rendering.answer(transcript)

    return await unless_disconnected(request, run())


@router.post(
    "/v1/transcribe/stream",
    tags=["native"],
    openapi_extra=AUDIO_BODY,
    response_class=StreamingResponse,
    responses={**ERRORS, 200: {"content": {"text/event-stream": {}}, "description": "Events `final` and `error`"}},
)
async def transcribe_stream(request: Request, channels: ChannelsQuery = "mix") -> Response:
    """Transcribe a file and send each stretch of it as soon as it is final."""
    state: ServerState = request.app.state.server
    recognizer = state.admit()
    body = await _read_body(request)
    max_duration_s = limits_of(request).max_audio_s

    async def begin() -> Recognition:
        await check_audio(body, max_duration_s=max_duration_s, channels=channels)
        return await recognizer.open(body, Options(), max_duration_s=max_duration_s, channels=channels)

    recognition = await unless_disconnected(request, begin())
    work = AsyncExitStack()
    work.enter_context(recognition)
    frames = _segment_frames(recognition, state.observer)
    return EventStream(with_heartbeats(frames), work, cut=_trouble(ShuttingDown()))


async def _segment_frames(recognition: Recognition, observer: Observer) -> AsyncIterator[bytes]:
    """A `final` for every segment; an `error` in the stream for what goes wrong after its first byte."""
    try:
        async for segment in recognition:
            words = [word_object(word) for word in segment.words]
            yield data_frame(
                {"type": "final", "text": segment.text, "timestamp": round(unix_time(), 3), "words": words}
            )
        observer.audio_taken("sse", (await recognition.transcript()).duration)
    except MolvaError as error:
        yield _trouble(error)
    except Exception:
        log.exception("a stream broke off")
        yield _trouble(InferencePanic())


def _trouble(error: MolvaError) -> bytes:
    code = "invalid_audio" if isinstance(error, AudioError) else error.code
    is_told = isinstance(error, AudioError | InferencePanic | ShuttingDown)
    return data_frame({"type": "error", "message": str(error) if is_told else "Transcription failed.", "code": code})


@router.options("/v1/transcribe", include_in_schema=False)
@router.options("/v1/transcribe/stream", include_in_schema=False)
@router.options("/v1/models", include_in_schema=False)
async def preflight() -> Response:
    """Answer to a browser that asks before it sends; the origin middleware adds the headers."""
    return Response(status_code=204)


def problem_for(path: str, error: MolvaError) -> Response:
    """The native body for an error. The two file routes have names of their own for audio that cannot be decoded."""
    if isinstance(error, EmptyAudio) or not isinstance(error, AudioError | InferenceError):
        return problem_of(error)
    if path == "/v1/transcribe/stream":
        return problem(422, "invalid_audio", UNDECODABLE)
    return problem(422, "transcription_error", FAILED)


async def _read_body(request: Request) -> bytes:
    """The whole body in memory: native routes never touch the disk. The middleware bounds its size."""
    body = await request.body()
    if not body:
        raise EmptyAudio
    return body


def _options(language: str | None, task: Task) -> Options:
    return Options(language=None if language in (None, "", "auto") else language.lower(), task=task)
