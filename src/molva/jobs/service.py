"""The jobs of this server, for the doors: submit, look, watch, cancel; and the one who runs them, one at a time.

Lives on the event loop; the store and the audio are used in threads. Other processes may work on the same store.
"""

import asyncio
import logging
import threading
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from molva.errors import ClaimLost, JobNotDone, JobNotFound, ModelNotReady, MolvaError, ShuttingDown, StoreError
from molva.jobs.job import TERMINAL, Job, Status, Submission, document
from molva.jobs.run import Workshop, fail, run
from molva.jobs.shelf import AudioShelf
from molva.jobs.store import Claim, Idempotency, JobStore, Page
from molva.runtime.fleet import Lease
from molva.speech.vad import VadModel
from molva.spool import SpoolFile
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
    ) -> None:
        """`lend` waits for a model by name and raises ModelError. `ended` is called when a job has ended, since its
        webhook may be due, `register` with each address that wants to hear of model events.
        """
        self._store = store
        self._shelf = shelf
        self._lend = lend
        self._rules = rules or JobRules()
        self._ended = ended
        self.register = register
        self._workshop = Workshop(store, vad, self._rules.window_timeout_s, self._tell_from_thread)
        # Threads of their own: whatever keeps others busy, jobs can be told and cancelled.
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="jobs")
        self._running: dict[str, threading.Event] = {}
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

    async def stop(self, timeout_s: float) -> None:
        """Run no more jobs. The one in hand is handed back with its finished windows, if its window ends in time."""
        self._stopping.set()
        self._work_may_wait.set()
        for bell in list(self._bells.values()):
            bell.set()
        for stopped in self._running.values():
            stopped.set()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=timeout_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def submit(self, submission: Submission, audio: SpoolFile, idempotency: Idempotency | None = None) -> Job:
        """Accept a recording: once this returns, the job is not lost any more. Raises SpoolFull, StoreError,
        IdempotencyMismatch, and ShuttingDown.
        """
        if self._stopping.is_set():
            raise ShuttingDown
        job_id = str(uuid.uuid4())

        def accept() -> Job:
            self._shelf.take(audio, job_id)
            try:
                job = self._store.submit(job_id, submission, idempotency)
            except BaseException:
                self._shelf.remove(job_id)
                raise
            if job.id != job_id:  # the same submission was quicker
                self._shelf.remove(job_id)
            return job

        job = await self._in_thread(accept)
        self._work_may_wait.set()
        return job

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

    async def page(self, *, statuses: Collection[Status] = (), limit: int = 50, cursor: str | None = None) -> Page:
        """Jobs, newest first. Raises OptionError for a cursor that is none."""
        return await self._in_thread(lambda: self._store.page(statuses=statuses, limit=limit, cursor=cursor))

    async def cancel(self, job_id: str) -> Job:
        """End a job; one that runs, in whatever process, stops at its next window. Raises JobNotFound, JobFinished."""
        return await self._call_off(job_id, self._store.cancel)

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
        if job_id in self._running:
            self._running[job_id].set()
        self._tell(job_id)
        self._ended()
        return job

    async def _work(self) -> None:
        while not self._stopping.is_set():
            self._work_may_wait.clear()
            try:
                claim = await self._in_thread(lambda: self._store.claim(self._rules.lease_s))
                self.waiting = await self._in_thread(self._store.waiting)
            except StoreError as error:
                log.warning("jobs cannot be taken up: %s", error)
                claim = None
            if claim is not None:
                await self._serve(claim)
            else:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._work_may_wait.wait(), POLL_S)

    async def _serve(self, claim: Claim) -> None:
        """Run one job to its end, or hand it back where the server stops first."""
        job_id, stopped = claim.job.id, threading.Event()
        self._running[job_id] = stopped
        if self._stopping.is_set():
            stopped.set()
        self._tell(job_id)
        log.info("job %s is taken up at window %d", job_id, len(claim.finished))
        renewing = asyncio.create_task(self._renew(claim, stopped))
        try:
            if await self._run(claim, stopped):
                if not self._rules.keep_audio:
                    await self._in_thread(lambda: self._shelf.remove(job_id))
                self._ended()
            else:
                with suppress(ClaimLost, StoreError):  # without it, the claim just runs out
                    await self._in_thread(lambda: self._store.hand_back(claim))
        finally:
            renewing.cancel()
            del self._running[job_id]
            self._tell(job_id)

    async def _run(self, claim: Claim, stopped: threading.Event) -> bool:
        """Whether the job has ended."""
        try:
            lease = await self._unless_stopped(self._lend(claim.job.submission.model), stopped)
        except (ShuttingDown, ModelNotReady):  # unloaded while it waited for the GPU: the job waits in its place
            return False
        except MolvaError as error:
            problem = str(error)
            return await self._in_thread(lambda: fail(claim, problem, self._workshop, stopped))
        if lease is None:
            return False
        recording = self._shelf.path(claim.job.id)
        try:
            return await self._in_thread(lambda: run(claim, recording, lease.lane, self._workshop, stopped))
        finally:
            lease.release()

    async def _unless_stopped(self, lending: Awaitable[Lease], stopped: threading.Event) -> Lease | None:
        """What is lent; None where the job or the server is stopped before."""
        waiting = asyncio.ensure_future(lending)
        try:
            while not stopped.is_set():
                if (await asyncio.wait({waiting}, timeout=POLL_S / 4))[0]:
                    return waiting.result()
            return None
        finally:
            if not waiting.done():
                waiting.cancel()

    async def _renew(self, claim: Claim, stopped: threading.Event) -> None:
        """Signs of life, until the claim is lost."""
        while True:
            await asyncio.sleep(self._rules.lease_s / 3)
            try:
                if not await self._in_thread(lambda: self._store.renew(claim, self._rules.lease_s)):
                    stopped.set()
                    return
            except StoreError as error:
                log.warning("the claim of job %s cannot be renewed: %s", claim.job.id, error)

    async def _keep_house(self) -> None:
        while not self._stopping.is_set():
            try:
                await self._in_thread(self._tidy)
            except (StoreError, OSError) as error:
                log.warning("what is no longer needed cannot be removed: %s", error)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), HOUSEKEEPING_S)

    def _tidy(self) -> None:
        retention_s = self._rules.retention_s
        if retention_s:
            for job_id in self._store.forget(time.time() - retention_s):
                self._shelf.remove(job_id)
        self._shelf.sweep(self._needs_audio)

    def _needs_audio(self, job_id: str) -> bool:
        try:
            return self._rules.keep_audio or self._store.get(job_id).status not in TERMINAL
        except JobNotFound:
            return False

    def _tell_from_thread(self, job_id: str) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._tell, job_id)

    def _tell(self, job_id: str) -> None:
        if bell := self._bells.pop(job_id, None):  # each rings once: none that rings while it is read for is missed
            bell.set()

    async def _in_thread(self, work: Callable[[], T]) -> T:
        try:
            doing = asyncio.get_running_loop().run_in_executor(self._threads, work)
        except RuntimeError:  # the threads have ended
            raise ShuttingDown from None
        return await doing
