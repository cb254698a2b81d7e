"""`/v1/audio/transcriptions` and `/v1/audio/translations`: OpenAI's audio API over the same recogniser."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from molva import tracing
from molva.engines.base import EngineInfo, Options, Task
from molva.errors import AudioError, DiarizationUnavailable, MolvaError, OptionError, ShuttingDown
from molva.http.disconnect import unless_disconnected
from molva.http.multipart import read_form, spooled
from molva.http.openai.answers import (
    MEDIA_TYPES,
    json_body,
    logprobs,
    speaker_segments,
    text_body,
)
from molva.http.openai.form import FORMATS, TRANSLATION_FORMATS, Wishes, parse_fields, require_file
from molva.http.openai.known_speakers import known_voices
from molva.http.openai.problems import INTERNAL, error_object
from molva.http.openai.schemas import ANSWERS, ERRORS, FORM
from molva.http.sse import EventStream, data_frame, with_heartbeats
from molva.http.state import Limits, ServerState, limits_of
from molva.models.choice import Candidate, candidate, choose
from molva.observer import Observer
from molva.runtime.recognizer import Recognition, check_audio
from molva.speech.clustering import Embedding, SpeakerCount
from molva.spool import SpoolFile
from molva.transcript import word_separator

log = logging.getLogger(__name__)

router = APIRouter(tags=["openai"])

STREAMED = ("json", "text", "diarized_json")
"""Formats that can be told piece by piece; the others come whole, also where a stream is asked for."""

KEEP_ALIVE = b": keep-alive\n\n"
DONE = b"data: [DONE]\n\n"


@router.post("/v1/audio/transcriptions", openapi_extra=FORM, responses={**ERRORS, **ANSWERS})
async def transcriptions(request: Request) -> Response:
    """Speech to text in the language that is spoken."""
    return await _serve(request, "transcribe")


@router.post("/v1/audio/translations", openapi_extra=FORM, responses={**ERRORS, **ANSWERS})
async def translations(request: Request) -> Response:
    """Speech in any language to English text, by a model that can translate."""
    return await _serve(request, "translate")


@router.options("/v1/audio/transcriptions", include_in_schema=False)
@router.options("/v1/audio/translations", include_in_schema=False)
async def preflight() -> Response:
    """Answer to a browser that asks before it sends."""
    return Response(status_code=204)


@dataclass(frozen=True)
class _Request:
    """What is asked for, and by whom."""

    wishes: Wishes
    options: Options
    state: ServerState
    limits: Limits
    audio: SpoolFile

    async def open(self) -> Recognition:
        """Wait for a place. What is wrong with the audio is found out first."""
        await check_audio(self.audio.path, max_duration_s=self.limits.upload_audio_s)
        recognizer = self.state.admit()
        diarized = self.wishes.response_format == "diarized_json"
        known: Sequence[Embedding] = ()
        if diarized:
            try:
                models = await recognizer.load_speakers()
            except DiarizationUnavailable as error:
                raise OptionError("response_format", f"response_format 'diarized_json': {error}") from error
            if self.wishes.known_speakers:
                known = await asyncio.to_thread(known_voices, self.wishes.known_speakers, models)
        return await recognizer.open(
            self.audio.path,
            self.options,
            model=self.wishes.model,
            max_duration_s=self.limits.upload_audio_s,
            rule=self.wishes.windows,
            speakers=SpeakerCount() if diarized else None,
            known_voices=known,
        )


async def _serve(request: Request, task: Task) -> Response:
    state: ServerState = request.app.state.server
    limits = limits_of(request)
    state.admit()
    async with AsyncExitStack() as work:
        audio = await work.enter_async_context(spooled(state.spool))
        form = await read_form(request, audio, max_file_bytes=limits.upload_bytes)
        require_file(form)
        formats = FORMATS if task == "transcribe" else TRANSLATION_FORMATS
        wishes = parse_fields(form.fields, await chooser(state, state.admit().info, task), formats=formats)
        asked = _Request(wishes, _options(wishes, task), state, limits, audio)
        if not (wishes.stream and wishes.response_format in STREAMED):
            return await unless_disconnected(request, _whole(asked, task))
        recognition = work.enter_context(await unless_disconnected(request, asked.open()))
        frames = with_heartbeats(_events(recognition, wishes, state.observer), heartbeat=KEEP_ALIVE)
        return EventStream(frames, work.pop_all(), cut=_trouble(str(ShuttingDown())))


async def chooser(state: ServerState, info: EngineInfo, task: Task) -> Callable[[str | None, str | None], str]:
    """Chooses by name and language among the models that are here now; `info`: of the main one."""
    served = Candidate(info.model, info.family, info.languages, "translate" in info.tasks)
    installed = await asyncio.to_thread(state.store.installed)
    others = [candidate(model.spec) for model in installed if model.spec.name != served.name]
    translate = task == "translate"
    return partial(choose, translate=translate, candidates=[served, *others], aliases=state.aliases)


def _options(wishes: Wishes, task: Task) -> Options:
    return Options(language=wishes.language, task=task, prompt=wishes.prompt, temperature=wishes.temperature)


async def _whole(asked: _Request, task: Task) -> Response:
    """The answer in one piece."""
    with await asked.open() as recognition:
        transcript = await recognition.transcript()
    asked.state.observer.audio_taken("openai", transcript.duration)
    media_type = MEDIA_TYPES.get(asked.wishes.response_format)
    # In a thread: ten hours of words are too many to lay out on the event loop.
    with tracing.span("render"):
        if media_type is not None:
            body = await asyncio.to_thread(text_body, transcript, asked.wishes.response_format)
            return Response(body, media_type=media_type)
        name = "transcribe" if task == "transcribe" else "translate"
        headers = {} if transcript.diarization is None else {"x-diarization": transcript.diarization}
        return await asyncio.to_thread(
            lambda: JSONResponse(json_body(transcript, asked.wishes, task=name), 200, headers)
        )


async def _events(recognition: Recognition, wishes: Wishes, observer: Observer) -> AsyncIterator[bytes]:
    """A delta for every segment; together they are the text, which `done` tells once more. Who spoke is known at the
    end only, so segments with speakers come there.

    No usage: of a stream, OpenAI's clients know that of tokens only.
    """
    told = 0
    all_logprobs: list[dict[str, object]] = []
    try:
        async for segment in recognition:
            text = word_separator(recognition.language) + segment.text if told else segment.text
            delta: dict[str, object] = {"type": "transcript.text.delta", "delta": text}
            if wishes.logprobs:
                delta["logprobs"] = logprobs(text, segment)
                all_logprobs += logprobs(text, segment)
            told += 1
            yield data_frame(delta)
        transcript = await recognition.transcript()
        observer.audio_taken("openai", transcript.duration)
        if wishes.response_format == "diarized_json":
            for spoken in speaker_segments(transcript, tuple(wishes.known_speakers)):
                yield data_frame(spoken)
        done: dict[str, object] = {"type": "transcript.text.done", "text": transcript.text}
        if wishes.logprobs:
            done["logprobs"] = all_logprobs
        yield data_frame(done)
        yield DONE
    except Exception as error:
        told_anyway = isinstance(error, AudioError | ShuttingDown)
        if not isinstance(error, MolvaError):
            log.exception("a stream broke off")
        yield _trouble(str(error) if told_anyway else INTERNAL)


def _trouble(message: str) -> bytes:
    return data_frame({"type": "error", "error": error_object(500, message)})
