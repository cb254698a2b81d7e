"""Recordings of jobs on the disk, from the moment a job is accepted until it has ended."""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from molva.errors import SettingsError
from molva.spool import SpoolFile

ABANDONED_S = 600.0
"""Age in seconds at which a recording without a job counts as left over: a younger one may be just arriving."""


class AudioShelf:
    """One file for each job. Only this user may read them. Calls block."""

    def __init__(self, folder: Path) -> None:
        """Makes `folder` where it is missing. Raises SettingsError where it cannot be written."""
        self._folder = folder
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
        """Keep an upload from now on, also over a loss of power. Raises SpoolFull."""
        audio.move_to(self.path(job_id))
        descriptor = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def remove(self, job_id: str) -> None:
        """Remove a job's recording, if it is there."""
        self.path(job_id).unlink(missing_ok=True)

    def sweep(self, is_needed: Callable[[str], bool | None]) -> None:
        """Remove recordings that a process left when it died. `is_needed` says None of a job that it does not know:
        its recording may be just arriving.
        """
        for path in self._folder.iterdir():
            with suppress(FileNotFoundError):  # another process sweeps too
                needed = is_needed(path.name)
                if needed is None:
                    needed = time.time() - path.stat().st_ctime < ABANDONED_S
                if not needed:
                    path.unlink()
