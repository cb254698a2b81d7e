"""What molva promises of its speed, and whether a run keeps it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Target:
    """A measured figure and its bound."""

    what: str
    measured: float
    side: Literal["at least", "at most"]
    bound: float
    unit: str = ""

    @property
    def holds(self) -> bool:
        """Whether the bound is kept."""
        if self.side == "at least":
            return self.measured >= self.bound
        return self.measured <= self.bound


def table(targets: Sequence[Target]) -> list[str]:
    """As lines of Markdown."""
    rows = [
        f"| {target.what} | {target.measured:.4g}{target.unit} | {target.side} {target.bound:g}{target.unit} "
        f"| {'PASS' if target.holds else '**FAIL**'} |"
        for target in targets
    ]
    return ["| | measured | target | |", "|---|---|---|---|", *rows]
