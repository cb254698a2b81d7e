"""Threads that outlive whatever their work raises. An error there must reach whoever waits, and end nothing else."""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import ParamSpec, TypeVar

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

PAUSE_S = 1.0
"""Before a thread that has failed begins again."""


def as_exception(error: BaseException) -> Exception:
    """What may be handed to whoever waits for a thread.

    A `SystemExit`, which a library may raise, would end the event loop that takes it, without a drain.
    """
    if isinstance(error, Exception):
        return error
    escaped = RuntimeError(f"{error!r} was raised in a thread")
    escaped.__cause__ = error
    return escaped


def undying(name: str, work: Callable[[], None]) -> threading.Thread:
    """A daemon thread, to be started, that calls `work` until it returns, anew where it raises anything."""

    def run() -> None:
        while True:
            try:
                work()
            except BaseException:
                with suppress(BaseException):  # it may be memory that is wanting
                    log.exception("the thread '%s' failed in a way that it should not; it begins again", name)
                time.sleep(PAUSE_S)
            else:
                return

    return threading.Thread(target=run, name=name, daemon=True)


class ThreadPool(ThreadPoolExecutor):
    """One whose works fail with an `Exception`, whatever they raise."""

    def submit(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """See `Executor.submit`."""

        def contained() -> T:
            try:
                return work(*args, **kwargs)
            except Exception:
                raise
            except BaseException as error:
                raise as_exception(error) from error

        return super().submit(contained)
