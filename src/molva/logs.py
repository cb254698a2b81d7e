"""How log lines look, and whose work each one is about.

What clients send stays out of them: text, names of files, keys, query strings. Libraries are heard from warnings on
only, because below that some of them log what they are handed.
"""

import json
import logging
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Literal

from pydantic import ValidationError

LogFormat = Literal["human", "json"]

FIELDS = ("method", "route", "status", "ms", "key")
"""Of the line about a request, beside its id; given as `extra`."""
MAX_ID = 128
"""Characters of an id in a line: clients choose those of their requests."""

_bound: ContextVar[Mapping[str, str]] = ContextVar("bound", default=MappingProxyType({}))


@contextmanager
def about(**ids: str) -> Iterator[None]:
    """Have each line that is logged inside say what it is about: `request_id`, `job_id`.

    Threads that work for it see it too where they run in a copy of its context.
    """
    token = _bound.set({**_bound.get(), **{name: value[:MAX_ID] for name, value in ids.items()}})
    try:
        yield
    finally:
        _bound.reset(token)


def start_logging(level: str, log_format: LogFormat = "human") -> None:
    """Lines on stderr, from `level` on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if log_format == "json" else Lines())
    logging.basicConfig(handlers=[handler], force=True)
    set_log_level(level)
    # Its warnings quote what is wrong with a form; the client is told that anyway.
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)


def set_log_level(level: str) -> None:
    """Log what is at least so severe; what libraries tell of their own work has to be a warning."""
    ours = logging.getLevelNamesMapping()[level.upper()]
    logging.getLogger().setLevel(max(logging.WARNING, ours))
    logging.getLogger("molva").setLevel(ours)


class Lines(logging.Formatter):
    """For people."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name is logging's
        """The line, with the ids of what it is about at its end."""
        ids = (f" {name}={value}" for name, value in _bound.get().items())
        return super().formatMessage(record) + "".join(ids)

    def formatException(self, ei: "logging._SysExcInfoType") -> str:  # noqa: N802 - the name is logging's
        """The trace, without what clients sent."""
        return trace_of(ei[1])


class JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_bound.get(),
            **{name: value for name in FIELDS if (value := getattr(record, name, None)) is not None},
        }
        if record.exc_info:
            line["exception"] = trace_of(record.exc_info[1])
        return json.dumps(line, ensure_ascii=False, default=str)


def trace_of(error: BaseException | None) -> str:
    """The stack. Pydantic's errors quote what they were given, a whole transcript it may be: they lose that."""
    if error is None:
        return ""
    told: list[str] = []
    for part in _chain(error):
        known = traceback.TracebackException.from_exception(part)
        if isinstance(part, ValidationError):
            told.append("".join(known.stack.format()) + f"ValidationError: {part.error_count()} in {part.title}\n")
        else:
            told.append("".join(known.format(chain=False)))
    return "\nwhich led to\n\n".join(reversed(told)).rstrip("\n")


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and what it came from."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
