"""How many live sessions a machine sustains, from how fast its engine is.

Calibrated with bench/live.py: finals within a second after the endpoint's silence at the 95th percentile.
"""

UTILISATION = 0.5
"""Part of the cores' time that may be spoken for: the rest keeps queues short and leaves room for partials."""

SESSION_OVERHEAD = 0.014
"""Seconds of a core per second of audio outside the engine: socket, resampling, voice activity."""


def sustained_sessions(real_time_factor: float, workers: int) -> int:
    """Sessions whose finals come in time while all of them speak at once; 1 at least.

    `real_time_factor`: seconds of one worker for a second of audio. What is outside the engine runs on one event loop,
    which has an end of its own.
    """
    by_cores = UTILISATION * workers / (real_time_factor + SESSION_OVERHEAD)
    by_loop = UTILISATION / SESSION_OVERHEAD
    return max(int(min(by_cores, by_loop)), 1)
