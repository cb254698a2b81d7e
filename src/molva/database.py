"""The embedded database: SQLite with a write-ahead log, one thread that writes.

Works that wait together are committed together, so that many small writes cost one flush to the disk. Several
processes may use one file.
"""

import logging
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from molva.errors import SettingsError, StoreError, StoreFull
from molva.threads import undying

log = logging.getLogger(__name__)

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

VERSION = 1
"""Of the tables."""
BUSY_TIMEOUT_S = 30.0
"""How long a write waits for those of other processes."""
BUSY_PAUSE_S = 0.02
MAX_TOGETHER = 64
"""Works in one commit."""

FULL = frozenset({sqlite3.SQLITE_FULL})
DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
TROUBLES = (sqlite3.Error, MemoryError)
"""What SQLite fails with; it tells a lack of memory in Python's own way."""
PRIMARY = 0xFF
"""Bits of SQLite's extended error codes that tell the kind."""


class Database:
    """One file. Thread-safe; calls block until the disk has what they wrote."""

    def __init__(self, path: Path, tables: Sequence[str]) -> None:
        """`tables`: scripts that make tables where they are missing.

        The file is made with rights for its owner only. Raises SettingsError where it cannot be used, with what to do.
        """
        self._path = path
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
            self._writer = self._connect()
            self._reader = self._connect()
            self._prepare(tables)
        except (OSError, sqlite3.Error) as error:
            raise SettingsError(
                f"The database '{path}' cannot be used ({_reason(error)}). "
                "Restore it from a copy, or move it away to start with an empty one."
            ) from error
        self._reading = threading.Lock()
        self._closing = threading.Lock()
        self._closed = False
        self._works: queue.SimpleQueue[tuple[Work[object], Future[object]] | None] = queue.SimpleQueue()
        self._thread = undying("database", self._run)
        self._thread.start()

    def write(self, work: Work[T]) -> T:
        """The result of `work` once it is on the disk; all or nothing of what it changed.

        Raises what `work` raises, StoreFull where the disk has no room, and StoreError for all else.
        """
        future: Future[T] = Future()
        with self._closing:
            if self._closed:
                raise StoreError  # nobody would ever answer
            self._works.put((work, future))  # type: ignore[arg-type]  # the future of each work has its type
        return future.result()

    def read(self, work: Work[T]) -> T:
        """The result of `work`, which sees the last commit and changes nothing. Raises StoreError."""
        with self._reading, _plain_errors():
            return work(self._reader)

    def close(self) -> None:
        """After the writes that wait."""
        with self._closing:
            self._closed = True
            self._works.put(None)
        self._thread.join()
        with self._reading:
            self._reader.close()
        self._writer.close()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False, cached_statements=256
        )
        connection.row_factory = sqlite3.Row
        _keep_log_ahead(connection)
        connection.execute("PRAGMA synchronous = FULL")  # what was accepted outlives a loss of power too
        connection.execute("PRAGMA foreign_keys = ON")
        return connection

    def _prepare(self, tables: Sequence[str]) -> None:
        self._writer.execute("BEGIN IMMEDIATE")
        [version] = self._writer.execute("PRAGMA user_version").fetchone()
        if version > VERSION:
            raise sqlite3.DatabaseError(f"it was made by a newer molva, version {version} of the tables")
        for script in tables:
            for statement in script.split(";"):
                self._writer.execute(statement)
        self._writer.execute(f"PRAGMA user_version = {VERSION}")
        self._writer.execute("COMMIT")

    def _run(self) -> None:
        while (first := self._works.get()) is not None:
            batch, closing = [first], False
            with suppress(queue.Empty):
                while len(batch) < MAX_TOGETHER and not closing:
                    following = self._works.get_nowait()
                    if following is None:
                        closing = True
                    else:
                        batch.append(following)
            try:
                self._commit(batch)
            except BaseException as error:  # noqa: BLE001 - whatever it is, the writes that wait must not wait for ever
                self._refuse(batch, error)
            if closing:
                return

    def _commit(self, batch: Sequence[tuple[Work[object], Future[object]]]) -> None:
        """Each work in a savepoint of its own: one that fails takes nothing from the others."""
        done: list[tuple[Future[object], object]] = []
        failed: list[tuple[Future[object], Exception]] = []
        with _plain_errors():
            self._writer.execute("BEGIN IMMEDIATE")
            for work, future in batch:
                self._writer.execute("SAVEPOINT work")
                try:
                    result = work(self._writer)
                except Exception as problem:
                    if isinstance(problem, TROUBLES) and not isinstance(problem, sqlite3.IntegrityError):
                        raise  # the whole transaction may be gone
                    self._writer.execute("ROLLBACK TO work")
                    failed.append((future, problem))
                else:
                    done.append((future, result))
                self._writer.execute("RELEASE work")
            self._writer.execute("COMMIT")
        for future, result in done:
            future.set_result(result)
        for future, reason in failed:
            future.set_exception(reason)

    def _refuse(self, batch: Sequence[tuple[Work[object], Future[object]]], error: BaseException) -> None:
        """Nothing of it was written, and whoever waits is told."""
        with suppress(*TROUBLES):
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
        told = StoreError()
        if isinstance(error, StoreError):
            told = error
        else:
            told.__cause__ = error
        for _, future in batch:
            if not future.done():
                future.set_exception(told)
        if told is not error:
            log.error("the database failed in a way that it should not", exc_info=error)


def _keep_log_ahead(connection: sqlite3.Connection) -> None:
    """Turn to write-ahead logging. SQLite's own wait for others does not cover that, so servers that start at the same
    moment would refuse a new file."""
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & PRIMARY != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(BUSY_PAUSE_S)
        else:
            return


@contextmanager
def _plain_errors() -> Iterator[None]:
    try:
        yield
    except TROUBLES as error:
        kind = getattr(error, "sqlite_errorcode", 0) & PRIMARY
        if kind in FULL:
            raise StoreFull from error
        if kind in DAMAGED:
            raise StoreError("The job store is damaged; its operator has to restore it.") from error
        raise StoreError from error


def _reason(error: OSError | sqlite3.Error) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)
