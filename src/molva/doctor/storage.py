"""DATA_DIR: its rights, the database in it, and what dead processes have left there."""

import os
import sqlite3
import stat
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from rich.filesize import decimal

from molva.database import VERSION
from molva.doctor.finding import Finding, ok, problem, warning
from molva.doctor.machine import existing
from molva.spool import abandoned

OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
OTHERS_READ = stat.S_IRGRP | stat.S_IROTH


def check_data_dir(folder: Path) -> Finding:
    """Whether this user can write there, and only this user."""
    owner = existing(folder)
    if not owner.is_dir() or not os.access(owner, os.W_OK | os.X_OK):
        return problem(
            "data folder",
            f"{owner} is no folder that user {os.geteuid()} can write to",
            "Run this as the server's user, change the owner of the folder, or choose another --data-dir.",
        )
    if owner != folder.absolute():
        return ok("data folder", f"{folder} will be made at the first start")
    if folder.stat().st_mode & OTHERS_WRITE:
        return problem("data folder", f"other users can write to {folder}", f"chmod go-w {folder}")
    return ok("data folder", str(folder))


def check_secrets(files: Sequence[Path]) -> Iterator[Finding]:
    """Rights of files that hold keys, transcripts or settings with secrets. Those that are missing are nothing."""
    sound = 0
    for file in files:
        if not file.exists():
            continue
        mode = file.stat().st_mode
        if mode & OTHERS_WRITE:
            yield problem("rights", f"other users can write to {file}", f"chmod go-rwx {file}")
        elif mode & OTHERS_READ:
            yield problem("rights", f"other users can read {file}", f"chmod go-rwx {file}")
        else:
            sound += 1
    if sound:
        yield ok("rights", f"{sound} private {'file' if sound == 1 else 'files'}, for their owner only")


def check_database(path: Path) -> Finding:
    """SQLite's own quick check. A running server reads and writes on meanwhile: nothing is locked or changed."""
    if not path.exists():
        return ok("database", f"{path} will be made at the first start")
    advice = "Stop the server; restore the file from a copy, or move it away to start with an empty one."
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            [version] = connection.execute("PRAGMA user_version").fetchone()
            [answer] = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error as error:
        return problem("database", f"{path} cannot be read: {error}", advice)
    if answer != "ok":
        return problem("database", f"{path} is damaged: {answer}", advice)
    if version > VERSION:
        return problem("database", f"{path} was made by a newer molva", "Install that version again.")
    return ok("database", f"{path}, {decimal(path.stat().st_size)}")


def check_spool(folder: Path) -> Finding:
    """Uploads of processes that were killed."""
    left = abandoned(folder)
    if not left:
        return ok("spool", "nothing is left over")
    size = sum(file.stat().st_size for entry in left for file in entry.iterdir())
    return warning(
        "spool",
        f"{decimal(size)} of uploads of {len(left)} dead {'process' if len(left) == 1 else 'processes'} in {folder}",
        "The next start of the server removes them.",
    )
