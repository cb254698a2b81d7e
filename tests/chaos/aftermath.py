"""What a fault may not leave behind: threads, descriptors, files, leases."""

import re
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.server import Server

SETTLED_S = 60.0
"""How long the server may take to let go of what it does not need any more."""

POOLS = frozenset({"transcription", "asyncio", "jobs", "job", "fetching", "AnyIO worker thread", "ThreadPoolExecutor"})
"""Threads that are kept for the next one who needs them; their number has a bound."""
POOL_BOUND = 64


@dataclass(frozen=True)
class Holdings:
    """What a process holds."""

    threads: Counter[str]
    """Of each kind, as the sabotage tells; empty without it."""
    files: Counter[str]
    """Descriptors of each kind: paths, `socket`, `pipe`, …"""

    @classmethod
    def of(cls, server: Server, sabotage: Path | None) -> "Holdings":
        return cls(_threads(sabotage), _files(server.pid))

    def beyond(self, before: "Holdings") -> list[str]:
        """What is held now and was not before."""
        more_threads = Counter({kind: n for kind, n in self.threads.items() if kind not in POOLS}) - before.threads
        crowded = [f"{n} threads '{kind}'" for kind, n in self.threads.items() if kind in POOLS and n > POOL_BOUND]
        fewer = {kind: n for kind, n in before.threads.items() if kind not in POOLS and self.threads[kind] < n}
        return [
            *(f"{n} more threads '{kind}'" for kind, n in more_threads.items()),
            *(f"only {self.threads[kind]} of {n} threads '{kind}'" for kind, n in fewer.items()),
            *crowded,
            *(f"{n} more descriptors: {kind}" for kind, n in (self.files - before.files).items()),
        ]


def _threads(sabotage: Path | None) -> Counter[str]:
    if sabotage is None:
        return Counter()
    lines = (sabotage / "threads").read_text().splitlines()
    return Counter({kind: int(count) for kind, count in (line.rsplit(maxsplit=1) for line in lines)})


def _files(pid: int) -> Counter[str]:
    found: Counter[str] = Counter()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(descriptor.readlink())
        except OSError:
            continue  # closed meanwhile
        found[re.sub(r":?\[.*\]| \(deleted\)", "", target)] += 1
    return found


def remains(server: Server, before: Holdings, sabotage: Path | None) -> list[str]:
    """What is still held, once there was time to let go of it."""
    return _until_nothing(lambda: Holdings.of(server, sabotage).beyond(before))


def _until_nothing(look: Callable[[], list[str]]) -> list[str]:
    deadline = time.monotonic() + SETTLED_S
    while (found := look()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return found


def left_on_disk(data: Path, temporary: Path) -> list[str]:
    """What should not be in the folders of a server that has ended."""
    problems = [f"an upload is left: {path.name}" for path in (data / "spool").rglob("*") if path.name != ".lock"]
    problems += [f"a temporary file is left: {path.name}" for path in temporary.iterdir()]
    with closing(sqlite3.connect(data / "molva.db")) as connection:
        known = {job_id for (job_id,) in connection.execute("SELECT id FROM jobs")}
        # Those that a kill has kept from becoming a job go ten minutes later.
        problems += [f"a recording is left: {path.name}" for path in (data / "jobs").iterdir() if path.name in known]
        [integrity] = connection.execute("PRAGMA integrity_check").fetchone()
        problems += [] if integrity == "ok" else [f"the database: {integrity}"]
        for table in ("jobs", "deliveries"):
            [held] = connection.execute(f"SELECT count(*) FROM {table} WHERE claim IS NOT NULL").fetchone()
            problems += [f"{held} leases are left in {table}"] if held else []
        [unfinished] = connection.execute("SELECT count(*) FROM jobs WHERE status IN ('queued', 'running')").fetchone()
        problems += [f"{unfinished} jobs never ended"] if unfinished else []
    return problems


def complaints(log: str) -> list[str]:
    """What Python itself says of an exception that nobody took."""
    said = re.findall(
        r"(?:Exception in thread|was never retrieved|Fatal error|Exception ignored in|exception was never).*", log
    )
    return [f"the log has: {line.strip()[:200]}" for line in dict.fromkeys(said)]
