"""Recordings of jobs on the disk, from the moment a job is accepted until it has ended."""

import logging
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from molva.errors import SettingsError, SpoolError
from molva.spool import SpoolFile

log = logging.getLogger(__name__)

ABANDONED_S = 600.0
"""After so many seconds without a job, a recording counts as left over: a younger one may be just arriving."""


class AudioShelf:
    """One file for each job. Only this user may read them. Calls block."""

    def __init__(self, folder: Path) -> None:
        """Makes `folder` where it is missing. Raises SettingsError where it cannot be written."""
        self._folder = folder
        self._unknown_since: dict[str, float] = {}
        """When a sweep has first seen a recording without a job, by the monotonic clock."""
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise SettingsError(
                f"Cannot keep recordings in {folder} ({error.strerror}). Choose another folder with --data-dir."
            ) from error

    def path(self, job_id: str) -> Path:
        """Where a job's recording is, if it is there."""
        return self._folder / job_id

    def take(self, audio: SpoolFile, job_id: str) -> None:
        """Keep an upload from now on, also over a loss of power. Raises SpoolError."""
        audio.move_to(self.path(job_id))
        try:
            descriptor = os.open(self._folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            log.warning("recordings cannot be kept: %s", error)
            raise SpoolError from error

    def remove(self, job_id: str) -> None:
        """Remove a job's recording, if it is there. One that the disk does not give up now is swept later."""
        try:
            self.path(job_id).unlink(missing_ok=True)
        except OSError as error:
            log.warning("the recording of job %s cannot be removed yet: %s", job_id, error)

    def set_aside(self) -> Path | None:
        """Put all recordings into a new folder beside this one, which nobody sweeps; None where there are none.

        Raises OSError.
        """
        recordings = list(self._folder.iterdir())
        if not recordings:
            return None
        aside = Path(tempfile.mkdtemp(prefix=f"{self._folder.name}-aside-", dir=self._folder.parent))
        for recording in recordings:
            recording.rename(aside / recording.name)
        return aside

    def sweep(self, is_needed: Callable[[str], bool | None]) -> None:
        """Remove recordings that a process left when it died. `is_needed` says None of a job that it does not know:
        its recording may be just arriving. Raises OSError.
        """
        now, seen = time.monotonic(), self._unknown_since
        self._unknown_since = {}
        for path in self._folder.iterdir():
            needed = is_needed(path.name)
            if needed is None:
                since = self._unknown_since[path.name] = seen.get(path.name, now)
                needed = now - since < ABANDONED_S
            if not needed:
                log.info("removing a recording that no job needs any more: %s", path.name)
                path.unlink(missing_ok=True)  # another process sweeps too
