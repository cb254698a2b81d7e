"""What a server holds, looked at every few seconds. Linux only: the figures come from /proc."""

import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx2

from tests.chaos.server import DIRECT, Server

EVERY_S = 2.0
PATIENCE_S = 30.0
"""How long /health may take before it counts as no answer."""


@dataclass(frozen=True)
class Sample:
    """One look."""

    at_s: float
    """Since the load began."""
    memory_mb: float
    """Anonymous memory: heaps and stacks, which is where a leak is. What is mapped from files, weights and libraries,
    comes and goes as the system likes, and would hide it. With what of it was swapped out, else swapping would."""
    descriptors: int
    threads: int
    health_s: float | None
    """How long /health took, the client's own time included; None where no answer came."""
    done: int
    """Requests, sessions and jobs so far."""
    jobs: int | None
    """Queued and running; None where nobody said."""
    disk_mb: float
    """The data folder."""


class Meter:
    """Takes samples in a thread of its own while the context lasts."""

    def __init__(self, server: Server, done: Callable[[], int], every_s: float = EVERY_S) -> None:
        self.samples: list[Sample] = []
        self._server = server
        self._done = done
        self._every_s = every_s
        self._began = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def now_s(self) -> float:
        """Since the load began."""
        return time.monotonic() - self._began

    def __enter__(self) -> "Meter":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        headers = {"connection": "close"}  # no descriptor of the server is held between two looks
        with httpx2.Client(base_url=self._server.url, headers=headers, timeout=PATIENCE_S, **DIRECT) as client:
            while self._server.alive and not self._stop.is_set():
                self.samples.append(self._look(client))
                self._stop.wait(self._every_s)

    def _look(self, client: httpx2.Client) -> Sample:
        at_s, process = self.now_s, Path(f"/proc/{self._server.pid}")
        return Sample(
            at_s=at_s,
            memory_mb=anonymous_mb((process / "status").read_text()),
            descriptors=len(list((process / "fd").iterdir())),
            threads=len(list((process / "task").iterdir())),
            health_s=_health_s(client),
            done=self._done(),
            jobs=_unfinished(client),
            disk_mb=_size_mb(self._server.data),
        )


def anonymous_mb(status: str) -> float:
    """Of /proc/PID/status, swapped out or not."""
    kilobytes = re.findall(r"^(?:RssAnon|VmSwap):\s+(\d+) kB", status, re.MULTILINE)
    return sum(map(int, kilobytes)) * 1024 / 1e6


def _health_s(client: httpx2.Client) -> float | None:
    began = time.monotonic()
    try:
        well = client.get("/health").status_code == 200
    except httpx2.TransportError:
        return None
    return time.monotonic() - began if well else None


def _unfinished(client: httpx2.Client) -> int | None:
    try:
        jobs = client.get("/v1/status").json()["jobs"]
    except httpx2.TransportError:
        return None
    return None if jobs is None else int(jobs["queued"] + jobs["running"])


def _size_mb(folder: Path) -> float:
    size = 0
    for path in folder.rglob("*"):
        try:
            size += path.stat().st_blocks * 512
        except FileNotFoundError:
            continue  # gone meanwhile
    return size / 1e6
