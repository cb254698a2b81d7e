"""Time stamps for messages."""

import time

_START = time.time() - time.monotonic()


def unix_time() -> float:
    """Unix seconds that never run backwards within a process, whatever happens to the system's clock."""
    return _START + time.monotonic()
