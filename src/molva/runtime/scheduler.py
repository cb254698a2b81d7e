"""The one owner of inference: windows of all callers and all engines in one queue, and the worker threads.

The queue is bounded by its callers: a live session keeps one partial and a few windows of finals in flight, a request
or a job `lookahead` windows, and `slots.py` bounds sessions and requests.
"""

import logging
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from weakref import WeakKeyDictionary

from molva import tracing
from molva.engines.base import Engine, EngineInfo, Hypothesis, Options
from molva.errors import InferencePanic, InferenceTimeout, MolvaError, ShuttingDown
from molva.observer import NOBODY, DecodedWindow, Observer
from molva.runtime.queue import Priority, Work, WorkQueue
from molva.samples import Samples, seconds
from molva.threads import undying

log = logging.getLogger(__name__)

MAX_HANGING = 8
"""Workers that are replaced when they hang; each keeps its thread and its window."""

MIN_MEASURED_S = 1.0
"""Shortest call, in seconds of audio, that tells the engine's speed; in shorter ones the fixed cost of a call does."""

SMOOTHING = 0.1
"""Weight of the newest call in the running real-time factor."""


class Lane:
    """One engine's way to the workers, which it shares with every other engine."""

    def __init__(self, scheduler: "Scheduler", engine: Engine) -> None:
        self._scheduler = scheduler
        self._engine: Engine | None = engine
        self.info: EngineInfo = engine.info

    @property
    def workers(self) -> int:
        """Threads that run engines."""
        return self._scheduler.workers

    @property
    def lookahead(self) -> int:
        """Windows that one caller should keep in flight, so that no worker waits for it."""
        return self.workers * self.info.batch_size + 1

    @property
    def real_time_factor(self) -> float | None:
        """Seconds of a worker per second of audio, as measured lately; None before the first long window."""
        return None if self._engine is None else self._scheduler.real_time_factor(self._engine)

    def submit(
        self,
        samples: Samples,
        options: Options,
        priority: Priority = Priority.REQUEST,
        *,
        replacing: Future[Hypothesis] | None = None,
        deadline: float | None = None,
    ) -> Future[Hypothesis]:
        """Queue one window. Cancelling the future takes it back unless it has started.

        `replacing`: an earlier window of the same class that this one makes needless; where it still waits it is
        cancelled, and this one takes its place. `deadline`: in `time.monotonic()`; a window that has not started by
        then fails with InferenceTimeout. Raises ShuttingDown after the scheduler's `close`.
        """
        assert self._engine is not None  # noqa: S101 - whoever submits has a lease
        work = Work(self._engine, samples, options, priority, deadline)
        self._scheduler.submit(work, replacing)
        return work.future

    def promote(self, future: Future[Hypothesis], priority: Priority) -> None:
        """Let a window that still waits go with another class."""
        self._scheduler.promote(future, priority)

    def give_up(self, future: Future[Hypothesis]) -> None:
        """Stop waiting for a window; see `Scheduler.give_up`."""
        self._scheduler.give_up(future)

    def close(self) -> None:
        """Let the engine go, also where somebody still has this lane. Nothing may be submitted any more."""
        self._engine = None


class Scheduler:
    """Decodes windows by priority, on a CPU one by one side by side, on an accelerator in batches across callers.

    Partials are optional work: they leave one worker to the others where there are several.
    """

    def __init__(self, workers: int, observer: Observer = NOBODY) -> None:
        self._observer = observer
        self._queue = WorkQueue()
        self._changed = threading.Condition()
        self._closed = False
        self._running: dict[threading.Thread, list[Work]] = {}
        self._hanging: set[threading.Thread] = set()
        """They end when their run returns, since others have taken their places."""
        self._unreplaced: set[threading.Thread] = set()
        """They hang too, and go on when their run returns."""
        self._threads: list[threading.Thread] = []
        self._speeds: WeakKeyDictionary[Engine, float] = WeakKeyDictionary()
        self.workers = workers
        for _ in range(workers):
            self._start_worker()

    @property
    def waiting(self) -> dict[Priority, int]:
        """Windows that have not started, by class."""
        with self._changed:
            return self._queue.depths()

    @property
    def stuck(self) -> bool:
        """Whether every worker hangs in a run that nobody waits for, so that nothing is decoded."""
        with self._changed:
            return (self._hanging | self._unreplaced).issuperset(self._threads)

    def lane(self, engine: Engine, real_time_factor: float | None = None) -> Lane:
        """The way to `engine`; `real_time_factor` where it has been measured already."""
        if real_time_factor is not None:
            self.measured(engine, real_time_factor)
        return Lane(self, engine)

    def real_time_factor(self, engine: Engine) -> float | None:
        """Seconds of a worker per second of audio, as measured lately; None before the first long window."""
        with self._changed:
            return self._speeds.get(engine)

    def measured(self, engine: Engine, real_time_factor: float) -> None:
        """Take in how fast an engine was."""
        with self._changed:
            known = self._speeds.get(engine, real_time_factor)
            self._speeds[engine] = known + SMOOTHING * (real_time_factor - known)

    def submit(self, work: Work, replacing: Future[Hypothesis] | None = None) -> None:
        """Queue a window; see `Lane.submit`, which is the way to do so."""
        with self._changed:
            if self._closed:
                raise ShuttingDown
            self._queue.add(work, replacing)
            self._changed.notify()

    def promote(self, future: Future[Hypothesis], priority: Priority) -> None:
        """Let a window that still waits go with another class."""
        with self._changed:
            self._queue.promote(future, priority)
            self._changed.notify()

    def give_up(self, future: Future[Hypothesis]) -> None:
        """Stop waiting for a window: where its run hangs, another worker takes its place.

        No thread can be ended from outside; the hanging one ends by itself when its run returns.
        """
        with self._changed:
            if future.cancel() or self._closed:
                return
            for thread, batch in self._running.items():
                if any(work.future is future for work in batch) and thread not in self._hanging:
                    self._unreplaced.add(thread)
                    if len(self._hanging) == MAX_HANGING:
                        log.error("%d workers hang; no more are replaced. Restart the server.", MAX_HANGING)
                        return
                    log.error("a run of the engine hangs; its worker is replaced")
                    try:
                        self._start_worker()
                    except RuntimeError as error:
                        log.error("it cannot be replaced: %s", error)  # noqa: TRY400 - the trace says nothing more
                    else:
                        self._unreplaced.discard(thread)
                        self._hanging.add(thread)
                    return

    def close(self) -> None:
        """Refuse new windows, take back those that have not started, and wait for those that have."""
        with self._changed:
            self._closed = True
            refused = self._queue.clear()
            self._changed.notify_all()
        for work in refused:
            if work.future.set_running_or_notify_cancel():
                work.future.set_exception(ShuttingDown())
        for thread in list(self._threads):
            thread.join()

    def _start_worker(self) -> None:
        thread = undying(f"inference-{len(self._threads)}", self._run)
        thread.start()
        self._threads.append(thread)

    def _run(self) -> None:
        this = threading.current_thread()
        # No batch is kept in a variable here: while this thread waits for the next one it would keep the engine.
        while self._decode_next(this):
            with self._changed:
                del self._running[this]
                self._unreplaced.discard(this)
                if this in self._hanging:
                    self._hanging.discard(this)
                    self._threads.remove(this)
                    return
                self._changed.notify()  # a partial may go now that this worker is free

    def _decode_next(self, this: threading.Thread) -> bool:
        """Wait for windows and decode them; False after `close`."""
        batch = self._take(this)
        try:
            late = [work for work in batch if work.deadline is not None and time.monotonic() > work.deadline]
            for work in late:
                work.future.set_exception(InferenceTimeout())
            if in_time := [work for work in batch if work not in late]:
                self._decode(in_time)
        except BaseException as error:  # noqa: BLE001 - whatever an engine raises must reach its callers, not end the thread
            _fail(batch, error)
        return bool(batch)

    def _take(self, this: threading.Thread) -> list[Work]:
        """The next windows to decode in one call; empty after `close`."""
        with self._changed:
            while True:
                busy = sum(batch[0].priority == Priority.LIVE_PARTIAL for batch in self._running.values())
                batch = self._queue.take(partials=busy < max(self.workers - 1, 1))
                if batch:
                    self._running[this] = batch
                    return batch
                if self._closed:
                    return []
                self._changed.wait()

    def _decode(self, batch: list[Work]) -> None:
        engine, started = batch[0].engine, time.perf_counter()
        hypotheses = engine.transcribe([work.samples for work in batch], batch[0].options)
        if len(hypotheses) != len(batch):
            raise ValueError(f"{len(hypotheses)} hypotheses came for {len(batch)} windows")
        ended = time.perf_counter()
        audio_s = seconds(sum(work.samples.size for work in batch))
        if audio_s >= MIN_MEASURED_S and audio_s > engine.info.longest_wide_s:
            self.measured(engine, (ended - started) / audio_s)
        self._tell(batch, started, ended)
        for work, hypothesis in zip(batch, hypotheses, strict=True):
            work.future.set_result(hypothesis)

    def _tell(self, batch: list[Work], started: float, ended: float) -> None:
        model = batch[0].engine.info.model
        windows = [
            DecodedWindow(work.priority.name.lower(), seconds(work.samples.size), started - work.queued)
            for work in batch
        ]
        self._observer.decoded(model, windows, ended - started)
        for work, window in zip(batch, windows, strict=True):
            facts: dict[str, tracing.Value] = {"molva.class": window.kind, "molva.audio_s": round(window.audio_s, 3)}
            work.context.run(tracing.record, "queue", work.queued, started, facts)
            facts = {**facts, "molva.model": model, "molva.batch_size": len(batch)}
            work.context.run(tracing.record, "engine", started, ended, facts)


def _fail(batch: Sequence[Work], error: BaseException) -> None:
    for work in batch:
        if work.future.done():
            continue
        if not isinstance(error, MolvaError):
            with suppress(MemoryError):  # it may be that which is wanting, and the caller has to be told all the same
                work.context.run(log.error, "the engine failed unexpectedly", exc_info=error)
        work.future.set_exception(_as_molva_error(error))


def _as_molva_error(error: BaseException) -> MolvaError:
    if isinstance(error, MolvaError):
        return error
    panic = InferencePanic()
    panic.__cause__ = error
    return panic
