"""The embedded database."""

import os
import sqlite3
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from molva.database import Database
from molva.errors import SettingsError, StoreError, StoreFull

TABLES = ["CREATE TABLE IF NOT EXISTS things (name TEXT PRIMARY KEY) STRICT"]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "a" / "molva.db", TABLES)
    yield database
    database.close()


def insert(database: Database, name: str) -> None:
    database.write(lambda connection: connection.execute("INSERT INTO things VALUES (?)", (name,)))


def names(database: Database) -> list[str]:
    return [
        row["name"] for row in database.read(lambda c: c.execute("SELECT name FROM things ORDER BY name").fetchall())
    ]


def test_what_was_written_is_read_and_outlives_the_connection(tmp_path: Path) -> None:
    for name in ("one", "two"):
        database = Database(tmp_path / "molva.db", TABLES)
        insert(database, name)
        database.close()
    database = Database(tmp_path / "molva.db", TABLES)
    assert names(database) == ["one", "two"]
    database.close()


def test_a_work_that_fails_changes_nothing_and_takes_nothing_from_others(database: Database) -> None:
    def half(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO things VALUES ('half')")
        raise ValueError("on purpose")

    def try_half() -> None:
        with pytest.raises(ValueError, match="on purpose"):
            database.write(half)

    threads = [threading.Thread(target=try_half) for _ in range(10)]
    threads += [threading.Thread(target=insert, args=(database, str(i))) for i in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert names(database) == [str(i) for i in range(10)]


def test_a_broken_rule_of_the_tables_is_told_to_its_work_alone(database: Database) -> None:
    insert(database, "one")
    with pytest.raises(sqlite3.IntegrityError):
        insert(database, "one")
    insert(database, "two")
    assert names(database) == ["one", "two"]


def test_two_processes_share_a_file(tmp_path: Path, database: Database) -> None:
    other = Database(tmp_path / "a" / "molva.db", TABLES)
    insert(database, "one")
    insert(other, "two")
    assert names(database) == names(other) == ["one", "two"]
    other.close()


def test_processes_that_start_together_make_one_file(tmp_path: Path) -> None:
    """Where they wait for each other wrongly, some of so many tries fail."""
    start = threading.Barrier(4)

    def open_together(path: Path) -> None:
        start.wait()
        Database(path, TABLES).close()

    with ThreadPoolExecutor(4) as threads:
        for number in range(40):
            list(threads.map(open_together, [tmp_path / f"{number}.db"] * 4))


def test_after_its_end_nobody_waits_for_an_answer(tmp_path: Path) -> None:
    closed = Database(tmp_path / "b" / "molva.db", TABLES)
    closed.close()
    with pytest.raises(StoreError):
        insert(closed, "one")
    with pytest.raises(StoreError):
        names(closed)


def test_only_the_owner_may_read_it(tmp_path: Path, database: Database) -> None:
    insert(database, "one")
    files = list((tmp_path / "a").iterdir())
    assert {file.suffix for file in files} == {".db", ".db-wal", ".db-shm"}
    assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in files)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o700


def test_a_full_disk_is_told_and_nothing_of_the_work_stays(database: Database) -> None:
    insert(database, "one")
    pages = database.read(lambda c: c.execute("PRAGMA page_count").fetchone()[0])
    database.write(lambda c: c.execute(f"PRAGMA max_page_count = {pages}").fetchone())
    with pytest.raises(StoreFull):
        insert(database, "x" * 100_000)
    database.write(lambda c: c.execute("PRAGMA max_page_count = 100000").fetchone())
    insert(database, "two")
    assert names(database) == ["one", "two"]


def test_a_damaged_file_is_told_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "molva.db").write_bytes(b"not a database at all" * 100)
    with pytest.raises(SettingsError, match="Restore it from a copy"):
        Database(tmp_path / "molva.db", TABLES)


def test_a_file_that_is_damaged_while_it_is_used_and_then_restored_needs_no_restart(
    tmp_path: Path, database: Database
) -> None:
    for number in range(200):
        insert(database, f"{number} {'x' * 500}")
    path = tmp_path / "a" / "molva.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as other, path.open("r+b", buffering=0) as file:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        sound = file.read()
        file.seek(4096)
        file.write(os.urandom(len(sound) - 4096))
        other.execute("PRAGMA user_version = 1")  # a write of another process: nothing is taken from memory any more
        for _ in range(2):
            with pytest.raises(StoreError, match="damaged"):
                insert(database, "one")
            with pytest.raises(StoreError, match="damaged"):
                names(database)
        file.seek(0)
        file.write(sound)
        insert(database, "one")
        assert len(names(database)) == 201


def test_nothing_is_accepted_into_a_file_that_is_gone_and_one_put_in_its_place_is_used(
    tmp_path: Path, database: Database
) -> None:
    insert(database, "one")
    path = tmp_path / "a" / "molva.db"
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(tmp_path / "copy.db")) as copy:
        source.backup(copy)
    for file in path.parent.iterdir():
        file.unlink()
    with pytest.raises(StoreError, match="gone"):
        insert(database, "two")
    with pytest.raises(StoreError, match="gone"):
        names(database)
    (tmp_path / "copy.db").rename(path)
    insert(database, "three")
    assert names(database) == ["one", "three"]


def test_a_file_of_something_else_is_not_taken_for_the_store_while_it_is_in_use(
    tmp_path: Path, database: Database
) -> None:
    path = tmp_path / "a" / "molva.db"
    path.rename(tmp_path / "aside")
    path.write_bytes(b"")
    with pytest.raises(StoreError, match="another file"):
        insert(database, "one")
    (tmp_path / "aside").rename(path)
    insert(database, "one")
    assert names(database) == ["one"]
    other = Database(path, TABLES)
    assert names(other) == ["one"]
    other.close()


def test_tables_of_a_newer_molva_are_left_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "molva.db") as connection:
        connection.execute("PRAGMA user_version = 1000")
    connection.close()
    with pytest.raises(SettingsError, match="newer molva"):
        Database(tmp_path / "molva.db", TABLES)


def test_a_mistake_in_sql_is_no_secret_of_ours_told_to_clients(database: Database) -> None:
    with pytest.raises(StoreError, match="does not answer"):
        database.read(lambda c: c.execute("SELECT * FROM nowhere"))


@pytest.mark.parametrize("raised", [SystemExit, MemoryError])
def test_whatever_a_work_raises_its_caller_is_told_and_the_next_is_written(
    database: Database, raised: type[BaseException]
) -> None:
    """SQLite tells a lack of memory as a MemoryError, and takes the whole transaction back."""

    def fail(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO things VALUES ('half')")
        raise raised

    with pytest.raises(StoreError):
        database.write(fail)
    insert(database, "one")
    assert names(database) == ["one"]


def test_a_lack_of_memory_in_a_look_is_one_of_the_store(database: Database) -> None:
    def fail(_connection: sqlite3.Connection) -> None:
        raise MemoryError

    with pytest.raises(StoreError):
        database.read(fail)
