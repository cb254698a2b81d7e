"""How many live sessions a machine sustains, from how fast its engine is.

Calibrated with bench/live.py: finals within a second after the endpoint's silence at the 95th percentile.
"""

UTILISATION = 0.6
"""Part of the workers' time that may be spoken for: the rest keeps queues short and leaves room for partials."""

UTILISATION_ALONE = 0.4
"""The same where there is one worker: a final often waits behind a partial that has begun."""

SESSION_OVERHEAD = 0.014
"""Seconds of a core per second of audio outside the engine: socket, resampling, voice activity."""


def sustained_sessions(real_time_factor: float, workers: int) -> int:
    """Sessions whose finals come in time while all of them speak at once; 1 at least.

    `real_time_factor`: seconds of one worker for a second of audio. What is outside the engine runs on one event loop,
    which has an end of its own.
    """
    utilisation = UTILISATION if workers > 1 else UTILISATION_ALONE
    by_cores = utilisation * workers / (real_time_factor + SESSION_OVERHEAD)
    by_loop = UTILISATION / SESSION_OVERHEAD
    return max(int(min(by_cores, by_loop)), 1)
