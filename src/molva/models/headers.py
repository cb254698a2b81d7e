"""The response headers a download depends on, as values."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_CONTENT_RANGE = re.compile(r"\s*bytes\s+(?:(\d{1,18})-(\d{1,18})|\*)/(\d{1,18}|\*)\s*", re.ASCII | re.IGNORECASE)
_COUNT = re.compile(r"\d{1,18}", re.ASCII)
_STRONG_ETAG = re.compile(r'\s*"([^"]+)"\s*')


@dataclass(frozen=True, slots=True)
class ContentRange:
    """Which bytes of the file an answer holds; `start` is None in a 416, where it holds none."""

    start: int | None
    total: int | None
    """Length of the whole file in bytes; None when the server does not know."""


def content_range(value: str | None) -> ContentRange | None:
    """Reads a Content-Range header; None when it is absent, malformed or contradicts itself."""
    match = _CONTENT_RANGE.fullmatch(value or "")
    if match is None:
        return None
    first, last, length = match.groups()
    total = None if length == "*" else int(length)
    if first is None:
        return None if total is None else ContentRange(None, total)
    start, end = int(first), int(last)
    if end < start or (total is not None and end >= total):
        return None
    return ContentRange(start, total)


def strong_etag(value: str | None) -> str | None:
    """The text of an ETag that stands for exact bytes, without its quotes; None for a weak or absent one."""
    match = _STRONG_ETAG.fullmatch(value or "")
    return match[1] if match else None


def retry_after_s(value: str | None, now: datetime) -> float | None:
    """Seconds to wait by a Retry-After header, which holds seconds or a date; None when it says nothing usable."""
    if value is None:
        return None
    text = value.strip()
    if _COUNT.fullmatch(text):
        return float(text)
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):  # OverflowError: numbers that no date has
        return None
    aware = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max(0.0, (aware - now).total_seconds())


def length(value: str | None) -> int | None:
    """Reads a count of bytes; None when it is absent or no count."""
    text = (value or "").strip()
    return int(text) if _COUNT.fullmatch(text) else None
