"""Figures in documents come from the programs that measure them, never from hands."""

from collections.abc import Sequence
from pathlib import Path


def replace_section(path: Path, name: str, lines: Sequence[str]) -> None:
    """Put `lines` between the markers `<!-- name -->` and `<!-- /name -->` of a document.

    Raises ValueError where it does not have both, once each and in order.
    """
    begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    text = path.read_text(encoding="utf-8")
    before, begin_found, rest = text.partition(begin)
    _, end_found, after = rest.partition(end)
    if not begin_found or not end_found or begin in rest or end in before + after:
        raise ValueError(f"{path} has no section between '{begin.strip()}' and '{end}'")
    path.write_text(before + begin + "".join(f"{line}\n" for line in lines) + end + after, encoding="utf-8")
