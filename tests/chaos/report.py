"""Outcomes -> a table."""

from collections.abc import Sequence

from tests.chaos.clients import End
from tests.chaos.scene import Outcome


def table(outcomes: Sequence[Outcome]) -> list[str]:
    """Lines of Markdown: a row for each fault, and one for all."""
    lines = [
        "| fault | what happens | times | done | told | cut | lost | survived |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for outcome in outcomes:
        counts = [outcome.ends.get(end.value, 0) for end in End]
        verdict = f"left out: {outcome.left_out}" if outcome.left_out else "yes" if outcome.survived else "**no**"
        cells = [outcome.fault, outcome.happens, outcome.struck, *counts, verdict]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    sums = [sum(outcome.ends.get(end.value, 0) for outcome in outcomes) for end in End]
    tried = [outcome for outcome in outcomes if not outcome.left_out]
    survived = f"{sum(outcome.survived for outcome in tried)} of {len(tried)}"
    cells = [sum(outcome.struck for outcome in outcomes), *sums, survived]
    return [*lines, f"| **all** | | {' | '.join(map(str, cells))} |"]
