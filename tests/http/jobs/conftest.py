"""What the tests of the jobs door share: a server whose jobs go as far as a test takes them."""

import asyncio
import json
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx2

from molva.database import Database
from molva.engines.base import Engine
from molva.engines.silero import load_vad
from molva.errors import ModelNotInstalled
from molva.jobs import service
from molva.jobs import sqlite as jobs_sqlite
from molva.jobs.job import Job, JobPriority, Submission
from molva.jobs.service import Jobs
from molva.jobs.shelf import AudioShelf
from molva.jobs.sqlite import SqliteJobStore
from molva.jobs.store import Claim
from molva.runtime.fleet import Lease
from molva.runtime.plan import Plan, PlannedWindow
from molva.speech.waveform import Waveform
from molva.transcript import Coverage, Hypothesis, Segment, Transcript, Word
from molva.webhooks import sqlite as webhooks_sqlite
from tests.http.conftest import Running, serving
from tests.http.openai.conftest import SPEECH, Speaker, uploads

WORDS = (Word("Раз", 0.1, 0.4, 0.98765), Word("два.", 0.5, 0.9, 0.5))
TRANSCRIPT = Transcript((Segment(0.1, 0.9, "Раз два.", WORDS),), 4.0, "ru", Coverage(0.8, 0.8))
WAVEFORM = Waveform(4.0, 0.1, bytes([0, 128, 255]), ((0.1, 0.9), (2.0, 2.5)))
LEASE_S = 600


@dataclass
class JobServer:
    """A server that takes jobs and runs none: the test does."""

    server: Running
    jobs: Jobs
    store: SqliteJobStore
    recordings: Path
    registered: list[str]
    """Addresses that want to hear of the model."""

    @property
    def client(self) -> httpx2.Client:
        return self.server.client

    def submit(
        self, audio: bytes | None = SPEECH, /, name: str = "speech.wav", key: str | None = None, **fields: str
    ) -> httpx2.Response:
        """A submission as a client makes it."""
        files: dict[str, Any] = {} if audio is None else {"audio": (name, audio)}
        files |= {field: (None, value) for field, value in fields.items()}
        headers = {} if key is None else {"idempotency-key": key}
        return self.client.post("/jobs", files=files, headers=headers)

    def queued(self, **submission: Any) -> Job:
        """A job of the store."""
        return self.store.submit(str(uuid.uuid4()), Submission(**{"model": "whisper-base", **submission}))

    def claim(self) -> Claim:
        claim = self.store.claim(LEASE_S)
        assert claim is not None
        return claim

    def planned(self, n_windows: int) -> tuple[Job, Claim]:
        """A running job of so many windows; it was taken before those that wait."""
        job, claim = self.queued(priority=JobPriority.HIGH), self.claim()
        assert claim.job.id == job.id
        windows = tuple(PlannedWindow(16_000 * i, 16_000, 8_000, 0) for i in range(n_windows))
        self.store.planned(claim, Plan(windows, 4.0), "recipe", WAVEFORM)
        return job, claim

    def advance(self, claim: Claim, index: int) -> None:
        """One more window is decoded."""
        self.store.finished(claim, index, Hypothesis("раз", (), (), "ru"), "ru")

    def done(self, transcript: Transcript = TRANSCRIPT) -> Job:
        _, claim = self.planned(1)
        self.advance(claim, 0)
        return self.store.done(claim, transcript)

    def failed(self, error: str = "broken") -> Job:
        return self.store.failed(self.planned(1)[1], error)

    def kept(self) -> list[Path]:
        """Recordings and uploads on the disk."""
        return [*self.recordings.iterdir(), *uploads(self.server.state)]

    def stop(self) -> None:
        """As a drain does."""
        asyncio.run_coroutine_threadsafe(self.jobs.stop(1), self.server.loop).result(10)


async def _nothing(_name: str) -> Lease:
    raise ModelNotInstalled


@contextmanager
def serving_jobs(engine: Engine | None = None, *, loading: bool = False, **options: Any) -> Iterator[JobServer]:
    """A server with no job; by default over a model that translates. No upload may be left when the block ends."""
    if engine is None and not loading:
        engine = Speaker("whisper-base", "ru")
    with tempfile.TemporaryDirectory() as folder, patch.object(service, "POLL_S", 0.02):
        database = Database(Path(folder) / "molva.db", [webhooks_sqlite.TABLES, jobs_sqlite.TABLES])
        store, registered = SqliteJobStore(database), list[str]()
        recordings = Path(folder) / "recordings"
        jobs = Jobs(store, AudioShelf(recordings), _nothing, load_vad(), register=registered.append)
        try:
            with serving(engine, jobs=jobs, **options) as server:
                yield JobServer(server, jobs, store, recordings, registered)
                server.wait_until(lambda state: not uploads(state))
        finally:
            database.close()


def told(answer: httpx2.Response, status: int) -> tuple[str, str]:
    """Code and text of a refusal."""
    assert answer.status_code == status, answer.text
    body = answer.json()
    return body["code"], body["error"]


def job_of(answer: httpx2.Response) -> str:
    """The id of a job that was accepted."""
    assert answer.status_code == 202, answer.text
    assert answer.json().keys() == {"job_id"}
    job_id = answer.json()["job_id"]
    assert uuid.UUID(job_id).version == 4
    return str(job_id)


def frames(text: str) -> list[tuple[str, dict[str, Any]]]:
    """Name and data of each event of a stream, whose frames must be exactly so."""
    events = []
    parts = text.split("\n\n")
    assert parts.pop() == ""
    for part in parts:
        if part == ":":
            continue
        name, data = part.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        events.append((event["type"], event))
    return events
