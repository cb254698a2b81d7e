"""The jobs of this server, for the doors: submit, look, watch, cancel; and the one who runs them, one at a time.

Lives on the event loop; the store and the audio are used in threads. Other processes may work on the same store.
"""

import asyncio
import logging
import threading
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from molva import logs, tracing
from molva.clock import SettledClock
from molva.errors import (
    ClaimLost,
    DiarizationUnavailable,
    JobNotDone,
    JobNotFound,
    ModelNotReady,
    MolvaError,
    ShuttingDown,
    StoreError,
)
from molva.jobs.job import TERMINAL, Job, Status, Submission, document
from molva.jobs.run import Workshop, fail, run
from molva.jobs.shelf import AudioShelf
from molva.jobs.store import Claim, Idempotency, JobStore, Page
from molva.observer import NOBODY, Observer
from molva.runtime.fleet import Lease
from molva.runtime.futures import in_context
from molva.runtime.metering import METER
from molva.runtime.speakers import SpeakerModels
from molva.speech.vad import VadModel
from molva.speech.waveform import Waveform
from molva.spool import SpoolFile
from molva.threads import ThreadPool
from molva.transcript import Transcript

log = logging.getLogger(__name__)

T = TypeVar("T")

POLL_S = 1.0
"""How often to look for what other processes have done."""
HOUSEKEEPING_S = 60.0
"""How often to remove what is no longer needed."""


@dataclass(frozen=True)
class JobRules:
    """What the operator chose."""

    lease_s: float = 15.0
    """How long a claim holds without a sign of life: after so long, the job of a dead server is taken up again."""
    keep_audio: bool = False
    """Keep recordings after their jobs have ended."""
    retention_s: float = 0
    """How long ended jobs are kept; 0 keeps them."""
    window_timeout_s: float | None = 600
    """Longest wait for one window."""


async def no_speakers() -> SpeakerModels:
    """For a server without the models."""
    raise DiarizationUnavailable("This server has no models for it.")


class Jobs:
    """All jobs of one store, and the worker of this process."""

    def __init__(
        self,
        store: JobStore,
        shelf: AudioShelf,
        lend: Callable[[str], Awaitable[Lease]],
        vad: VadModel,
        *,
        rules: JobRules | None = None,
        ended: Callable[[], None] = lambda: None,
        register: Callable[[str], None] = lambda _: None,
        observer: Observer = NOBODY,
        load_speakers: Callable[[], Awaitable[SpeakerModels]] = no_speakers,
    ) -> None:
        """`lend` waits for a model by name and raises ModelError; `load_speakers` for what tells speakers apart, and
        raises DiarizationUnavailable. `ended` is called when a job has ended, since its
        webhook may be due, `register` with each address that wants to hear of model events.
        """
        self._store = store
        self._shelf = shelf
        self._lend = lend
        self._load_speakers = load_speakers
        self._rules = rules or JobRules()
        self._ended = ended
        self.register = register
        self._observer = observer
        self._clock = SettledClock()
        self._workshop = Workshop(store, vad, self._rules.window_timeout_s, self._tell_from_thread, self._count_end)
        # Threads of their own: whatever keeps others busy, jobs can be told and cancelled, and while uploads wait for
        # the disk, the claim is renewed.
        self._doors = ThreadPool(4, thread_name_prefix="jobs")
        self._workers = ThreadPool(4, thread_name_prefix="job")
        self._running: dict[str, threading.Event] = {}
        self._meters: dict[str, Callable[[float], None]] = {}
        """Who is charged for the jobs that were submitted to this process and have not ended."""
        self._bells: WeakValueDictionary[str, asyncio.Event] = WeakValueDictionary()
        self._work_may_wait = asyncio.Event()
        self._stopping = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self.waiting = 0
        """Queued jobs, as of a second ago."""

    def change(self, rules: JobRules) -> None:
        """Other rules. A job that runs keeps its longest wait for a window."""
        self._rules = rules
        self._workshop = replace(self._workshop, window_timeout_s=rules.window_timeout_s)

    def start(self) -> None:
        """Begin to run jobs, those first that an earlier process has left."""
        self._loop = asyncio.get_running_loop()
        self._tasks = [asyncio.create_task(self._work()), asyncio.create_task(self._keep_house())]

    @property
    def stopping(self) -> bool:
        """Whether nothing is run any more."""
        return self._stopping.is_set()

    def drain(self) -> None:
        """Run no more jobs: the one in hand is handed back at its next window, with those that are finished.

        Nobody watches any more. Submissions that are on their way are still accepted, for whoever runs them next.
        """
        self._stopping.set()
        self._work_may_wait.set()
        for bell in list(self._bells.values()):
            bell.set()
        for stopped in self._running.values():
            stopped.set()

    async def stop(self, timeout_s: float) -> None:
        """Drain, and wait so many seconds for the job in hand; after that, its claim has to run out."""
        self.drain()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=timeout_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        for threads in (self._doors, self._workers):
            threads.shutdown(wait=False, cancel_futures=True)

    async def submit(
        self, submission: Submission, audio: SpoolFile, idempotency: Idempotency | None = None
    ) -> tuple[Job, bool]:
        """Accept a recording: once this returns, the job is not lost any more. True: the same submission had made it.

        Raises SpoolError, StoreError, IdempotencyMismatch, and ShuttingDown once stopped.
        """
        job_id = str(uuid.uuid4())

        def accept() -> Job:
            try:
                self._shelf.take(audio, job_id)
                job = self._store.submit(job_id, submission, idempotency)
            except BaseException:
                self._shelf.remove(job_id)
                raise
            if job.id != job_id:  # the same submission was quicker
                self._shelf.remove(job_id)
            return job

        job = await self._in_thread(accept)
        if job.id == job_id:
            self._meters[job_id] = METER.get()
        self._work_may_wait.set()
        return job, job.id != job_id

    async def submitted_before(self, idempotency: Idempotency) -> Job | None:
        """The job that the same submission made. Raises IdempotencyMismatch."""
        return await self._in_thread(lambda: self._store.submitted_before(idempotency))

    async def get(self, job_id: str) -> Job:
        """Raises JobNotFound."""
        return await self._in_thread(lambda: self._store.get(job_id))

    async def document(self, job_id: str) -> dict[str, Any]:
        """The job with its segments. Raises JobNotFound."""
        return await self._in_thread(lambda: document(self._store.get(job_id), self._store.transcript(job_id)))

    async def transcript(self, job_id: str) -> Transcript:
        """The result. Raises JobNotFound, and JobNotDone where there is none."""

        def read() -> Transcript:
            transcript = self._store.transcript(job_id)
            if transcript is None:
                raise JobNotDone(job_id, self._store.get(job_id).status)
            return transcript

        return await self._in_thread(read)

    async def waveform(self, job_id: str) -> Waveform:
        """What the recording looks like. Raises JobNotFound, and JobNotDone where nobody has looked through it."""

        def read() -> Waveform:
            waveform = self._store.waveform(job_id)
            if waveform is None:
                raise JobNotDone(job_id, self._store.get(job_id).status, "waveform")
            return waveform

        return await self._in_thread(read)

    async def page(self, *, statuses: Collection[Status] = (), limit: int = 50, cursor: str | None = None) -> Page:
        """Jobs, newest first. Raises OptionError for a cursor that is none."""
        return await self._in_thread(lambda: self._store.page(statuses=statuses, limit=limit, cursor=cursor))

    async def counts(self) -> Mapping[Status, int]:
        """How many jobs are in each state. Raises StoreError."""
        return await self._in_thread(self._store.counts)

    async def cancel(self, job_id: str) -> Job:
        """End a job; one that runs, in whatever process, stops at its next window. Raises JobNotFound, JobFinished."""
        job = await self._call_off(job_id, self._store.cancel)
        self._count_end(job)
        return job

    async def purge(self, job_id: str) -> Job:
        """Forget a job in any state. Returns what it was. Raises JobNotFound."""
        return await self._call_off(job_id, self._store.purge, keep_audio=False)

    async def watch(self, job_id: str) -> AsyncIterator[Job]:
        """The job as it stands, then each change until it has ended, is purged, or the server stops.

        Changes that come quicker than they are read are told as one. Raises JobNotFound.
        """
        last: Job | None = None
        while True:
            bell = self._bells.setdefault(job_id, asyncio.Event())
            try:
                job = await self.get(job_id)
            except JobNotFound:
                if last is None:
                    raise
                return
            if job != last:
                yield job
                last = job
            if job.status in TERMINAL:
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(bell.wait(), POLL_S)
            if self._stopping.is_set():
                return

    async def _call_off(self, job_id: str, call_off: Callable[[str], Job], *, keep_audio: bool | None = None) -> Job:
        keep_audio = self._rules.keep_audio if keep_audio is None else keep_audio

        def work() -> Job:
            job = call_off(job_id)
            if not keep_audio:
                self._shelf.remove(job_id)
            return job

        job = await self._in_thread(work)
        if meter := self._meters.pop(job_id, None):
            meter(job.duration_s or 0)
        if job_id in self._running:
            self._running[job_id].set()
        self._tell(job_id)
        self._ended()
        return job

    async def _work(self) -> None:
        while not self._stopping.is_set():
            self._work_may_wait.clear()
            served = False
            try:
                served = await self._serve_next()
            except StoreError as error:
                log.warning("jobs cannot be taken up: %s", error)
            except Exception:
                # The job's claim runs out, and it is taken up again until its attempts are used up.
                log.exception("a job failed in a way that it should not; the others go on")
            if not served:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._work_may_wait.wait(), POLL_S)

    async def _serve_next(self) -> bool:
        """Whether there was a job."""
        claim = await self._at_work(lambda: self._store.claim(self._rules.lease_s))
        self.waiting = await self._at_work(self._store.waiting)
        if claim is not None:
            with logs.about(job_id=claim.job.id), tracing.span("job", {"molva.job.id": claim.job.id}):
                await self._serve(claim)
        return claim is not None

    async def _serve(self, claim: Claim) -> None:
        """Run one job to its end, or hand it back where the server stops first."""
        job_id, stopped = claim.job.id, threading.Event()
        self._running[job_id] = stopped
        if self._stopping.is_set():
            stopped.set()
        self._tell(job_id)
        log.info("job %s is taken up at window %d", job_id, len(claim.finished))
        self._observer.job_taken_up()
        renewing = asyncio.create_task(self._renew(claim, stopped))
        try:
            if await self._run(claim, stopped):
                if not self._rules.keep_audio:
                    await self._at_work(lambda: self._shelf.remove(job_id))
                self._ended()
            else:
                with suppress(ClaimLost, StoreError):  # without it, the claim just runs out
                    await self._at_work(lambda: self._store.hand_back(claim))
        finally:
            renewing.cancel()
            del self._running[job_id]
            self._tell(job_id)
        with suppress(StoreError):  # whoever keeps house tries again
            await self._in_thread(self._charge)

    def _charge(self) -> None:
        """Tell the meters of jobs that have ended, in whatever process, how much audio was decoded for them."""
        for job_id in list(self._meters):
            try:
                job = self._store.get(job_id)
            except JobNotFound:
                self._meters.pop(job_id)
                continue
            if job.status in TERMINAL:
                self._meters.pop(job_id)(job.duration_s or 0)

    async def _run(self, claim: Claim, stopped: threading.Event) -> bool:
        """Whether the job has ended."""
        submission = claim.job.submission
        try:
            speakers = None if submission.speakers is None else await self._load_speakers()
            with tracing.span("model"):
                lease = await self._unless_stopped(self._lend(submission.model), stopped)
        except (ShuttingDown, ModelNotReady):  # unloaded while it waited for the GPU: the job waits in its place
            return False
        except MolvaError as error:
            problem = str(error)
            return await self._at_work(lambda: fail(claim, problem, self._workshop, stopped))
        if lease is None:
            return False
        recording = self._shelf.path(claim.job.id)
        try:
            return await self._at_work(lambda: run(claim, recording, lease.lane, self._workshop, stopped, speakers))
        finally:
            lease.release()

    async def _unless_stopped(self, lending: Awaitable[Lease], stopped: threading.Event) -> Lease | None:
        """What is lent; None where the job or the server is stopped before."""
        waiting = asyncio.ensure_future(lending)
        try:
            while not waiting.done() and not stopped.is_set():
                await asyncio.wait({waiting}, timeout=POLL_S / 4)
            return waiting.result() if waiting.done() else None
        finally:
            if not waiting.done():
                waiting.cancel()

    async def _renew(self, claim: Claim, stopped: threading.Event) -> None:
        """Signs of life, until the claim is lost."""
        while True:
            await asyncio.sleep(self._rules.lease_s / 3)
            try:
                if not await self._at_work(lambda: self._store.renew(claim, self._rules.lease_s)):
                    stopped.set()
                    return
            except StoreError as error:
                log.warning("the claim of job %s cannot be renewed: %s", claim.job.id, error)
            except Exception:
                log.exception("the claim of job %s cannot be renewed", claim.job.id)

    async def _keep_house(self) -> None:
        while not self._stopping.is_set():
            try:
                await self._at_work(self._tidy)
            except (StoreError, OSError) as error:
                log.warning("what is no longer needed cannot be removed: %s", error)
            except Exception:
                log.exception("what is no longer needed cannot be removed")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), HOUSEKEEPING_S)

    def _tidy(self) -> None:
        self._charge()
        now = self._clock.now()  # also where nothing is forgotten: it learns of jumps so
        retention_s = self._rules.retention_s
        if retention_s:
            for job_id in self._store.forget(now - retention_s):
                self._shelf.remove(job_id)
        self._shelf.sweep(self._needs_audio)

    def _needs_audio(self, job_id: str) -> bool | None:
        try:
            return self._store.get(job_id).status not in TERMINAL or self._rules.keep_audio
        except JobNotFound:
            return None

    def _count_end(self, job: Job) -> None:
        took_s = max(0.0, (job.completed_at or job.created_at) - job.created_at)  # the clock may have been put back
        self._observer.job_ended(str(job.status), took_s)
        if job.status == Status.DONE:
            self._observer.audio_taken("jobs", job.duration_s or 0)

    def _tell_from_thread(self, job_id: str) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._tell, job_id)

    def _tell(self, job_id: str) -> None:
        if bell := self._bells.pop(job_id, None):  # each rings once: none that rings while it is read for is missed
            bell.set()

    async def _in_thread(self, work: Callable[[], T]) -> T:
        """For the doors. Raises ShuttingDown after `stop`."""
        return await _in(self._doors, work)

    async def _at_work(self, work: Callable[[], T]) -> T:
        return await _in(self._workers, work)


async def _in(threads: ThreadPool, work: Callable[[], T]) -> T:
    try:
        doing = asyncio.get_running_loop().run_in_executor(threads, in_context(work))
    except RuntimeError:  # they have ended
        raise ShuttingDown from None
    return await doing
