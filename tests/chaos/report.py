"""Outcomes -> a table."""

from collections.abc import Sequence

from tests.chaos.load import End
from tests.chaos.scene import Outcome


def table(outcomes: Sequence[Outcome]) -> list[str]:
    """Lines of Markdown: a row for each fault, and one for all."""
    lines = [
        "| fault | what happens | times | done | told | cut | lost | survived |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for outcome in outcomes:
        counts = [outcome.ends.get(end.value, 0) for end in End]
        cells = [outcome.fault, outcome.happens, outcome.struck, *counts, "yes" if outcome.survived else "**no**"]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    sums = [sum(outcome.ends.get(end.value, 0) for outcome in outcomes) for end in End]
    survived = f"{sum(outcome.survived for outcome in outcomes)} of {len(outcomes)}"
    cells = [sum(outcome.struck for outcome in outcomes), *sums, survived]
    return [*lines, f"| **all** | | {' | '.join(map(str, cells))} |"]
