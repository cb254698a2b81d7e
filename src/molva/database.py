"""The embedded database: SQLite with a write-ahead log, one thread that writes.

Works that wait together are committed together, so that many small writes cost one flush to the disk. Several
processes may use one file. Where that is damaged, moved away or replaced while it is in use, all is refused until there
is a sound one in its place, which is then used without a restart.
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
from typing import TypeAlias, TypeVar

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
GONE = "The job store's file is gone; its operator has to put it back."
ANOTHER = "There is another file in the place of the job store; its operator has to restore it."
PRIMARY = 0xFF
"""Bits of SQLite's extended error codes that tell the kind."""


class Database:
    """One file. Thread-safe; calls block until the disk has what they wrote."""

    def __init__(self, path: Path, tables: Sequence[str]) -> None:
        """`tables`: scripts that make tables where they are missing.

        The file is made with rights for its owner only. Raises SettingsError where it cannot be used, with what to do.
        """
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
            self._writer, self._reader = _Link(path), _Link(path)
            self.is_new = self._prepare(tables)
            """Whether there was nothing in the file."""
            self._reader.connection()
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
        with self._reading, self._reader.plain_errors():
            return work(self._reader.connection())

    def close(self) -> None:
        """After the writes that wait."""
        with self._closing:
            self._closed = True
            self._works.put(None)
        self._thread.join()
        with self._reading:
            self._reader.close()
        self._writer.close()

    def _prepare(self, tables: Sequence[str]) -> bool:
        """Whether there were no tables at all."""
        connection = self._writer.connection()
        connection.execute("BEGIN IMMEDIATE")
        [version] = connection.execute("PRAGMA user_version").fetchone()
        if version > VERSION:
            raise sqlite3.DatabaseError(f"it was made by a newer molva, version {version} of the tables")
        for script in tables:
            for statement in script.split(";"):
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
        return bool(version == 0)

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
        with self._writer.plain_errors():
            connection = self._writer.connection()
            connection.execute("BEGIN IMMEDIATE")
            for work, future in batch:
                connection.execute("SAVEPOINT work")
                try:
                    result = work(connection)
                except Exception as problem:
                    if isinstance(problem, TROUBLES) and not isinstance(problem, sqlite3.IntegrityError):
                        raise  # the whole transaction may be gone
                    connection.execute("ROLLBACK TO work")
                    failed.append((future, problem))
                else:
                    done.append((future, result))
                connection.execute("RELEASE work")
            self._writer.check()  # it may have waited long for others
            connection.execute("COMMIT")
        for future, result in done:
            future.set_result(result)
        for future, reason in failed:
            future.set_exception(reason)

    def _refuse(self, batch: Sequence[tuple[Work[object], Future[object]]], error: BaseException) -> None:
        """Nothing of it was written, and whoever waits is told."""
        self._writer.roll_back()
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


_FileId: TypeAlias = tuple[int, int]


class _Link:
    """A connection to the file that is at a path now. For one thread at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._log = path.with_name(path.name + "-wal")
        self._connection: sqlite3.Connection | None = None
        self._files: tuple[_FileId | None, _FileId | None] = (None, None)
        """What it is connected to, and the log of that."""

    def connection(self) -> sqlite3.Connection:
        """Raises StoreError where the file is gone, or one has taken its place that cannot be used; sqlite3.Error."""
        file = _file_id(self._path)
        if file is None:
            raise StoreError(GONE)
        if self._connection is None or file != self._files[0]:
            self._connect(file)
        assert self._connection is not None  # noqa: S101 - see above
        return self._connection

    def _connect(self, file: _FileId) -> None:
        # SQLite would take the log of the file before for that of this one.
        if self._files[1] is not None and _file_id(self._log) == self._files[1]:
            raise StoreError(ANOTHER)
        connection = _connect(self._path)
        if self._connection is not None:
            [version] = connection.execute("PRAGMA user_version").fetchone()
            if version != VERSION:
                connection.close()
                raise StoreError(ANOTHER)
            self._connection.close()
        self._connection, self._files = connection, (file, _file_id(self._log))

    def check(self) -> None:
        """Raises StoreError where the file is not at the path any more: what is written to it is lost."""
        if _file_id(self._path) != self._files[0]:
            raise StoreError(GONE)

    def roll_back(self) -> None:
        """End a transaction, if there is one."""
        if self._connection is not None and self._connection.in_transaction:
            with suppress(*TROUBLES):
                self._connection.execute("ROLLBACK")

    @contextmanager
    def plain_errors(self) -> Iterator[None]:
        """Turn errors of SQLite into ours."""
        try:
            yield
        except TROUBLES as error:
            kind = getattr(error, "sqlite_errorcode", 0) & PRIMARY
            if kind in FULL:
                raise StoreFull from error
            if kind in DAMAGED:
                self._forget_pages()
                raise StoreError("The job store is damaged; its operator has to restore it.") from error
            raise StoreError from error

    def _forget_pages(self) -> None:
        """Have nothing in memory, so that a file that is restored counts: damaged pages would stay there for ever."""
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.execute("PRAGMA shrink_memory")

    def close(self) -> None:
        """Nothing can be done with it any more."""
        if self._connection is not None:
            self._connection.close()


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False, cached_statements=256
    )
    try:
        connection.row_factory = sqlite3.Row
        _keep_log_ahead(connection)
        connection.execute("PRAGMA synchronous = FULL")  # what was accepted outlives a loss of power too
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA user_version").fetchone()  # the log is there now
    except BaseException:
        connection.close()
        raise
    return connection


def _file_id(path: Path) -> _FileId | None:
    """The same for the same file, whatever it is called; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


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


def _reason(error: OSError | sqlite3.Error) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)
