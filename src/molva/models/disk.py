"""What is done to files on the disk, and what can go wrong there, told plainly."""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from molva.errors import DiskFull, ModelError

BLOCK = 1 << 20
"""Bytes read at a time."""


@contextmanager
def plain_errors(folder: Path, needed: int | None = None) -> Iterator[None]:
    """Turns the operating system's refusals about `folder` into DiskFull and ModelError.

    `needed` is how many more bytes the work inside was going to write, where that is known.
    """
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise DiskFull(_no_room(folder, needed)) from error
        if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
            raise ModelError(
                f"No permission for the model folder {folder} ({error.strerror}). "
                "Give this user access to it, or choose another folder with --model-dir."
            ) from error
        if error.errno in {errno.EMFILE, errno.ENFILE, errno.ENOMEM}:
            raise ModelError(
                f"The model folder cannot be looked at now ({error.strerror}); try again later."
            ) from error
        if error.errno in {errno.ENOTDIR, errno.EEXIST}:
            raise ModelError(f"The model folder {folder} is not a folder. Choose another with --model-dir.") from error
        raise


def require_space(folder: Path, needed: int) -> None:
    """Raises DiskFull when `needed` more bytes do not fit on the disk of `folder`."""
    if needed > shutil.disk_usage(folder).free:
        raise DiskFull(_no_room(folder, needed))


def _no_room(folder: Path, needed: int | None) -> str:
    amount = "more room is needed" if needed is None else f"{needed:,} more bytes are needed"
    return f"The disk of {folder} is full: {amount}. Free some space and run this again."


def write_json(path: Path, value: object) -> None:
    """Writes `path` so that a reader sees the old content or the new, never a part."""
    staging = path.with_name(f"{path.name}.tmp")
    staging.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    staging.replace(path)


def settle(staging: Path, target: Path) -> None:
    """Gives a finished file its name. The bytes are on the disk first: a power cut leaves no empty file behind."""
    with staging.open("rb") as file:
        os.fsync(file.fileno())
    staging.replace(target)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def git_blob_sha1_of(path: Path) -> str:
    """The id git gives a file's content, in hex: what the hub knows about files that are not in LFS."""
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()
