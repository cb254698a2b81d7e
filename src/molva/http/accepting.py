"""Connections that wait because the process may open no more files: told now and then, not for each try."""

import asyncio
import errno
import logging
import time
from collections.abc import Callable
from typing import Any

log = logging.getLogger(__name__)

WANTING = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""What asyncio takes for a lack that passes: it tries again in a second. That of Python 3.11 tries up to as often as
connections may wait, 2048 times, and tells each with a trace."""
TOLD_EVERY_S = 10.0


class AcceptErrors:
    """An exception handler for an event loop; see `loop.set_exception_handler`."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._told_at = -TOLD_EVERY_S

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Tell of an error, as asyncio does unless it is one of `WANTING`."""
        error = context.get("exception")
        if not (context["message"].startswith("socket.accept()") and getattr(error, "errno", None) in WANTING):
            loop.default_exception_handler(context)
        elif self._clock() - self._told_at >= TOLD_EVERY_S:
            self._told_at = self._clock()
            log.error("no new connection can be taken (%s); a higher limit of open files helps: ulimit -n", error)
