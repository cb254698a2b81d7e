"""How many live sessions a machine sustains, from how fast its engine is."""

UTILISATION = 0.6
"""Part of the workers' time that finals may take: the rest keeps queues short and leaves room for partials."""

SESSION_OVERHEAD = 0.01
"""Seconds of one core per second of audio outside the engine: socket, resampling, voice activity (bench/live.py)."""


def sustained_sessions(real_time_factor: float, workers: int) -> int:
    """Sessions whose finals come in time while all of them speak at once; 1 at least.

    `real_time_factor`: seconds of one worker for a second of audio.
    """
    by_engine = UTILISATION * workers / max(real_time_factor, 1e-6)
    by_loop = UTILISATION / SESSION_OVERHEAD
    return max(int(min(by_engine, by_loop)), 1)
