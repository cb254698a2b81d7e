"""Recognition for many callers at once: a place for each, a thread for its audio, one scheduler for all windows.

The bridge between the event loop and blocking code. Every way out gives the place back, and only when the work has
really ended.
"""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Self

from molva import tracing
from molva.audio.array import AnySource, open_audio
from molva.engines.base import EngineInfo, Options
from molva.errors import Busy, DiarizationUnavailable, ModelNotReady, MolvaError
from molva.observer import NOBODY, Observer
from molva.runtime.admission import Admission
from molva.runtime.diarization import Diarization
from molva.runtime.fleet import Fleet, InMemory, Lease
from molva.runtime.futures import in_context, when_done
from molva.runtime.live import Event, LiveStream
from molva.runtime.metering import METER
from molva.runtime.model_state import ModelEvent, ModelState
from molva.runtime.queue import Priority
from molva.runtime.scheduler import Scheduler
from molva.runtime.speakers import SpeakerModels, Speakers
from molva.runtime.transcription import Transcription
from molva.samples import Channels
from molva.speech.chunks import WindowRule
from molva.speech.clustering import Embedding, SpeakerCount
from molva.speech.live import LiveRule
from molva.speech.vad import VadModel
from molva.threads import ThreadPool
from molva.transcript import Segment, Transcript


class Recognition:
    """One recording in the works: await the whole, or iterate for its segments as they become final.

    A context manager that owns a place. Leaving it stops the work at the next window; the place is free again once
    the step in hand has ended.
    """

    def __init__(
        self,
        transcription: Transcription,
        cancelled: threading.Event,
        threads: ThreadPool,
        leave: Callable[[], None],
    ) -> None:
        self._transcription = transcription
        self._segments = iter(transcription)
        self._cancelled = cancelled
        self._threads = threads
        self._leave = leave
        self._step: asyncio.Future[Segment | None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cancelled.set()
        if self._step is None:
            self._finish()
        else:
            self._step.add_done_callback(self._finish)

    def give_up(self) -> None:
        """Another worker takes over from one that hangs in this recording. The place stays taken until its run ends."""
        self._transcription.give_up()

    @property
    def language(self) -> str:
        """Of the text, settled with the first segment."""
        return self._transcription.language

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Segment:
        """The next segment. May be cancelled and asked again, as a heartbeat does; nothing is lost."""
        if self._step is None:
            loop = asyncio.get_running_loop()
            self._step = loop.run_in_executor(self._threads, in_context(lambda: next(self._segments, None)))
        segment = await asyncio.shield(self._step)
        self._step = None
        if segment is None:
            raise StopAsyncIteration
        return segment

    async def transcript(self) -> Transcript:
        """The whole result."""
        async for _ in self:
            pass
        result = self._transcription.transcript
        assert result is not None  # noqa: S101 - set by the end of the iteration
        return result

    def _finish(self, step: "asyncio.Future[Segment | None] | None" = None) -> None:
        if step is not None and not step.cancelled():
            step.exception()  # nobody waits for it any more
        self._segments.close()
        when_done(self._transcription.running, self._leave)


class LivePlace:
    """The place of a live session, and the model it will use."""

    def __init__(
        self,
        lend: Callable[[str], Awaitable[Lease]],
        lease: Lease,
        vad: VadModel,
        free: Callable[[], None],
        observer: Observer,
        speakers: SpeakerModels | None = None,
    ) -> None:
        self.speakers = speakers
        """What tells them apart, where it is loaded."""
        self._lend = lend
        self._lease: Lease | None = lease
        self._info = lease.lane.info
        self._vad = vad
        self._free = free
        self._observer = observer
        self._stream: LiveStream | None = None
        self._meter = METER.get()

    @property
    def info(self) -> EngineInfo:
        return self._info

    async def change_model(self, model: str) -> None:
        """Use another one. The session has to be opened again; nothing may have been fed to it.

        Raises Busy, ModelError; the place has the model it had then.
        """
        assert self._lease is not None  # noqa: S101 - it is None only while this waits
        before, self._lease = self._lease, None
        before.release()  # the only room for the new one may be where the old one is
        try:
            self._lease = await self._lend(model)
        except MolvaError:
            self._lease = await self._lend(self._info.model)
            raise
        self._info = self._lease.lane.info

    def open(self, *, rule: LiveRule, rate: int, timeout_s: float | None, emit: Callable[[Event], None]) -> LiveStream:
        """The session itself; see `LiveStream`."""
        assert self._lease is not None  # noqa: S101 - see above
        self._stream = LiveStream(
            self._lease.lane,
            self._vad,
            rule=rule,
            rate=rate,
            timeout_s=timeout_s,
            emit=emit,
            observer=self._observer,
            on_audio=self._meter,
        )
        return self._stream

    def close(self) -> None:
        """End the session; the place is free once no run of it is left in the engine."""
        if self._stream is None:
            self._leave()
        else:
            self._stream.close(self._leave)

    def _leave(self) -> None:
        if self._lease is not None:
            self._lease.release()
        self._free()


class Recognizer:
    """The models and the machinery that all callers share."""

    def __init__(
        self,
        scheduler: Scheduler,
        fleet: Fleet,
        vad: VadModel,
        admission: Admission,
        expected: EngineInfo,
        observer: Observer = NOBODY,
        speakers: Speakers | None = None,
    ) -> None:
        """`expected` is what is known, before it is loaded, of the model that serves whoever asks for none. Without
        `speakers` none are told apart.
        """
        self.admission = admission
        self._scheduler = scheduler
        self._fleet = fleet
        self._vad = vad
        self._expected = expected
        self._observer = observer
        self._speakers = speakers
        self._threads = ThreadPool(admission.requests.total, thread_name_prefix="transcription")
        self._listeners: list[Callable[[ModelEvent], None]] = []
        fleet.watchers.append(self._on_change)

    @property
    def info(self) -> EngineInfo:
        """Of the main model, which serves whoever asks for none, as it was when it was loaded last."""
        return self._fleet.info(self._expected.model) or self._expected

    def info_of(self, name: str) -> EngineInfo | None:
        """Of any model, as it was when it was loaded last; None before that."""
        return self._fleet.info(name)

    @property
    def diarizes(self) -> bool:
        """Whether the models that tell speakers apart are loaded."""
        return self._speakers is not None and self._speakers.models is not None

    async def load_speakers(self) -> SpeakerModels:
        """The models that tell speakers apart, loaded first where they are not. Raises DiarizationUnavailable."""
        if self._speakers is None:
            raise DiarizationUnavailable("This server has no models for it.")
        return await asyncio.to_thread(self._speakers.load)

    @property
    def in_memory(self) -> list[InMemory]:
        """All models in memory or on their way there."""
        return self._fleet.in_memory

    @property
    def waiting(self) -> dict[Priority, int]:
        """Windows that wait for an engine, by class."""
        return self._scheduler.waiting

    @property
    def stuck(self) -> bool:
        """Whether nothing is decoded, because every worker hangs."""
        return self._scheduler.stuck

    def real_time_factor(self, name: str) -> float | None:
        """Of a model that is ready: seconds of a worker per second of audio, lately; None where it is not known."""
        lane = self._fleet.lane(name)
        return None if lane is None else lane.real_time_factor

    def model_state(self, name: str | None = None) -> ModelState:
        """Where a model, the main one by default, is in its life."""
        return self._fleet.state(name or self._expected.model)

    def begin_load(self, name: str | None = None) -> None:
        """Have a model loaded and return at once. Changes nothing where it is ready or on its way."""
        self._fleet.begin_load(name or self._expected.model)

    def unload(self, name: str | None = None) -> None:
        """Have a model dropped: at once, or after those who use it now. Nothing where it is not in memory."""
        self._fleet.unload(name or self._expected.model)

    async def lease(self, name: str | None = None, *, timeout_s: float | None = None) -> Lease:
        """A model, loaded first where it is not; it stays until the lease is given back.

        `timeout_s`: longest wait; None waits as long as it takes. Raises ModelError, Busy when the wait was too long,
        ModelNotReady when the model is unloaded while it waits for the GPU.
        """
        return await self._fleet.lease(name or self._expected.model, timeout_s=timeout_s)

    def change_idle_timeout(self, idle_timeout_s: float | None) -> None:
        """Another time after which a model that nobody uses is dropped; None keeps it."""
        self._fleet.change_idle_timeout(idle_timeout_s)

    def on_model_event(self, callback: Callable[[ModelEvent], None]) -> Callable[[], None]:
        """Have `callback` called on the event loop whenever the main model comes into another state.

        Returns what ends that, to be called once.
        """
        self._listeners.append(callback)
        return lambda: self._listeners.remove(callback)

    async def admit_session(self, model: str | None = None) -> LivePlace:
        """Wait for the place of a live session. Raises Busy, ShuttingDown, ModelError."""
        lease = await self._lend(model)
        try:
            self.admission.measure(lease.lane)
            await self.admission.sessions.acquire()
        except BaseException:
            lease.release()
            raise
        speakers = None if self._speakers is None else self._speakers.models
        return LivePlace(self._lend, lease, self._vad, self.admission.sessions.release, self._observer, speakers)

    async def open(
        self,
        source: AnySource,
        options: Options,
        *,
        model: str | None = None,
        max_duration_s: float | None,
        timeout_s: float | None = None,
        rule: WindowRule | None = None,
        speakers: SpeakerCount | None = None,
        channels: Channels = "mix",
        known_voices: Sequence[Embedding] = (),
    ) -> Recognition:
        """Wait for a place. What is wrong with the audio comes from the recognition.

        `rule`: where windows are cut. `timeout_s`: after so long no window is begun any more, and the recognition
        raises InferenceTimeout. `speakers`: tell them apart; None does not. `known_voices` may be among them.
        `channels`: split, each is a speaker, and `speakers` must be None.
        Raises Busy, ShuttingDown, ModelError, DiarizationUnavailable, and OptionError for options that the engine
        cannot serve.
        """
        models = None if speakers is None else await self.load_speakers()
        lease = await self._lend(model)
        try:
            lease.lane.info.check(options)
            await self.admission.requests.acquire()
        except BaseException:
            lease.release()
            raise
        cancelled = threading.Event()
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        diarization = None
        if models is not None and speakers is not None:
            diarization = Diarization(models, speakers, deadline=deadline, known=known_voices)
        transcription = Transcription(
            source,
            lease.lane,
            self._vad,
            options,
            max_duration_s=max_duration_s,
            cancelled=cancelled,
            rule=rule,
            deadline=deadline,
            diarization=diarization,
            channels=channels,
        )

        meter = METER.get()

        def leave() -> None:
            lease.release()
            self.admission.requests.release()
            meter(transcription.done_s)

        return Recognition(transcription, cancelled, self._threads, leave)

    def close(self) -> None:
        """Refuse new work and wait for the window that each worker has in hand."""
        self.admission.close()
        self._scheduler.close()
        self._threads.shutdown(wait=True, cancel_futures=True)

    async def _lend(self, model: str | None) -> Lease:
        """A model for a caller who does not wait for ever."""
        started = time.perf_counter()
        with tracing.span("model"):
            try:
                return await self.lease(model, timeout_s=self.admission.timeout_s)
            except ModelNotReady:
                raise
            except Busy:
                self._observer.checked_out("model", "timeout", time.perf_counter() - started)
                raise

    def _on_change(self, name: str, state: ModelState) -> None:
        if name != self._expected.model:
            return
        if (lane := self._fleet.lane(name)) is not None:
            self.admission.measure(lane)
        for listener in list(self._listeners):
            listener(ModelEvent(state))


async def check_audio(source: AnySource, *, max_duration_s: float | None, channels: Channels = "mix") -> None:
    """Raise AudioError where the head of a recording cannot be decoded, AudioTooLong where its header says so.

    Takes no place, so that a bad file gets its answer while the server is busy.
    """

    def read_head() -> None:
        with open_audio(source, max_duration_s=max_duration_s) as reader:
            next(reader.blocks(channels), None)

    await asyncio.to_thread(read_head)
