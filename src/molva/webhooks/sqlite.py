"""Deliveries in the embedded database, for several processes at once.

A claim is a lease: a process that dies loses it with time, and what it had in hand is attempted again under the same
id with the same bytes. Receivers tell such repetitions by the id.
"""

import secrets
import sqlite3
import time
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import urlsplit

from molva.database import Database
from molva.webhooks.delivery import Delivery, DeliveryStatus

TABLES = """
CREATE TABLE IF NOT EXISTS deliveries (
    id TEXT PRIMARY KEY,
    url TEXT NOT NULL,
    receiver TEXT NOT NULL,
    event TEXT NOT NULL,
    job_id TEXT,
    payload BLOB NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('pending', 'delivered', 'given_up')),
    attempts INTEGER NOT NULL,
    due_at REAL NOT NULL,
    created_at REAL NOT NULL,
    updated_at REAL NOT NULL,
    answer INTEGER,
    problem TEXT,
    claim TEXT,
    claimed_until REAL
) STRICT;
CREATE INDEX IF NOT EXISTS deliveries_by_receiver ON deliveries (receiver, due_at) WHERE status = 'pending';
CREATE INDEX IF NOT EXISTS deliveries_by_time ON deliveries (due_at) WHERE status = 'pending';
CREATE INDEX IF NOT EXISTS deliveries_claimed ON deliveries (receiver, claimed_until) WHERE claimed_until IS NOT NULL;
CREATE INDEX IF NOT EXISTS deliveries_by_status ON deliveries (status, id);
CREATE INDEX IF NOT EXISTS deliveries_by_job ON deliveries (job_id) WHERE job_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS deliveries_over ON deliveries (updated_at) WHERE status <> 'pending'
"""

_COLUMNS = "SELECT id, url, event, job_id, status, attempts, due_at, created_at, updated_at, answer, problem, "
_WHOLE = _COLUMNS + "payload FROM deliveries "
_WITHOUT_PAYLOAD = _COLUMNS + "x'' AS payload FROM deliveries "

# Goes from receiver to receiver along the index, and takes the first delivery of each: a receiver that has been down
# for long, with a hundred thousand behind it, costs as much as one with a single delivery. The indexes are named since
# SQLite's planner, which knows no sizes, takes others and looks at every row.
_DUE = """
WITH RECURSIVE receivers (receiver) AS (
    SELECT min(receiver) FROM deliveries INDEXED BY deliveries_by_receiver WHERE status = 'pending'
    UNION ALL
    SELECT (
        SELECT min(deliveries.receiver) FROM deliveries INDEXED BY deliveries_by_receiver
        WHERE status = 'pending' AND deliveries.receiver > receivers.receiver
    ) FROM receivers WHERE receivers.receiver IS NOT NULL
), heads (head) AS (
    SELECT (
        SELECT rowid FROM deliveries INDEXED BY deliveries_by_receiver
        WHERE status = 'pending' AND deliveries.receiver = receivers.receiver AND due_at <= :now
        ORDER BY due_at, rowid LIMIT 1
    ) FROM receivers WHERE NOT EXISTS (
        SELECT 1 FROM deliveries
        WHERE deliveries.receiver = receivers.receiver AND claimed_until IS NOT NULL AND claimed_until > :now
    )
)
SELECT rowid FROM deliveries WHERE rowid IN (SELECT head FROM heads WHERE head IS NOT NULL)
ORDER BY due_at, rowid LIMIT :limit
"""


def insert_delivery(
    connection: sqlite3.Connection, *, url: str, event: str, payload: bytes, job_id: str | None, now: float
) -> Delivery:
    """Adds a delivery, due at once, to the transaction that the connection is in."""
    delivery = Delivery(
        id=_new_id(now),
        url=url,
        event=event,
        job_id=job_id,
        payload=payload,
        status="pending",
        attempts=0,
        due_at=now,
        created_at=now,
        updated_at=now,
    )
    connection.execute(
        "INSERT INTO deliveries (id, url, receiver, event, job_id, payload, status, attempts, due_at, created_at, "
        "updated_at) VALUES (?, ?, ?, ?, ?, ?, 'pending', 0, ?, ?, ?)",
        (delivery.id, url, _receiver(url), event, job_id, payload, now, now, now),
    )
    return delivery


def forget_job(connection: sqlite3.Connection, job_id: str) -> int:
    """Removes what was or was to be told about a job, in the connection's transaction; how many there were."""
    return connection.execute("DELETE FROM deliveries WHERE job_id = ?", (job_id,)).rowcount


class SqliteDeliveryStore:
    """A DeliveryStore over `database`, which was made with TABLES and stays the caller's to close."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    def add(self, url: str, event: str, payload: bytes, job_id: str | None = None) -> Delivery:
        now = self._clock()
        return self._database.write(
            lambda connection: insert_delivery(
                connection, url=url, event=event, payload=payload, job_id=job_id, now=now
            )
        )

    def claim(self, lease_s: float, limit: int) -> list[Delivery]:
        now, token = self._clock(), secrets.token_hex(8)
        due = {"now": now, "limit": limit}
        # Nearly always there is nothing: that is seen without a place in the writer's queue.
        if not self._database.read(lambda connection: connection.execute(_DUE, due).fetchall()):
            return []

        def take(connection: sqlite3.Connection) -> list[sqlite3.Row]:
            rows = [row[0] for row in connection.execute(_DUE, due)]
            connection.executemany(
                "UPDATE deliveries SET claim = ?, claimed_until = ? WHERE rowid = ?",
                [(token, now + lease_s, row) for row in rows],
            )
            return [connection.execute(_WHOLE + "WHERE rowid = ?", (row,)).fetchone() for row in rows]

        return [replace(_delivery(row), claim=token) for row in self._database.write(take)]

    def delivered(self, delivery: Delivery, answer: int) -> None:
        self._conclude(delivery, "delivered", answer, None, delivery.due_at)

    def failed(self, delivery: Delivery, problem: str, answer: int | None, due_at: float | None) -> None:
        if due_at is None:
            self._conclude(delivery, "given_up", answer, problem, delivery.due_at)
        else:
            self._conclude(delivery, "pending", answer, problem, due_at)

    def set_right(self, lease_s: float) -> None:
        now = self._clock()

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(
                "UPDATE deliveries SET due_at = :now, updated_at = :now WHERE status = 'pending' AND updated_at > :now",
                {"now": now},
            )
            connection.execute(
                "UPDATE deliveries SET claimed_until = :latest WHERE claimed_until > :latest", {"latest": now + lease_s}
            )

        self._database.write(work)

    def next_due(self) -> float | None:
        now = self._clock()
        sql = "SELECT min(due_at) FROM deliveries INDEXED BY deliveries_by_time WHERE status = 'pending' AND due_at > ?"
        due_at: float | None = self._database.read(lambda connection: connection.execute(sql, (now,)).fetchone()[0])
        return due_at

    def find(self, delivery_id: str) -> Delivery | None:
        row = self._database.read(lambda c: c.execute(_WHOLE + "WHERE id = ?", (delivery_id,)).fetchone())
        return None if row is None else _delivery(row)

    def list(
        self, *, status: DeliveryStatus | None = None, limit: int = 100, before: str | None = None
    ) -> list[Delivery]:
        conditions = [("status = ?", status), ("id < ?", before)]
        given = [(condition, value) for condition, value in conditions if value is not None]
        where = f"WHERE {' AND '.join(condition for condition, _ in given)}" if given else ""
        sql = f"{_WITHOUT_PAYLOAD}{where} ORDER BY id DESC LIMIT ?"
        values = [*(value for _, value in given), limit]
        return [_delivery(row) for row in self._database.read(lambda c: c.execute(sql, values).fetchall())]

    def replay(self, delivery_id: str) -> Delivery | None:
        now = self._clock()

        def change(connection: sqlite3.Connection) -> None:
            connection.execute(
                # The lease stays, and keeps the receiver to one attempt at a time; without the claim, what comes of
                # that attempt changes nothing.
                "UPDATE deliveries SET status = 'pending', attempts = 0, due_at = ?, updated_at = ?, claim = NULL "
                "WHERE id = ?",
                (now, now, delivery_id),
            )

        self._database.write(change)
        return self.find(delivery_id)

    def forget(self, before: float) -> int:
        sql = "DELETE FROM deliveries WHERE status <> 'pending' AND updated_at < ?"
        return self._database.write(lambda connection: connection.execute(sql, (before,)).rowcount)

    def _conclude(
        self, delivery: Delivery, status: DeliveryStatus, answer: int | None, problem: str | None, due_at: float
    ) -> None:
        sql = (
            "UPDATE deliveries SET status = ?, attempts = attempts + 1, answer = ?, problem = ?, due_at = ?, "
            "updated_at = ?, claim = NULL, claimed_until = NULL WHERE id = ? AND claim = ?"
        )
        values = (status, answer, problem, due_at, self._clock(), delivery.id, delivery.claim)
        self._database.write(lambda connection: connection.execute(sql, values))


def _delivery(row: sqlite3.Row) -> Delivery:
    return Delivery(**{name: row[name] for name in row.keys()})  # noqa: SIM118  # a row's iterator gives values


def _new_id(now: float) -> str:
    """Sorts by time, to a millisecond; nobody can guess it."""
    return f"msg_{int(now * 1000):012x}{secrets.token_hex(10)}"


def _receiver(url: str) -> str:
    """Host and port. URLs were checked when they were given, and nothing may fail a job's end: any text will do."""
    try:
        return urlsplit(url).netloc.lower() or url
    except ValueError:
        return url
