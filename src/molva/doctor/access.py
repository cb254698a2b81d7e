"""Keys: whether they are names, strong, and not forgotten ones."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from molva.doctor.finding import Finding, ok, warning
from molva.keys import Key

OLD = timedelta(days=365)

SHORT = 20
"""Characters that a key from the environment should have: 120 bits where they are random."""


def check_keys(keys: Sequence[Key], extra: str | None, now: datetime | None = None) -> Iterator[Finding]:
    """`extra`: the key of the environment."""
    now = now or datetime.now(UTC)
    if extra is not None:
        if len(extra) < SHORT:
            yield warning(
                "keys", f"MOLVA_API_KEY has {len(extra)} characters and can be guessed", "molva keys create NAME"
            )
        if keys:
            yield warning(
                "keys",
                f"MOLVA_API_KEY opens besides {len(keys)} named keys; it has no name, and only a restart revokes it",
                "Give its users a key of their own, and unset it.",
            )
        else:
            yield ok("keys", "MOLVA_API_KEY")
    for key in keys:
        if now - key.created > OLD:
            yield warning(
                "keys",
                f"'{key.name}' is {(now - key.created).days} days old",
                f"Make a new one for its user, then: molva keys revoke {key.name}",
            )
    if keys:
        yield ok("keys", f"{len(keys)} named")
    elif extra is None:
        yield ok("keys", "none: nobody is asked for one")
