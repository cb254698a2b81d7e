"""Between the event loop and threads: work that stays part of its request, and waiting for runs in the engine."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextvars import copy_context
from typing import Any, TypeVar

T = TypeVar("T")


def in_context(work: Callable[[], T]) -> Callable[[], T]:
    """`work` for another thread, logged and traced there as part of what goes on here."""
    context = copy_context()
    return lambda: context.run(work)


def when_done(futures: Sequence[Future[Any]], then: Callable[[], None]) -> None:
    """Call `then` on the running event loop once no future is left to wait for; at once where none is."""
    loop = asyncio.get_running_loop()
    left = len(futures)

    def one_ended() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            then()

    if not left:
        then()
    for future in futures:
        future.add_done_callback(lambda _: loop.call_soon_threadsafe(one_ended))
