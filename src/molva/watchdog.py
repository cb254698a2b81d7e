"""Ends a process whose event loop stands still, since nobody else can: whoever runs it starts it again.

Python itself may make it stand still: without memory for its first frame a new thread never says that it has begun, and
`Thread.start` waits for that for ever.
"""

import asyncio
import logging
import os
import threading
import time

log = logging.getLogger(__name__)

LOOK_S = 1.0
LOOKS = 60
"""In vain, one after the other. Counted, since a process that was stopped for an hour is well."""


def watch(loop: asyncio.AbstractEventLoop, *, look_s: float = LOOK_S, looks: int = LOOKS) -> None:
    """Watch a loop that runs, from a thread, until it is closed."""
    turned = threading.Event()

    def look() -> None:
        in_vain = 0
        while in_vain < looks:
            try:
                loop.call_soon_threadsafe(turned.set)
            except RuntimeError:
                return  # it is closed
            time.sleep(look_s)
            in_vain = 0 if turned.is_set() else in_vain + 1
            turned.clear()
        log.critical("the event loop stands still for %.0f s: the process ends", look_s * looks)
        os._exit(1)

    threading.Thread(target=look, name="watchdog", daemon=True).start()
