"""The one owner of inference: windows of all callers in one queue, worker threads over one shared engine.

The queue is bounded by its callers: a live session keeps one partial and a few windows of finals in flight, a request
or a job `lookahead` windows, and `slots.py` bounds sessions and requests.
"""

import logging
import threading
import time
from concurrent.futures import Future

from molva.engines.base import Engine, EngineInfo, Hypothesis, Options
from molva.errors import InferencePanic, InferenceTimeout, MolvaError, ShuttingDown
from molva.runtime.queue import Priority, Work, WorkQueue
from molva.samples import Samples, seconds

log = logging.getLogger(__name__)

MAX_HANGING = 8
"""Workers that are replaced when they hang; each keeps its thread and its window."""

MIN_MEASURED_S = 1.0
"""Shortest call, in seconds of audio, that tells the engine's speed; in shorter ones the fixed cost of a call does."""

SMOOTHING = 0.1
"""Weight of the newest call in the running real-time factor."""


class Scheduler:
    """Decodes windows by priority, on a CPU one by one side by side, on an accelerator in batches across callers.

    Partials are optional work: they leave one worker to the others where there are several.
    """

    def __init__(self, engine: Engine, workers: int, *, real_time_factor: float | None = None) -> None:
        """`real_time_factor`: seconds of a worker per second of audio, where it has been measured already."""
        self._engine = engine
        self._queue = WorkQueue()
        self._changed = threading.Condition()
        self._closed = False
        self._running: dict[threading.Thread, list[Work]] = {}
        self._hanging: set[threading.Thread] = set()
        self._threads: list[threading.Thread] = []
        self.workers = workers
        self.real_time_factor = real_time_factor
        """Seconds of a worker per second of audio, measured as the work goes on."""
        for _ in range(workers):
            self._start_worker()

    @property
    def info(self) -> EngineInfo:
        return self._engine.info

    @property
    def lookahead(self) -> int:
        """Windows that one caller should keep in flight, so that no worker waits for it."""
        return self.workers * self.info.batch_size + 1

    @property
    def waiting(self) -> dict[Priority, int]:
        """Windows that have not started, by class."""
        with self._changed:
            return self._queue.depths()

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
        then fails with InferenceTimeout. Raises ShuttingDown after `close`.
        """
        work = Work(samples, options, priority, deadline)
        with self._changed:
            if self._closed:
                raise ShuttingDown
            self._queue.add(work, replacing)
            self._changed.notify()
        return work.future

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
                    if len(self._hanging) == MAX_HANGING:
                        log.error("%d workers hang; no more are replaced. Restart the server.", MAX_HANGING)
                        return
                    log.error("a run of the engine hangs; its worker is replaced")
                    self._hanging.add(thread)
                    self._start_worker()
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
        thread = threading.Thread(target=self._run, name=f"inference-{len(self._threads)}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _run(self) -> None:
        this = threading.current_thread()
        while batch := self._take(this):
            late = [work for work in batch if work.deadline is not None and time.monotonic() > work.deadline]
            for work in late:
                work.future.set_exception(InferenceTimeout())
            if in_time := [work for work in batch if work not in late]:
                self._decode(in_time)
            with self._changed:
                del self._running[this]
                if this in self._hanging:
                    self._hanging.discard(this)
                    self._threads.remove(this)
                    return
                self._changed.notify()  # a partial may go now that this worker is free

    def _take(self, this: threading.Thread) -> list[Work]:
        """The next windows to decode in one call; empty after `close`."""
        info = self.info
        with self._changed:
            while True:
                busy = sum(batch[0].priority == Priority.LIVE_PARTIAL for batch in self._running.values())
                batch = self._queue.take(
                    info.batch_size,
                    equal_lengths=info.equal_lengths,
                    partials=busy < max(self.workers - 1, 1),
                )
                if batch:
                    self._running[this] = batch
                    return batch
                if self._closed:
                    return []
                self._changed.wait()

    def _decode(self, batch: list[Work]) -> None:
        started = time.perf_counter()
        try:
            hypotheses = self._engine.transcribe([work.samples for work in batch], batch[0].options)
        except Exception as error:  # noqa: BLE001 - whatever an engine raises must reach its caller, not end the thread
            for work in batch:
                work.future.set_exception(_as_molva_error(error))
        else:
            self._measure(time.perf_counter() - started, seconds(sum(work.samples.size for work in batch)))
            for work, hypothesis in zip(batch, hypotheses, strict=True):
                work.future.set_result(hypothesis)

    def _measure(self, took_s: float, audio_s: float) -> None:
        if audio_s >= MIN_MEASURED_S:
            with self._changed:
                known = self.real_time_factor
                newest = took_s / audio_s
                self.real_time_factor = newest if known is None else known + SMOOTHING * (newest - known)


def _as_molva_error(error: Exception) -> MolvaError:
    if isinstance(error, MolvaError):
        return error
    log.error("the engine failed unexpectedly", exc_info=error)
    panic = InferencePanic()
    panic.__cause__ = error
    return panic
