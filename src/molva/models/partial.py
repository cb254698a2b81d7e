"""A file that is still arriving: `<name>.partial`, with `<name>.partial.json` to say which bytes those are."""

import json
from pathlib import Path
from typing import BinaryIO

from molva.models.disk import settle, write_json
from molva.models.hub import Held


class Partial:
    """The arriving bytes of `target`. They survive a crash and are never taken for the file itself."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self.path = target.with_name(f"{target.name}.partial")
        self._note = target.with_name(f"{target.name}.partial.json")

    @property
    def size(self) -> int:
        """Bytes that have arrived."""
        return self.path.stat().st_size if self.path.exists() else 0

    def held(self) -> Held | None:
        """What can be gone on with; None when there is nothing or nobody knows what it is."""
        try:
            etag = json.loads(self._note.read_text(encoding="utf-8"))["etag"]
        except (FileNotFoundError, ValueError, KeyError, TypeError, RecursionError):
            return None
        return Held(self.size, etag) if self.size and isinstance(etag, str) else None

    def open(self, start: int, etag: str | None) -> BinaryIO:
        """For writing from `start` on: 0, which drops what is there, or the present size."""
        if start:
            return self.path.open("ab")
        file = self.path.open("wb")
        # In this order: old bytes are never found with the new note.
        write_json(self._note, {"etag": etag})
        return file

    def finish(self) -> None:
        """Gives the file its name."""
        settle(self.path, self._target)
        self._note.unlink(missing_ok=True)

    def discard(self) -> None:
        """Deletes what has arrived."""
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)
