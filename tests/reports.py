"""Tables in documents that programs write, so that no figure is typed."""

from collections.abc import Sequence
from pathlib import Path


def replace_section(path: Path, name: str, lines: Sequence[str]) -> None:
    """Put `lines` between `<!-- NAME -->` and `<!-- /NAME -->`. Raises ValueError where each is not there once."""
    text, begin, end = path.read_text(encoding="utf-8"), f"<!-- {name} -->", f"<!-- /{name} -->"
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(end) < text.index(begin):
        raise ValueError(f"{path} has no section {begin} … {end}")
    head, _, rest = text.partition(begin)
    tail = rest.partition(end)[2]
    path.write_text("\n".join([head + begin, "", *lines, "", end + tail]), encoding="utf-8")
