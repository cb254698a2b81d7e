"""Times as documents have them."""

from datetime import UTC, datetime


def rfc3339(unix_s: float) -> str:
    """A time in UTC, to the millisecond."""
    return datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
