"""Deliveries in SQLite."""

import sqlite3

TABLES = ""


def insert_delivery(
    connection: sqlite3.Connection, *, url: str, event: str, payload: bytes, job_id: str | None, now: float
) -> None:
    pass


def forget_job(connection: sqlite3.Connection, job_id: str) -> None:
    pass
