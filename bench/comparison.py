"""molva and its peers in turns on the same clips: processor time on one core, then latency on all."""

import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from bench.clips import Clip
from bench.peers.competitors import COMPETITORS, LIBRARY, MOLVA, PEERS, Competitor
from bench.peers.process import Worker
from bench.spread import Spread, ratios, spread
from bench.targets import Target

REQUEST = "5 s"
"""The clip whose latency is compared."""

LONGEST = "25 s"
"""The clip that takes the most memory."""

MIX = "mix"
"""The clips whose processor time is compared."""

MAX_LOAD_S = 0.7
MAX_MEMORY_MB = 420.0

COMPARABLE = 1.5
"""Engines whose symbols differ by more than this factor have not done the same work."""


@dataclass
class Measured:
    """Of one engine. Lists have a value for each round."""

    name: str
    load_s: list[float] = field(default_factory=list)
    cpu_s: dict[str, list[float]] = field(default_factory=dict)
    """By clip, per second of audio."""
    one_core_s: dict[str, list[float]] = field(default_factory=dict)
    """By clip, from asking to text, per second of audio: the real-time factor."""
    latency_s: list[float] = field(default_factory=list)
    symbols_per_s: float = 0.0
    memory_mb: float = 0.0
    """Of the process alone, all cores, after its longest clip."""
    peak_mb: float = 0.0


@dataclass(frozen=True)
class Plan:
    """What to run."""

    rounds: int
    requests: int
    loads: int
    cores: Sequence[int]
    device: str = "cpu"


def compare(
    models: Path, clips: Mapping[str, Sequence[Clip]], plan: Plan, competitors: Sequence[Competitor] = COMPETITORS
) -> list[Measured]:
    """Run everything; all engines are loaded at once, and one at a time works."""
    results = {competitor.name: Measured(competitor.name) for competitor in competitors}
    # Some keep what they have optimised from their first start on.
    _measure_loads(models, competitors, clips, plan, results)
    with ExitStack() as stack:
        workers = [
            stack.enter_context(Worker(competitor, models, plan.cores[:1], device=plan.device))
            for competitor in competitors
        ]
        _warm_up(workers, clips[REQUEST])
        for number in range(plan.rounds):
            _say(f"one core, round {number + 1} of {plan.rounds}")
            _measure_round(_rotated(workers, number), clips, results)
    with ExitStack() as stack:
        workers = [
            stack.enter_context(Worker(competitor, models, plan.cores, device=plan.device))
            for competitor in competitors
        ]
        _warm_up(workers, [*clips[LONGEST], *clips[REQUEST]])
        _say(f"{len(plan.cores)} cores, {plan.requests} requests")
        for number in range(plan.requests):
            for worker in _rotated(workers, number):
                timings = [worker.recognize(clip.path) for clip in clips[REQUEST]]
                results[worker.competitor.name].latency_s.append(sum(timing.wall_s for timing in timings))
        for worker in workers:
            results[worker.competitor.name].peak_mb = worker.peak_mb
    return list(results.values())


def _measure_loads(
    models: Path,
    competitors: Sequence[Competitor],
    clips: Mapping[str, Sequence[Clip]],
    plan: Plan,
    results: Mapping[str, Measured],
) -> None:
    for competitor in competitors:
        _say(f"loading {competitor.name}")
        for number in range(plan.loads + 1):
            with Worker(competitor, models, plan.cores, device=plan.device) as worker:
                if number > 0:
                    results[competitor.name].load_s.append(worker.load_s)
                if number == plan.loads:
                    _warm_up([worker], [*clips[LONGEST], *clips[REQUEST]])
                    results[competitor.name].memory_mb = worker.memory_mb


def _warm_up(workers: Sequence[Worker], clips: Sequence[Clip]) -> None:
    for worker in workers:
        for clip in (*clips, *clips):
            worker.recognize(clip.path)


def _measure_round(
    workers: Sequence[Worker], clips: Mapping[str, Sequence[Clip]], results: Mapping[str, Measured]
) -> None:
    for name, group in clips.items():
        duration_s = sum(clip.duration_s for clip in group)
        for worker in workers:
            measured = results[worker.competitor.name]
            timings = [worker.recognize(clip.path) for clip in group]
            measured.cpu_s.setdefault(name, []).append(sum(timing.cpu_s for timing in timings) / duration_s)
            measured.one_core_s.setdefault(name, []).append(sum(timing.wall_s for timing in timings) / duration_s)
            if name == MIX:
                measured.symbols_per_s = sum(timing.symbols for timing in timings) / duration_s


def _rotated(workers: Sequence[Worker], number: int) -> list[Worker]:
    """Nobody always comes after the same one."""
    first = number % len(workers)
    return [*workers[first:], *workers[:first]]


def table(results: Sequence[Measured]) -> list[str]:
    """As lines of Markdown: medians and spread, with ratios to molva in brackets."""
    reference = _of(results, MOLVA)
    groups = list(reference.cpu_s)

    def cell(mine: Sequence[float], its: Sequence[float], decimals: int, measured: Measured) -> str:
        shown = spread(mine).show(decimals, 1000)
        return shown if measured is reference else f"{shown} ({ratios(mine, its).median:.2f}×)"

    lines = [
        f"| | {' | '.join(f'CPU, {name}' for name in groups)} | RTF, {MIX} | latency, {REQUEST} | load | memory "
        "| peak | symbols |",
        "|---" * (len(groups) + 7) + "|",
    ]
    for measured in results:
        cells = [cell(measured.cpu_s[name], reference.cpu_s[name], 0, measured) for name in groups]
        cells += [
            spread(measured.one_core_s[MIX]).show(3),
            cell(measured.latency_s, reference.latency_s, 0, measured),
            spread(measured.load_s).show(2),
            f"{measured.memory_mb:.0f}",
            f"{measured.peak_mb:.0f}",
            f"{measured.symbols_per_s:.1f}",
        ]
        lines.append(f"| {measured.name} | {' | '.join(cells)} |")
    return lines


def targets(results: Sequence[Measured]) -> list[Target]:
    """What molva promises against each peer, and of its own start and size."""
    mine = _of(results, MOLVA)
    found = []
    for peer in PEERS:
        its = _of(results, peer)
        ratio: Spread = ratios(its.cpu_s[MIX], mine.cpu_s[MIX])
        assert peer.cpu_ratio is not None
        assert peer.latency_ratio is not None
        found.append(Target(f"CPU, {MIX}: {peer.name} / molva", ratio.median, "at least", peer.cpu_ratio, "×"))
        ratio = ratios(its.latency_s, mine.latency_s)
        found.append(
            Target(f"latency, {REQUEST}: {peer.name} / molva", ratio.median, "at least", peer.latency_ratio, "×")
        )
    library = _of(results, LIBRARY)
    found.append(Target("load from the cached graph", spread(mine.load_s).median, "at most", MAX_LOAD_S, " s"))
    found.append(Target("memory of a process with one model", library.memory_mb, "at most", MAX_MEMORY_MB, " MB"))
    return found


def different_work(results: Sequence[Measured]) -> list[str]:
    """Engines that emitted far more or fewer symbols than molva: their figures do not compare."""
    wanted = _of(results, MOLVA).symbols_per_s
    return [
        measured.name
        for measured in results
        if not wanted / COMPARABLE <= measured.symbols_per_s <= wanted * COMPARABLE
    ]


def _of(results: Sequence[Measured], competitor: Competitor) -> Measured:
    return next(measured for measured in results if measured.name == competitor.name)


def _say(what: str) -> None:
    print(f"    {what}", file=sys.stderr, flush=True)
