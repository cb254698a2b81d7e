"""Medians and how far the rest is from them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Spread:
    """Several measurements of the same."""

    median: float
    low: float
    """A quarter of the measurements are lower."""
    high: float
    """A quarter of them are higher."""

    @property
    def relative(self) -> float:
        """Half the distance between the quartiles over the median; 0 where the median is."""
        return (self.high - self.low) / 2 / self.median if self.median else 0.0

    def show(self, decimals: int = 0, scale: float = 1.0) -> str:
        """Median and relative spread: `397 ±2%`."""
        return f"{self.median * scale:.{decimals}f} ±{self.relative:.0%}"


def spread(values: Sequence[float]) -> Spread:
    """Of at least one value."""
    low, median, high = np.percentile(np.asarray(values), [25, 50, 75])
    return Spread(float(median), float(low), float(high))


def ratios(values: Sequence[float], references: Sequence[float]) -> Spread:
    """Of measurements that were taken in turns: what slows the machine down for a while slows both of a pair down."""
    return spread([value / reference for value, reference in zip(values, references, strict=True)])
