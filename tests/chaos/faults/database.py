"""The database of jobs and webhooks: held by another process, damaged, cut off, gone."""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import BinaryIO

import httpx2

from molva.database import BUSY_TIMEOUT_S
from tests.chaos.clients import code_of
from tests.chaos.faults.doors import refused, serves, submit
from tests.chaos.scene import Fault, Scene
from tests.chaos.server import DIRECT, PATIENCE_S

PAGE = 4096
LASTS_S = 4.0
HELD_S = 10.0
BEYOND_S = 3.0
"""How much longer than anybody waits."""


def held(scene: Scene) -> None:
    with _lock(scene):
        serves(scene)
        time.sleep(HELD_S)
    scene.expect(submit(scene).status_code == 202, "a job is not accepted once the database is free again")


def held_too_long(scene: Scene) -> None:
    with _lock(scene):
        time.sleep(BEYOND_S)
        refused(scene, 503, "store_unavailable")  # after as long as a write waits
        time.sleep(BUSY_TIMEOUT_S / 10)


def damaged(scene: Scene) -> None:
    # Closed last: whoever closes a file ends the locks of its whole process.
    with _file(scene).open("r+b", buffering=0) as file, _lock(scene) as connection:
        sound = _all_of_it(scene, file)
        os.pwrite(file.fileno(), os.urandom(len(sound) - PAGE), PAGE)
        # A write of another process: what a server has in its memory does not count any more.
        connection.execute("PRAGMA user_version = 1")
        connection.execute("COMMIT")
        _is_told_and_nothing_else_fails(scene)
        os.pwrite(file.fileno(), sound[PAGE:], PAGE)


def gone(scene: Scene) -> None:
    copy = scene.server.home / "copy.db"
    with _lock(scene):
        with _connected(_file(scene)) as source, _connected(copy) as target:
            source.backup(target)
        for name in ("molva.db", "molva.db-wal", "molva.db-shm"):
            (scene.server.data / name).unlink()
    _is_told_and_nothing_else_fails(scene)
    copy.rename(_file(scene))


def log_cut_off(scene: Scene) -> None:
    """All of it is in the database by then: what is not would be lost by whoever cuts it off."""
    with _file(scene).open("rb", buffering=0) as file, _lock(scene):
        _all_of_it(scene, file)
        os.truncate(scene.server.data / "molva.db-wal", 0)
    time.sleep(LASTS_S)


def damaged_before_a_start(scene: Scene) -> None:
    server = scene.server
    scene.expect(server.stop() == 0, "the server did not stop in order")
    sound = _file(scene).read_bytes()
    _file(scene).write_bytes(os.urandom(len(sound)))
    scene.struck += 1
    server.start()
    assert server.popen is not None
    status = server.popen.wait(PATIENCE_S)
    said = server.log_tail()
    scene.expect(status != 0, "the server has ended with 0 although its database is damaged")
    scene.expect("Restore it from a copy" in said and "Traceback" not in said, f"what to do is not told: {said}")
    _file(scene).write_bytes(sound)
    server.start()


def _is_told_and_nothing_else_fails(scene: Scene) -> None:
    refused(scene, 503, "store_unavailable")
    answer = httpx2.get(f"{scene.server.url}/jobs", **DIRECT, timeout=30)
    got = (answer.status_code, code_of(answer))
    scene.expect(got == (503, "store_unavailable"), f"the list of jobs is answered with {got}")
    serves(scene)
    time.sleep(LASTS_S)


def _file(scene: Scene) -> Path:
    return scene.server.data / "molva.db"


def _connected(path: Path) -> "closing[sqlite3.Connection]":
    return closing(sqlite3.connect(path, isolation_level=None, timeout=BUSY_TIMEOUT_S))


@contextmanager
def _lock(scene: Scene) -> Iterator[sqlite3.Connection]:
    """The right to write, which no server has then; until the end of the transaction."""
    with _connected(_file(scene)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        scene.struck += 1
        yield connection
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _all_of_it(scene: Scene, file: BinaryIO) -> bytes:
    """The database's bytes, once all that was in its log is in it. While nobody writes."""
    with _connected(_file(scene)) as other:
        while True:
            [_, in_log, moved] = other.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            if in_log == moved:
                return os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0)


DATABASE = (
    Fault("database held", f"another process holds SQLite's lock for {HELD_S:.0f} s", held),
    Fault("database held too long", "another process holds it for longer than a write waits", held_too_long),
    Fault(
        "database damaged",
        "all its pages but the first are overwritten, and restored after some seconds",
        damaged,
    ),
    Fault("database gone", "its files are removed, and a copy is put in their place after some seconds", gone),
    Fault(
        "database's log cut off",
        "its write-ahead log is truncated, after all of it had reached the database",
        log_cut_off,
    ),
    Fault(
        "database damaged before a start",
        "the server is stopped and its database overwritten: the next one refuses to start until it is restored",
        damaged_before_a_start,
        cuts=True,
        threads_stay=False,
    ),
)
