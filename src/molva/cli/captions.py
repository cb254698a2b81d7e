"""What a live session looks like: captions on a terminal, lines in a pipe, JSON for programs."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias

from rich.cells import cell_len
from rich.console import Console
from rich.live import Live
from rich.text import Text

if TYPE_CHECKING:
    from molva.client import Message

Show: TypeAlias = "Callable[[Message], None]"


@contextmanager
def captions(console: Console, *, as_json: bool) -> Iterator[Show]:
    """How messages are shown on standard output, which is the `console`'s."""
    if as_json:
        yield lambda message: print(json.dumps(message, ensure_ascii=False), flush=True)
    elif console.is_terminal:
        live = Live(console=console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False)
        with live:
            yield lambda message: _show_on_terminal(message, live)
    else:
        yield _print_final


def _print_final(message: "Message") -> None:
    if message["type"] == "final" and message["text"]:
        print(printable(message["text"]), flush=True)


def _show_on_terminal(message: "Message", live: Live) -> None:
    """Finals scroll up; below them is one line that changes, with what may still change dimmed."""
    if message["type"] == "partial":
        n_stable = message.get("stable", 0)
        line = Text(printable(message["text"]))
        line.stylize("dim", n_stable)
        live.update(ending_of(line, live.console.width - 1), refresh=True)
        return
    live.update(Text(), refresh=True)  # whatever comes next is printed where the line was
    if message["type"] == "final" and message["text"]:
        live.console.print(Text.assemble((f"{start_of(message)}  ", "cyan"), printable(message["text"])))


def ending_of(line: Text, width: int) -> Text:
    """As much of a line's end as `width` columns hold: the newest words are there."""
    cells = 0
    for start in range(len(line.plain), 0, -1):
        cells += cell_len(line.plain[start - 1])
        if cells > width:
            return line[start:]
    return line


def start_of(message: "Message") -> str:
    """When a message's first word begins, as `H:MM:SS.s` of the stream; blanks where no word has a time."""
    if not message["words"]:
        return " " * len("0:00:00.0")
    tenths = round(message["words"][0]["start"] * 10)
    return f"{tenths // 36_000}:{tenths // 600 % 60:02}:{tenths // 10 % 60:02}.{tenths % 10}"


def printable(text: str) -> str:
    """The same number of characters, with spaces for line breaks and for all that would steer a terminal."""
    return "".join(char if char.isprintable() else " " for char in text)
