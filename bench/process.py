"""`molva serve` as a process of its own, and what it costs. Linux only: the figures come from /proc."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")

STOP_S = 20.0
"""How long the server may take to end."""


@dataclass(frozen=True)
class Usage:
    """Processor time so far, in seconds of one core."""

    process_s: float
    loop_s: float
    """Of the event loop's thread: everything but the engine."""


@dataclass(frozen=True)
class Server:
    """A server that is ready."""

    pid: int
    url: str
    """Of /v1/ws."""

    @property
    def http_url(self) -> str:
        """What the paths of the other doors follow."""
        return self.url.replace("ws://", "http://").removesuffix("/v1/ws")

    def usage(self) -> Usage:
        """What it has taken so far."""
        proc = Path("/proc") / str(self.pid)
        return Usage(_cpu_s(proc / "stat"), _cpu_s(proc / "task" / str(self.pid) / "stat"))

    def forget_peak(self) -> None:
        """Let `peak_mb` begin anew: loading a model takes more than serving it."""
        (Path("/proc") / str(self.pid) / "clear_refs").write_text("5")

    def peak_mb(self) -> float:
        """Highest resident memory, in MB."""
        return peak_mb(self.pid)


def memory_mb(pid: int) -> float:
    """What of the machine's memory a process takes, in MB: a page that is mapped twice is there once."""
    rollup = (Path("/proc") / str(pid) / "smaps_rollup").read_text()
    [kilobytes] = re.findall(r"^Pss:\s+(\d+) kB", rollup, re.MULTILINE)
    return int(kilobytes) * 1024 / 1e6


def peak_mb(pid: int) -> float:
    """Highest resident memory of a process, in MB."""
    status = (Path("/proc") / str(pid) / "status").read_text()
    [kilobytes] = re.findall(r"VmHWM:\s+(\d+) kB", status)
    return int(kilobytes) * 1024 / 1e6


def _cpu_s(stat: Path) -> float:
    fields = stat.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND


@contextmanager
def running_server(arguments: Sequence[str]) -> Iterator[Server]:
    """Start `molva serve` with these arguments on a free port. Raises RuntimeError where it ends instead."""
    command = [sys.executable, "-m", "molva", "serve", "--port", "0", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                print(f"    {line.rstrip()}", file=sys.stderr)
                if address := re.search(r"(ws://\S+)", line):
                    yield Server(process.pid, address.group(1))
                    return
            raise RuntimeError("the server ended before it was ready")
        finally:
            process.terminate()
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
