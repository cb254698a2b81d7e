"""What commands share in talking to a person: logs, and the progress of downloads."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.filesize import decimal

if TYPE_CHECKING:
    from molva.models.download import OnProgress, Progress

stderr = Console(stderr=True)


def start_logging(level: str) -> None:
    """Plain lines on stderr."""
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s", force=True)
    set_log_level(level)


def set_log_level(level: str) -> None:
    """Log what is at least so severe; what libraries tell of their own work has to be a warning."""
    logging.getLogger().setLevel(level.upper())
    for noisy in ("httpx2", "httpcore2", "faster_whisper", "uvicorn.error"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.getLogger().level))


@contextmanager
def show_downloads(console: Console) -> Iterator["OnProgress"]:
    """Bars on a terminal; elsewhere one line for each file and each pause."""
    if not console.is_terminal:
        yield _Lines(console)
        return
    from rich.progress import BarColumn, DownloadColumn, TaskID, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    bars = Bars(*columns, TimeRemainingColumn(), console=console)
    tasks: dict[str, TaskID] = {}

    def show(now: "Progress") -> None:
        if now.note:
            _say(console, f"{now.file}: {now.note}")
            return
        if now.file not in tasks:
            # Starts where an earlier try stopped, so that the rate is that of this try.
            tasks[now.file] = bars.add_task(now.file, completed=now.done, total=now.total)
        bars.update(tasks[now.file], completed=now.done, total=now.total)
        # Only while something moves: the terminal belongs to whatever comes next.
        if bars.finished:
            bars.stop()
        else:
            bars.start()

    try:
        yield show
    finally:
        bars.stop()


class _Lines:
    """Says of each file once that it is coming."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._started: set[str] = set()

    def __call__(self, now: "Progress") -> None:
        if now.note:
            _say(self._console, f"{now.file}: {now.note}")
        elif now.file not in self._started:
            self._started.add(now.file)
            _say(self._console, f"{now.file}: {'size unknown' if now.total is None else decimal(now.total)}")


def _say(console: Console, line: str) -> None:
    console.print(line, highlight=False, markup=False, soft_wrap=True)
