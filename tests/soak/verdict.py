"""What a server held over time -> whether that grows. Pure functions."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import theilslopes

from tests.chaos.clients import End
from tests.soak.faults import AT_REST, FAULTS
from tests.soak.meter import Sample
from tests.soak.run import Record, warm_up_s

PER_S = 600.0
"""What slopes are told for."""
FULL_S = 3600.0
"""A soak so long has to show that slopes are below their limits; a shorter one can show that they are not."""
SHORTEST_S = 240.0
"""A server that was started less than this ago still grows into its work: nothing is said of slopes."""
BLOCKS = 25
"""Samples that follow each other are much alike; medians of blocks are less so, and forget peaks of single requests."""
CONFIDENCE = 0.95
MOST_ALIKE = 0.9
"""Correlation of neighbours that is reckoned with."""
FEWEST = 4
"""Values that a slope is told of."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Slope:
    """How fast something grows, in its unit per ten minutes, and between which two values that lies."""

    estimate: float
    low: float
    high: float
    offset: float
    """Where the line is at time 0."""

    def __str__(self) -> str:
        return f"{self.estimate:+.2f} ({self.low:+.2f} to {self.high:+.2f})"

    def exceeds(self, limit: float, duration_s: float) -> bool:
        """Whether it is too steep.

        Over an hour the estimate says so. In less time even a flat line's slope is uncertain by more than the limit,
        so there its whole interval must be beyond.
        """
        if duration_s < SHORTEST_S:
            return False
        return (self.estimate if duration_s >= FULL_S else self.low) > limit


def slope(times_s: Sequence[float], values: Sequence[float]) -> Slope:
    """The robust slope by Theil (1950) and Sen (1968), over medians of blocks.

    Its confidence interval takes values for independent, which those of a heap are not: it is widened by the
    correlation of neighbours that the line leaves over, as for the mean of an autoregressive series.
    """
    times, blocks = _medians(np.asarray(times_s, float), np.asarray(values, float))
    found = theilslopes(blocks, times, CONFIDENCE)
    rest = blocks - found.intercept - found.slope * times
    wider = math.sqrt((1 + (kept := _correlation(rest))) / (1 - kept))
    return Slope(
        estimate=float(found.slope) * PER_S,
        low=float(found.slope - (found.slope - found.low_slope) * wider) * PER_S,
        high=float(found.slope + (found.high_slope - found.slope) * wider) * PER_S,
        offset=float(found.intercept),
    )


def _medians(times: Floats, values: Floats) -> tuple[Floats, Floats]:
    count = min(BLOCKS, len(times))
    return (
        np.array([np.median(block) for block in np.array_split(times, count)]),
        np.array([np.median(block) for block in np.array_split(values, count)]),
    )


def _correlation(rest: Floats) -> float:
    """Of neighbours; 0 where there is none, or a negative one."""
    spread = float(rest @ rest - rest[0] ** 2 / 2 - rest[-1] ** 2 / 2)
    return min(max(float(rest[1:] @ rest[:-1]) / spread, 0.0), MOST_ALIKE) if spread > 0 else 0.0


@dataclass(frozen=True)
class Line:
    """Something that must stay as it is."""

    name: str
    unit: str
    read: Callable[[Sample], float]
    at_rest: bool = False
    """Whether it is looked at while nobody asks for anything, or while everybody does."""
    limit: float = 1.0
    """Of its growth in PER_S."""


LINES = (
    Line("memory", "MB", lambda sample: sample.memory_mb),
    Line("descriptors", "", lambda sample: sample.descriptors),
    Line("threads", "", lambda sample: sample.threads),
    Line("data folder", "MB", lambda sample: sample.disk_mb, at_rest=True),
)


def series(record: Record, line: Line) -> tuple[list[float], list[float]]:
    """Times in seconds and values, after the warm-up: of all samples under load, or the last of each rest."""
    counted = [sample for sample in record.samples if sample.at_s >= warm_up_s(record.duration_s)]
    if line.at_rest:
        rests = [[sample for sample in counted if began <= sample.at_s <= ended] for began, ended in record.rests]
        counted = [samples[-1] for samples in rests if samples]
    else:
        counted = [
            sample for sample in counted if not any(began <= sample.at_s <= ended for began, ended in record.rests)
        ]
    return [sample.at_s for sample in counted], [line.read(sample) for sample in counted]


def slope_of(record: Record, line: Line) -> Slope | None:
    """How fast it grew; None where there is too little to tell."""
    times, values = series(record, line)
    return slope(times, values) if len(times) >= FEWEST else None


def unsettled(record: Record) -> list[str]:
    """What a soak was too short to tell of: it may be flat, and may grow by more than it should."""
    found = []
    for line in LINES:
        grows = slope_of(record, line)
        had_time = record.duration_s >= SHORTEST_S
        sure = had_time and grows is not None and (record.duration_s >= FULL_S or grows.high <= line.limit)
        found += [] if sure or (grows is not None and grows.exceeds(line.limit, record.duration_s)) else [line.name]
    return found


def breaches(record: Record) -> list[str]:
    """All that must not be."""
    found = list(record.problems)
    for line in LINES:
        grows = slope_of(record, line)
        if grows is None and not line.at_rest:
            found.append(f"{line.name}: too few samples")
        elif grows is not None and grows.exceeds(line.limit, record.duration_s):
            found.append(f"{line.name}: it grows by {grows} {line.unit} in ten minutes")
    for door, ends in record.ends.items():
        found += [f"{door}: {ends[end]} {end}" for end in (End.CUT, End.LOST) if ends[end]]
        found += [] if ends[End.DONE] else [f"{door}: nothing was done"]
    happened = {name for _, name in record.faults}
    found += [f"{fault.name}: it never happened" for fault in (*FAULTS, *AT_REST) if fault.name not in happened]
    unanswered = sum(sample.health_s is None for sample in record.samples)
    found += [f"/health: {unanswered} times no answer"] if unanswered else []
    return found
