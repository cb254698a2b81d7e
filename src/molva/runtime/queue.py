"""Which windows are decoded next: by priority, in turn within a class, and no class for ever.

Not thread-safe: `scheduler.py` holds its lock around every call.
"""

import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from enum import IntEnum

from molva.engines.base import Engine, Hypothesis, Options
from molva.samples import Samples


class Priority(IntEnum):
    """What goes first. A window that has started is never interrupted, so a final waits for one window at most."""

    LIVE_FINAL = 0
    LIVE_PARTIAL = 1
    REQUEST = 2
    JOB = 3


PATIENCE = 8
"""Windows that may pass by a waiting class before it has its turn. Finals always go first: admission bounds them."""


@dataclass(eq=False, slots=True)
class Work:
    """One window on its way to an engine."""

    engine: Engine
    samples: Samples
    options: Options
    priority: Priority
    deadline: float | None = None
    """In `time.monotonic()`: later it need not be started."""
    future: Future[Hypothesis] = field(default_factory=Future)
    context: Context = field(default_factory=copy_context)
    """Of its caller: what is logged and traced of it there belongs to that request."""
    queued: float = field(default_factory=time.perf_counter)


class WorkQueue:
    """Windows that have not started."""

    def __init__(self) -> None:
        self._classes: dict[Priority, deque[Work]] = {priority: deque() for priority in Priority}
        self._passed_by = dict.fromkeys(Priority, 0)

    def depths(self) -> dict[Priority, int]:
        """How many wait, by class."""
        return {priority: len(works) for priority, works in self._classes.items()}

    def add(self, work: Work, replacing: Future[Hypothesis] | None = None) -> None:
        """Queue `work`, in the place of `replacing` where that one still waits; the older one is cancelled then."""
        works = self._classes[work.priority]
        for place, other in enumerate(works):
            if other.future is replacing and other.future.cancel():
                works[place] = work
                return
        works.append(work)

    def promote(self, future: Future[Hypothesis], priority: Priority) -> None:
        """Move a window that still waits to the end of another class."""
        for works in self._classes.values():
            for work in works:
                if work.future is future:
                    works.remove(work)
                    work.priority = priority
                    self._classes[priority].append(work)
                    return

    def clear(self) -> list[Work]:
        """Take everything out."""
        works = [work for works in self._classes.values() for work in works]
        for waiting in self._classes.values():
            waiting.clear()
        return works

    def take(self, *, partials: bool) -> list[Work]:
        """The next windows for one call of an engine, as many as it wants; empty where nothing may start.

        They are for the same engine, with equal options and, where it asks for that, of equal lengths. Partials are
        left out unless `partials`. Windows whose callers have gone are dropped on the way.
        """
        first = self._next(partials=partials)
        if first is None:
            return []
        batch, size = [first], first.engine.info.batch_size
        for priority, works in self._classes.items():
            if len(batch) < size and (partials or priority != Priority.LIVE_PARTIAL):
                for work in [work for work in works if fits(work, first)][: size - len(batch)]:
                    works.remove(work)
                    if work.future.set_running_or_notify_cancel():
                        batch.append(work)
        return batch

    def _next(self, *, partials: bool) -> Work | None:
        for priority in self._turns(partials=partials):
            works = self._classes[priority]
            while works:
                work = works.popleft()
                if work.future.set_running_or_notify_cancel():
                    self._count_passed_by(priority)
                    return work
        return None

    def _turns(self, *, partials: bool) -> Iterator[Priority]:
        """Classes in the order in which they may go now."""
        yield Priority.LIVE_FINAL
        impatient = [p for p in reversed(Priority) if self._passed_by[p] >= PATIENCE]
        for priority in dict.fromkeys([*impatient, *Priority]):
            if priority != Priority.LIVE_FINAL and (partials or priority != Priority.LIVE_PARTIAL):
                yield priority

    def _count_passed_by(self, taken: Priority) -> None:
        self._passed_by[taken] = 0
        for priority, works in self._classes.items():
            if priority > taken:
                self._passed_by[priority] = self._passed_by[priority] + 1 if works else 0


def fits(work: Work, first: Work) -> bool:
    """Whether two windows can go through the engine in one call."""
    if work.engine is not first.engine or work.options != first.options:
        return False
    return not first.engine.info.equal_lengths or work.samples.size == first.samples.size
