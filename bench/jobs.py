"""What a long queue costs: `python -m bench.jobs --model-dir DIR`. README.md explains the table."""

import argparse
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx2

from bench.figures import percentiles
from bench.process import running_server
from molva.assets import __file__ as assets
from molva.database import Database
from molva.jobs import sqlite as jobs_sqlite
from molva.jobs.job import Submission
from molva.jobs.service import JobRules
from molva.jobs.sqlite import SqliteJobStore
from molva.jobs.store import Claim
from molva.webhooks import sqlite as webhooks_sqlite

CLIP = Path(assets).parent / "speech.wav"
MODEL = "gigaam-v3-rnnt"
PAGE = 50


@dataclass(frozen=True)
class Row:
    """One operation, in seconds."""

    name: str
    empty: Sequence[float]
    """On a store with nothing but what the measurement itself makes."""
    full: Sequence[float]


def timed(times: int, work: Callable[[], object]) -> list[float]:
    """How long each of so many calls takes."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return taken


class Bench:
    """One data folder with so many queued jobs."""

    def __init__(self, home: Path, arguments: argparse.Namespace, queued: int) -> None:
        self._home = home
        self._arguments = arguments
        self._database = Database(home / "molva.db", [webhooks_sqlite.TABLES, jobs_sqlite.TABLES])
        self._store = SqliteJobStore(self._database)
        self._recordings = home / "jobs"
        self._recordings.mkdir()
        for _ in range(queued):
            job_id = str(uuid.uuid4())
            (self._recordings / job_id).write_bytes(CLIP.read_bytes())
            self._store.submit(job_id, Submission(MODEL))

    def store(self) -> dict[str, list[float]]:
        """Of the store alone."""

        def claim() -> None:
            claimed = self._store.claim(JobRules().lease_s)
            assert claimed is not None
            claims.append(claimed)

        times = self._arguments.times
        figures = {"submit, store": timed(times, lambda: self._store.submit(str(uuid.uuid4()), Submission(MODEL)))}
        claims: list[Claim] = []
        figures["claim"] = timed(times, claim)
        for claimed in claims:
            self._store.hand_back(claimed)
        figures["count waiting"] = timed(times, self._store.waiting)
        return figures

    def server(self) -> dict[str, list[float]]:
        """Of a server over it, as a client measures. Its worker runs jobs meanwhile."""
        self._database.close()
        flags = ["--model", MODEL, "--model-dir", str(self._arguments.model_dir), "--precision", "fp32"]
        flags += ["--data-dir", str(self._home), "--log-level", "error"]
        began = time.perf_counter()
        with running_server(flags) as server:
            figures = {"start": [time.perf_counter() - began]}
            with httpx2.Client(base_url=server.http_url, timeout=60, trust_env=False) as client:

                def get(path: str) -> httpx2.Response:
                    return client.get(path).raise_for_status()

                def submit() -> None:
                    client.post("/jobs", files={"audio": CLIP.read_bytes()}).raise_for_status()

                times = self._arguments.times
                figures["submit"] = timed(times, submit)
                figures["list, first page"] = timed(times, lambda: get(f"/jobs?limit={PAGE}"))
                figures["list, queued only"] = timed(times, lambda: get(f"/jobs?limit={PAGE}&status=queued"))
                newest = get("/jobs?limit=1").json()["next_cursor"] or "1"
                cursor = str(max(int(newest) // 10, 2))
                figures["list, deep cursor"] = timed(times, lambda: get(f"/jobs?limit={PAGE}&cursor={cursor}"))
                oldest = get(f"/jobs?limit=1&cursor={cursor}").json()["jobs"][0]["id"]
                figures["one job"] = timed(times, lambda: get(f"/jobs/{oldest}"))
        return figures


def measure(arguments: argparse.Namespace, queued: int) -> dict[str, list[float]]:
    """All operations over so many queued jobs."""
    with tempfile.TemporaryDirectory(prefix="molva-bench-") as folder:
        print(f"    {queued} jobs", file=sys.stderr)
        bench = Bench(Path(folder), arguments, queued)
        return bench.store() | bench.server()


def print_table(rows: Sequence[Row], queued: int) -> None:
    """As Markdown; milliseconds."""
    print(f"| | empty, p50/p95 | {queued:,} queued, p50/p95 | ratio of p50 |")
    print("|---|---|---|---|")
    for row in rows:
        (empty, empty_p95, _), (full, full_p95, _) = percentiles(row.empty), percentiles(row.full)
        cells = [f"{p50 * 1000:.1f}/{p95 * 1000:.1f}" for p50, p95 in ((empty, empty_p95), (full, full_p95))]
        print(f"| {row.name} | {cells[0]} | {cells[1]} | {full / empty:.1f} |")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m bench.jobs", description=__doc__)
    parser.add_argument("--model-dir", type=Path, required=True, help=f"a folder with {MODEL}")
    parser.add_argument("--queued", type=int, default=10_000, help="jobs that wait")
    parser.add_argument("--times", type=int, default=200, help="measurements of each operation")
    arguments = parser.parse_args()
    empty, full = measure(arguments, 0), measure(arguments, arguments.queued)
    print_table([Row(name, empty[name], full[name]) for name in empty], arguments.queued)


if __name__ == "__main__":
    main()
