"""The one owner of inference: windows of all callers in one queue, worker threads over one shared engine.

The queue needs no bound of its own: each caller keeps a few windows in flight, and `slots.py` bounds the callers.
"""

import logging
import threading
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field

from molva.engines.base import Engine, EngineInfo, Hypothesis, Options
from molva.errors import InferenceError, MolvaError, ShuttingDown
from molva.samples import Samples

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Work:
    samples: Samples
    options: Options
    future: Future[Hypothesis] = field(default_factory=Future)


class Scheduler:
    """Decodes windows first come, first served.

    On a CPU the workers run single windows side by side; an accelerator's engine asks for batches, which are then
    formed across callers.
    """

    def __init__(self, engine: Engine, workers: int) -> None:
        self._engine = engine
        self._waiting: deque[_Work] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._threads = [threading.Thread(target=self._run, name=f"inference-{i}", daemon=True) for i in range(workers)]
        for thread in self._threads:
            thread.start()

    @property
    def info(self) -> EngineInfo:
        return self._engine.info

    @property
    def lookahead(self) -> int:
        """Windows that one caller should keep in flight, so that no worker waits for it."""
        return len(self._threads) * self.info.batch_size + 1

    def submit(self, samples: Samples, options: Options) -> Future[Hypothesis]:
        """Queue one window. Cancelling the future takes it back unless it has started.

        Raises ShuttingDown after `close`.
        """
        work = _Work(samples, options)
        with self._changed:
            if self._closed:
                raise ShuttingDown
            self._waiting.append(work)
            self._changed.notify()
        return work.future

    def close(self) -> None:
        """Refuse new windows, take back those that have not started, and wait for those that have."""
        with self._changed:
            self._closed = True
            refused = list(self._waiting)
            self._waiting.clear()
            self._changed.notify_all()
        for work in refused:
            if work.future.set_running_or_notify_cancel():
                work.future.set_exception(ShuttingDown())
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while batch := self._take():
            try:
                hypotheses = self._engine.transcribe([work.samples for work in batch], batch[0].options)
            except Exception as error:  # noqa: BLE001 - whatever an engine raises must reach its caller, not end the thread
                for work in batch:
                    work.future.set_exception(_as_molva_error(error))
            else:
                for work, hypothesis in zip(batch, hypotheses, strict=True):
                    work.future.set_result(hypothesis)

    def _take(self) -> list[_Work]:
        """The next windows of one batch: equal options, cancelled ones left out; empty after `close`."""
        batch: list[_Work] = []
        with self._changed:
            while not batch:
                while not self._waiting:
                    if self._closed:
                        return []
                    self._changed.wait()
                while self._waiting and len(batch) < self.info.batch_size:
                    if batch and self._waiting[0].options != batch[0].options:
                        break
                    work = self._waiting.popleft()
                    if work.future.set_running_or_notify_cancel():
                        batch.append(work)
        return batch


def _as_molva_error(error: Exception) -> MolvaError:
    if isinstance(error, MolvaError):
        return error
    log.error("the engine failed", exc_info=error)
    wrapped = InferenceError()
    wrapped.__cause__ = error
    return wrapped
