"""Files for what is being uploaded: private to this process, and gone when it is, however it ends."""

import errno
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Self

from filelock import FileLock, Timeout

from molva.errors import SettingsError, SpoolError, SpoolFull

log = logging.getLogger(__name__)

_PREFIX = "uploads-"
"""Only folders of this name are ever removed."""
_LOCK = ".lock"


class SpoolFile:
    """A new file that is removed when it is closed. A context manager.

    Blocking: removing 2 GiB takes a tenth of a second. Writes come from one thread at a time; closing from any.
    """

    def __init__(self, folder: Path, *, keep_free: int = 0) -> None:
        """`keep_free`: bytes that others on the same disk need; where writing would take of them, the disk counts as
        full. Raises SpoolError.
        """
        self._keep_free = keep_free
        with _plain_errors():
            descriptor, name = tempfile.mkstemp(dir=folder)
        self.path = Path(name)
        # Unbuffered: what is written is there for everybody, and closing has nothing left to write that may fail.
        self._file = os.fdopen(descriptor, "wb", buffering=0)
        self._writing = Lock()

    def expect(self, n_bytes: int) -> None:
        """Raises SpoolFull where the disk has no room for so many more bytes, SpoolError where it does not say."""
        with _plain_errors():
            free = shutil.disk_usage(self.path.parent).free
        if self._keep_free + n_bytes > free:
            raise SpoolFull

    def write(self, data: bytes | bytearray) -> None:
        """Adds all of `data` at the end. Raises SpoolFull where there is no room for it, SpoolError where it cannot be
        written otherwise, ValueError once closed."""
        if self._keep_free:
            self.expect(len(data))
        with self._writing, memoryview(data) as left, _plain_errors():
            written = 0
            while written < len(left):
                written += self._file.write(left[written:])

    def move_to(self, path: Path) -> None:
        """Keeps the file, complete and on the disk, as `path` on the same disk: closing no longer removes it.

        Raises SpoolError.
        """
        with self._writing, _plain_errors():
            os.fsync(self._file.fileno())
            self.path.replace(path)

    def close(self) -> None:
        """Removes the file; a write that is under way ends first. May be called twice."""
        try:
            self.path.unlink(missing_ok=True)
        finally:
            # Closing a descriptor under a write could make it write into whatever gets the same number next.
            with self._writing:
                self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class Spool:
    """A folder of its own under `folder`, which only this user may read, locked for the life of this process.

    Several processes may share `folder`. The operating system frees the lock of one that dies, however it does, and
    the next that starts removes what it left.
    """

    def __init__(self, folder: Path) -> None:
        """Makes `folder` where it is missing. Raises SettingsError where it cannot be written."""
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            # One process at a time: between its making and its locking, a folder looks abandoned.
            self._all = FileLock(folder / _LOCK, thread_local=False)
            with self._all:
                for entry in folder.glob(f"{_PREFIX}*"):
                    _remove_if_abandoned(entry)
                self.folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=folder))
                self._mine = FileLock(self.folder / _LOCK, thread_local=False)
                self._mine.acquire(timeout=0)
        except OSError as error:
            raise SettingsError(
                f"Cannot keep uploads in {folder} ({error.strerror}). Choose another folder with --data-dir."
            ) from error

    def file(self, *, keep_free: int = 0) -> SpoolFile:
        """A new empty file that only this user may read; `keep_free` as in SpoolFile. Raises SpoolError."""
        return SpoolFile(self.folder, keep_free=keep_free)

    def close(self) -> None:
        """Removes this process's folder and all that is in it. May be called twice."""
        with self._all:
            shutil.rmtree(self.folder, ignore_errors=True)
            self._mine.release()


def abandoned(folder: Path) -> list[Path]:
    """What processes that have died left in a spool, and the next one that starts will remove.

    Raises OSError where this user may not look.
    """
    if not (folder / _LOCK).exists():  # never made one here: it would belong to whoever looks
        return []
    with FileLock(folder / _LOCK, thread_local=False):
        return [entry for entry in folder.glob(f"{_PREFIX}*") if _is_free(entry)]


def _is_free(folder: Path) -> bool:
    try:
        with FileLock(folder / _LOCK).acquire(timeout=0):
            return True
    except (Timeout, OSError):  # OSError: another user's
        return False


def _remove_if_abandoned(folder: Path) -> None:
    lock = FileLock(folder / _LOCK)
    # OSError: another user's.
    with suppress(Timeout, OSError), lock.acquire(timeout=0):
        log.info("removing uploads of a process that has died: %s", folder.name)
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _plain_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise SpoolFull from error
        log.warning("uploads cannot be kept: %s", error)
        raise SpoolError from error
