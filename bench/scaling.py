"""What a second of audio costs in recordings of any length, and what a second core brings."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.clips import Clip, speech, write_wav
from bench.peers.competitors import LIBRARY
from bench.peers.process import Worker
from bench.spread import Spread, spread
from bench.targets import Target

PIECE_S = 10.0
"""Recordings repeat the same seconds, so that only their length differs."""

MIN_MEASURED_S = 60.0
"""Of audio in one measurement; shorter recordings are repeated."""

MAX_GROWTH = 1.1
"""Cost of a second of the longest recording over that of the shortest."""

MIN_SPEEDUP = 1.8
"""Of two cores over one."""


@dataclass(frozen=True)
class Plan:
    """What to run."""

    lengths_s: Sequence[float]
    speedup_length_s: float
    rounds: int
    cores: Sequence[int]


@dataclass(frozen=True)
class Scaling:
    """Of molva as a library."""

    cost_ms: dict[float, float]
    """Processor time on one core per second of audio, by length in seconds."""
    peak_mb: dict[float, float]
    """By the same, of a process that has done the shorter ones before."""
    throughput: dict[int, Spread]
    """Seconds of audio per second, by the number of cores."""

    @property
    def growth(self) -> float:
        """Cost of a second of the longest recording over that of the shortest."""
        return self.cost_ms[max(self.cost_ms)] / self.cost_ms[min(self.cost_ms)]

    @property
    def speedup(self) -> float:
        """Of two cores over one."""
        return self.throughput[2].median / self.throughput[1].median


def measure(models: Path, folder: Path, plan: Plan) -> Scaling:
    """Write the recordings and transcribe them."""
    cost_ms: dict[float, float] = {}
    peak_mb: dict[float, float] = {}
    with Worker(LIBRARY, models, plan.cores[:1]) as worker:
        worker.recognize(_recording(folder, PIECE_S).path)
        for length_s in sorted(plan.lengths_s):
            print(f"    a recording of {length_s:g} s", file=sys.stderr, flush=True)
            clip = _recording(folder, length_s)
            times = max(1, round(MIN_MEASURED_S / length_s))
            cpu_s = sum(worker.recognize(clip.path).cpu_s for _ in range(times))
            cost_ms[length_s] = cpu_s * 1000 / (times * clip.duration_s)
            peak_mb[length_s] = worker.peak_mb
            clip.path.unlink()
    return Scaling(cost_ms, peak_mb, _throughput(models, folder, plan))


def _throughput(models: Path, folder: Path, plan: Plan) -> dict[int, Spread]:
    counts = [1, 2] if len(plan.cores) > 1 else [1]
    clip = _recording(folder, plan.speedup_length_s)
    rates: dict[int, list[float]] = {count: [] for count in counts}
    workers = {count: Worker(LIBRARY, models, plan.cores[:count]) for count in counts}
    try:
        for number in range(plan.rounds):
            print(f"    one and two cores, round {number + 1} of {plan.rounds}", file=sys.stderr, flush=True)
            for count in counts:
                rates[count].append(clip.duration_s / workers[count].recognize(clip.path).wall_s)
    finally:
        for worker in workers.values():
            worker.close()
    return {count: spread(values) for count, values in rates.items()}


def _recording(folder: Path, length_s: float) -> Clip:
    piece = speech(PIECE_S)
    return write_wav(folder / f"recording-{length_s:g}.wav", [piece] * round(length_s / PIECE_S))


def table(scaling: Scaling) -> list[str]:
    """As lines of Markdown."""
    lines = ["| recording | CPU ms per second of audio | peak MB |", "|---|---|---|"]
    lines += [
        f"| {length_s:g} s | {cost:.1f} | {scaling.peak_mb[length_s]:.0f} |"
        for length_s, cost in scaling.cost_ms.items()
    ]
    lines += ["", "| cores | seconds of audio per second |", "|---|---|"]
    lines += [f"| {count} | {rate.show(1)} |" for count, rate in scaling.throughput.items()]
    return lines


def targets(scaling: Scaling) -> list[Target]:
    """What molva promises of both."""
    shortest, longest = min(scaling.cost_ms), max(scaling.cost_ms)
    name = f"a second of {longest:g} s / a second of {shortest:g} s"
    found = [Target(name, scaling.growth, "at most", MAX_GROWTH, "×")]
    if 2 in scaling.throughput:
        found.append(Target("throughput of 2 cores / 1 core", scaling.speedup, "at least", MIN_SPEEDUP, "×"))
    return found
