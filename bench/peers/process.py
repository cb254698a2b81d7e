"""An engine's process, from outside: what is asked of it, and what it took. Linux only."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.peers.competitors import Competitor
from bench.peers.glibc import preloading
from bench.process import memory_mb, peak_mb


@dataclass(frozen=True)
class Timing:
    """One recognition."""

    wall_s: float
    cpu_s: float
    """Of all cores together."""
    symbols: int
    """Characters of the text."""


class Worker:
    """A competitor that is loaded. Close it, or use it as a context manager, to end its process."""

    def __init__(
        self, competitor: Competitor, models: Path, cores: Sequence[int], *, threads: int = 0, device: str = "cpu"
    ) -> None:
        """Start and load it, on these cores only, with one thread for each unless said otherwise.

        Raises RuntimeError where it ends instead; it has said why on the standard error.
        """
        self.competitor = competitor
        arguments = [competitor.name, str(models / competitor.folder), str(threads or len(cores))]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.peers.worker", *arguments, ",".join(map(str, cores)), device],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=preloading(models) if competitor.needs_newer_glibc else None,
        )
        self.load_s = float(self._answer()["load_s"])

    def recognize(self, path: Path) -> Timing:
        """Recognise a file."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{path}\n")
        self._process.stdin.flush()
        return Timing(**self._answer())

    @property
    def memory_mb(self) -> float:
        """What it takes of the machine's memory now; with others that map the same files, its share."""
        return memory_mb(self._process.pid)

    @property
    def peak_mb(self) -> float:
        """Highest resident memory so far, with what its libraries take."""
        return peak_mb(self._process.pid)

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self.close()
            raise RuntimeError(f"{self.competitor.name} has ended")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End the process."""
        self._process.communicate()

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
