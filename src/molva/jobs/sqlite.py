"""Jobs in SQLite."""

import json
import sqlite3
import time
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence

from pydantic import TypeAdapter

from molva.database import Database
from molva.errors import ClaimLost, IdempotencyMismatch, JobFinished, JobNotFound, OptionError
from molva.jobs.job import TERMINAL, TRANSITIONS, Job, JobPriority, Status, Submission, document
from molva.jobs.store import Claim, Idempotency, Page
from molva.runtime.plan import Plan
from molva.speech.clustering import SpeakerCount
from molva.speech.waveform import Waveform
from molva.transcript import Hypothesis, Transcript
from molva.webhooks.sqlite import forget_job, insert_delivery

TABLES = """
CREATE TABLE IF NOT EXISTS jobs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    status TEXT NOT NULL,
    priority INTEGER NOT NULL,
    model TEXT NOT NULL,
    task TEXT NOT NULL,
    language TEXT,
    webhook_url TEXT,
    filename TEXT,
    idempotency_scope TEXT,
    idempotency_key TEXT,
    idempotency_digest TEXT,
    created_at REAL NOT NULL,
    completed_at REAL,
    heard TEXT,
    windows_done INTEGER NOT NULL DEFAULT 0,
    windows_planned INTEGER,
    duration_s REAL,
    error TEXT,
    attempts INTEGER NOT NULL DEFAULT 0,
    claim TEXT,
    claimed_until REAL
) STRICT;
CREATE INDEX IF NOT EXISTS jobs_by_status ON jobs (status, seq);
CREATE INDEX IF NOT EXISTS jobs_in_turn ON jobs (priority DESC, seq) WHERE status = 'queued';
CREATE INDEX IF NOT EXISTS jobs_claimed ON jobs (claimed_until) WHERE status = 'running';
CREATE INDEX IF NOT EXISTS jobs_ended ON jobs (completed_at) WHERE completed_at IS NOT NULL;
CREATE UNIQUE INDEX IF NOT EXISTS jobs_by_key ON jobs (idempotency_scope, idempotency_key)
    WHERE idempotency_key IS NOT NULL;
CREATE TABLE IF NOT EXISTS split (
    job TEXT PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE
) STRICT;
CREATE TABLE IF NOT EXISTS speakers (
    job TEXT PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE,
    minimum INTEGER NOT NULL,
    maximum INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS plans (
    job TEXT PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE,
    recipe TEXT NOT NULL,
    plan TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS windows (
    job TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    hypothesis TEXT NOT NULL,
    PRIMARY KEY (job, number)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS transcripts (
    job TEXT PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE,
    transcript TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS waveforms (
    job TEXT PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE,
    duration_s REAL NOT NULL,
    step_s REAL NOT NULL,
    peaks BLOB NOT NULL,
    speech TEXT NOT NULL
) STRICT
"""

_PLAN = TypeAdapter(Plan)
_HYPOTHESIS = TypeAdapter(Hypothesis)
_TRANSCRIPT = TypeAdapter(Transcript)
_SPEECH = TypeAdapter(tuple[tuple[float, float], ...])


LONGEST_LEASE_S = 3600.0
"""One that seems to last longer was given before the clock was put back."""


class SqliteJobStore:
    """The embedded JobStore, which says what each method does. Several processes may share the database."""

    def __init__(self, database: Database, *, max_attempts: int = 3, clock: Callable[[], float] = time.time) -> None:
        """`max_attempts`: a job whose server has died so often at the same window is given up. `clock` in Unix
        seconds.
        """
        self._database = database
        self._max_attempts = max_attempts
        self._clock = clock

    def submit(self, job_id: str, submission: Submission, idempotency: Idempotency | None = None) -> Job:
        def work(connection: sqlite3.Connection) -> Job:
            if idempotency is not None and (known := _submitted_before(connection, idempotency)):
                return known
            connection.execute(
                "INSERT INTO jobs (id, status, priority, model, task, language, webhook_url, filename, created_at,"
                " idempotency_scope, idempotency_key, idempotency_digest) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    job_id,
                    Status.QUEUED,
                    submission.priority,
                    submission.model,
                    submission.task,
                    submission.language,
                    submission.webhook_url,
                    submission.filename,
                    self._clock(),
                    idempotency and idempotency.scope,
                    idempotency and idempotency.key,
                    idempotency and idempotency.digest,
                ),
            )
            if submission.channels == "split":
                connection.execute("INSERT INTO split (job) VALUES (?)", (job_id,))
            if submission.speakers is not None:
                connection.execute(
                    "INSERT INTO speakers (job, minimum, maximum) VALUES (?, ?, ?)",
                    (job_id, submission.speakers.minimum, submission.speakers.maximum),
                )
            return _job(_row(connection, job_id))

        return self._database.write(work)

    def submitted_before(self, idempotency: Idempotency) -> Job | None:
        return self._database.read(lambda connection: _submitted_before(connection, idempotency))

    def get(self, job_id: str) -> Job:
        return self._database.read(lambda connection: _job(_row(connection, job_id)))

    def transcript(self, job_id: str) -> Transcript | None:
        return self._database.read(lambda connection: _transcript(connection, job_id))

    def waveform(self, job_id: str) -> Waveform | None:
        row = self._database.read(
            lambda connection: connection.execute("SELECT * FROM waveforms WHERE job = ?", (job_id,)).fetchone()
        )
        if row is None:
            return None
        return Waveform(row["duration_s"], row["step_s"], row["peaks"], _SPEECH.validate_json(row["speech"]))

    def page(self, *, statuses: Collection[Status] = (), limit: int = 50, cursor: str | None = None) -> Page:
        if cursor is not None and not (cursor.isascii() and cursor.isdigit() and len(cursor) < 19):
            raise OptionError("cursor", "cursor: send `next_cursor` of the page before as it was")
        kinds = tuple(statuses) or tuple(Status)
        below = 2**62 if cursor is None else int(cursor)

        def work(connection: sqlite3.Connection) -> list[sqlite3.Row]:
            # One index each: a search for several states at once would sort all of them.
            rows = [
                row
                for status in kinds
                for row in connection.execute(
                    f"{_SELECT} WHERE status = ? AND seq < ? ORDER BY seq DESC LIMIT ?",
                    (status, below, limit + 1),
                )
            ]
            return sorted(rows, key=lambda row: -row["seq"])[: limit + 1]

        rows = self._database.read(work)
        following = str(rows[limit - 1]["seq"]) if len(rows) > limit else None
        return Page([_job(row) for row in rows[:limit]], following)

    def waiting(self) -> int:
        [count] = self._database.read(
            lambda connection: connection.execute("SELECT count(*) FROM jobs WHERE status = 'queued'").fetchone()
        )
        return int(count)

    def counts(self) -> Mapping[Status, int]:
        rows = self._database.read(
            lambda connection: connection.execute("SELECT status, count(*) FROM jobs GROUP BY status").fetchall()
        )
        return {Status(status): count for status, count in rows}

    def cancel(self, job_id: str) -> Job:
        def work(connection: sqlite3.Connection) -> Job:
            row = _row(connection, job_id)
            if Status(row["status"]) in TERMINAL:
                raise JobFinished(job_id, row["status"])
            return self._end(connection, row, Status.CANCELLED)

        return self._database.write(work)

    def purge(self, job_id: str) -> Job:
        def work(connection: sqlite3.Connection) -> Job:
            job = _job(_row(connection, job_id))
            _purge(connection, job_id)
            return job

        return self._database.write(work)

    def forget(self, before: float) -> Sequence[str]:
        def work(connection: sqlite3.Connection) -> list[str]:
            # Whatever its times say, a job is no older than those that came before it: the clock was wrong in between.
            rows = connection.execute(
                "SELECT id FROM jobs WHERE completed_at < :before AND seq < ifnull((SELECT seq FROM jobs"
                " WHERE created_at BETWEEN :before AND :now ORDER BY seq LIMIT 1), 9223372036854775807)",
                {"before": before, "now": self._clock()},
            ).fetchall()
            for row in rows:
                _purge(connection, row["id"])
            return [row["id"] for row in rows]

        return self._database.write(work)

    def claim(self, lease_s: float) -> Claim | None:
        def work(connection: sqlite3.Connection) -> Claim | None:
            now = self._clock()
            while True:
                row = connection.execute(_ABANDONED, _run_out(now)).fetchone()
                if row is None or row["attempts"] < self._max_attempts:
                    break
                self._end(connection, row, Status.FAILED, error=_GIVEN_UP.format(row["attempts"]))
            row = row or connection.execute(_NEXT).fetchone()
            if row is None:
                return None
            token = uuid.uuid4().hex
            connection.execute(
                "UPDATE jobs SET status = 'running', attempts = attempts + 1, claim = ?, claimed_until = ?"
                " WHERE id = ?",
                (token, now + lease_s, row["id"]),
            )
            return _claim(connection, row["id"], token)

        if not self._work_waits():
            return None  # without a write: an idle server leaves the disk alone
        return self._database.write(work)

    def renew(self, claim: Claim, lease_s: float) -> bool:
        def work(connection: sqlite3.Connection) -> bool:
            cursor = connection.execute(
                "UPDATE jobs SET claimed_until = ? WHERE id = ? AND claim = ?",
                (self._clock() + lease_s, claim.job.id, claim.token),
            )
            return cursor.rowcount == 1

        return self._database.write(work)

    def planned(self, claim: Claim, plan: Plan, recipe: str, waveform: Waveform | None = None) -> None:
        def work(connection: sqlite3.Connection) -> None:
            row = _claimed(connection, claim)
            connection.execute("DELETE FROM windows WHERE job = ?", (row["id"],))
            connection.execute(
                "INSERT OR REPLACE INTO plans (job, recipe, plan) VALUES (?, ?, ?)",
                (row["id"], recipe, _PLAN.dump_json(plan).decode()),
            )
            connection.execute(
                "UPDATE jobs SET windows_done = 0, windows_planned = ?, duration_s = ? WHERE id = ?",
                (len(plan.windows), plan.duration_s, row["id"]),
            )
            if waveform is not None:
                connection.execute(
                    "INSERT OR REPLACE INTO waveforms (job, duration_s, step_s, peaks, speech) VALUES (?, ?, ?, ?, ?)",
                    (
                        row["id"],
                        waveform.duration_s,
                        waveform.step_s,
                        waveform.peaks,
                        _SPEECH.dump_json(waveform.speech).decode(),
                    ),
                )

        self._database.write(work)

    def finished(self, claim: Claim, index: int, hypothesis: Hypothesis, language: str | None) -> Job:
        def work(connection: sqlite3.Connection) -> Job:
            row = _claimed(connection, claim)
            if index > row["windows_done"]:
                raise ValueError(f"window {index} finished after {row['windows_done']}")
            connection.execute(
                "INSERT OR REPLACE INTO windows (job, number, hypothesis) VALUES (?, ?, ?)",
                (row["id"], index, _HYPOTHESIS.dump_json(hypothesis).decode()),
            )
            # It goes forward, so it is not what its servers died of.
            connection.execute(
                "UPDATE jobs SET windows_done = ?, heard = ?, attempts = 1 WHERE id = ?",
                (index + 1, language, row["id"]),
            )
            return _job(_row(connection, row["id"]))

        return self._database.write(work)

    def done(self, claim: Claim, transcript: Transcript) -> Job:
        return self._database.write(
            lambda connection: self._end(connection, _claimed(connection, claim), Status.DONE, transcript=transcript)
        )

    def failed(self, claim: Claim, error: str) -> Job:
        return self._database.write(
            lambda connection: self._end(connection, _claimed(connection, claim), Status.FAILED, error=error)
        )

    def hand_back(self, claim: Claim) -> Job:
        def work(connection: sqlite3.Connection) -> Job:
            row = _claimed(connection, claim)
            _move(row, Status.QUEUED)
            connection.execute(
                "UPDATE jobs SET status = 'queued', attempts = attempts - 1, claim = NULL, claimed_until = NULL"
                " WHERE id = ?",
                (row["id"],),
            )
            return _job(_row(connection, row["id"]))

        return self._database.write(work)

    def _work_waits(self) -> bool:
        def work(connection: sqlite3.Connection) -> bool:
            [waits] = connection.execute("SELECT EXISTS (SELECT 1 FROM jobs WHERE status = 'queued')").fetchone()
            return bool(waits) or connection.execute(_ABANDONED, _run_out(self._clock())).fetchone() is not None

        return self._database.read(work)

    def _end(
        self,
        connection: sqlite3.Connection,
        row: sqlite3.Row,
        status: Status,
        *,
        error: str | None = None,
        transcript: Transcript | None = None,
    ) -> Job:
        """The transition to a terminal state, with what it means: the result, and the message to the webhook."""
        job_id, now = row["id"], self._clock()
        _move(row, status)
        connection.execute(
            "UPDATE jobs SET status = ?, error = ?, completed_at = ?, claim = NULL, claimed_until = NULL WHERE id = ?",
            (status, error, now, job_id),
        )
        connection.execute("DELETE FROM plans WHERE job = ?", (job_id,))
        connection.execute("DELETE FROM windows WHERE job = ?", (job_id,))
        if transcript is not None:
            connection.execute(
                "INSERT INTO transcripts (job, transcript) VALUES (?, ?)",
                (job_id, _TRANSCRIPT.dump_json(transcript).decode()),
            )
        job = _job(_row(connection, job_id))
        if job.submission.webhook_url is not None:
            payload = json.dumps(document(job, transcript), ensure_ascii=False, separators=(",", ":")).encode()
            insert_delivery(
                connection,
                url=job.submission.webhook_url,
                event=f"job.{status}",
                payload=payload,
                job_id=job_id,
                now=now,
            )
        return job


_SELECT = (
    "SELECT jobs.*, split.job IS NOT NULL AS is_split, speakers.minimum, speakers.maximum FROM jobs"
    " LEFT JOIN split ON split.job = jobs.id LEFT JOIN speakers ON speakers.job = jobs.id"
)
"""What `_job` is made from. Tables of their own, since columns would not come to databases that are there."""

# The indexes are named since SQLite's planner, which knows no sizes, would take another and sort all that wait.
_ABANDONED = (
    "SELECT * FROM jobs INDEXED BY jobs_claimed"
    " WHERE status = 'running' AND (claimed_until < :now OR claimed_until > :latest) ORDER BY claimed_until LIMIT 1"
)
_NEXT = "SELECT * FROM jobs INDEXED BY jobs_in_turn WHERE status = 'queued' ORDER BY priority DESC, seq LIMIT 1"

_GIVEN_UP = "The server died {} times at the same place of the recording; what it died of is in its log."


def _run_out(now: float) -> dict[str, float]:
    """Which leases count no more."""
    return {"now": now, "latest": now + LONGEST_LEASE_S}


def _row(connection: sqlite3.Connection, job_id: str) -> sqlite3.Row:
    row: sqlite3.Row | None = connection.execute(f"{_SELECT} WHERE id = ?", (job_id,)).fetchone()
    if row is None:
        raise JobNotFound(job_id)
    return row


def _claimed(connection: sqlite3.Connection, claim: Claim) -> sqlite3.Row:
    row: sqlite3.Row | None = connection.execute(
        "SELECT * FROM jobs WHERE id = ? AND claim = ?", (claim.job.id, claim.token)
    ).fetchone()
    if row is None:
        raise ClaimLost
    return row


def _move(row: sqlite3.Row, status: Status) -> None:
    if status not in TRANSITIONS[Status(row["status"])]:
        raise ValueError(f"a job that is {row['status']} cannot become {status}")


def _submitted_before(connection: sqlite3.Connection, idempotency: Idempotency) -> Job | None:
    row = connection.execute(
        f"{_SELECT} WHERE idempotency_scope = ? AND idempotency_key = ?", (idempotency.scope, idempotency.key)
    ).fetchone()
    if row is None:
        return None
    if row["idempotency_digest"] != idempotency.digest:
        raise IdempotencyMismatch
    return _job(row)


def _purge(connection: sqlite3.Connection, job_id: str) -> None:
    forget_job(connection, job_id)
    connection.execute("DELETE FROM jobs WHERE id = ?", (job_id,))


def _claim(connection: sqlite3.Connection, job_id: str, token: str) -> Claim:
    plan = connection.execute("SELECT * FROM plans WHERE job = ?", (job_id,)).fetchone()
    windows = connection.execute("SELECT hypothesis FROM windows WHERE job = ? ORDER BY number", (job_id,)).fetchall()
    return Claim(
        job=_job(_row(connection, job_id)),
        token=token,
        plan=None if plan is None else _PLAN.validate_json(plan["plan"]),
        finished=[_HYPOTHESIS.validate_json(row["hypothesis"]) for row in windows],
        recipe=None if plan is None else plan["recipe"],
    )


def _transcript(connection: sqlite3.Connection, job_id: str) -> Transcript | None:
    row = connection.execute("SELECT transcript FROM transcripts WHERE job = ?", (job_id,)).fetchone()
    return None if row is None else _TRANSCRIPT.validate_json(row["transcript"])


def _job(row: sqlite3.Row) -> Job:
    return Job(
        id=row["id"],
        submission=Submission(
            model=row["model"],
            task=row["task"],
            language=row["language"],
            priority=JobPriority(row["priority"]),
            webhook_url=row["webhook_url"],
            filename=row["filename"],
            channels="split" if row["is_split"] else "mix",
            speakers=None if row["minimum"] is None else SpeakerCount(row["minimum"], row["maximum"]),
        ),
        status=Status(row["status"]),
        created_at=row["created_at"],
        completed_at=row["completed_at"],
        language=row["language"] or row["heard"],
        windows_done=row["windows_done"],
        windows_planned=row["windows_planned"],
        duration_s=row["duration_s"],
        error=row["error"],
        attempts=row["attempts"],
    )
