"""The real process, as a user starts it."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

from molva.configuration import FOREIGN

MOLVA = [sys.executable, "-m", "molva"]


def environment(home: Path, **variables: str) -> dict[str, str]:
    """A newcomer's: an empty home, no settings, and no way to any hub."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MOLVA_", "HF_")) and name not in FOREIGN
    }
    return {**kept, "HOME": str(home), "HF_ENDPOINT": "http://127.0.0.1:9", **variables}


def run_molva(
    *args: str | Path, home: Path, stdin: bytes | None = None, timeout: float = 120, **variables: str
) -> "subprocess.CompletedProcess[bytes]":
    """Run a command to its end."""
    return subprocess.run(
        [*MOLVA, *map(str, args)],
        env=environment(home, **variables),
        input=stdin,
        capture_output=True,
        timeout=timeout,
        check=False,
    )


@dataclass
class Process:
    """`molva serve` that runs."""

    popen: "subprocess.Popen[str]"
    output: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(self.output)

    def wait_for(self, pattern: str, timeout: float = 60) -> "re.Match[str]":
        """Until standard output has it."""
        deadline = time.monotonic() + timeout
        while not (match := re.search(pattern, self.text)):
            assert self.popen.poll() is None, f"it ended: {self.text}{''.join(self.errors)}"
            assert time.monotonic() < deadline, f"not in: {self.text}{''.join(self.errors)}"
            time.sleep(0.02)
        return match

    def url(self) -> str:
        return self.wait_for(r"ready at (http://\S+)").group(1)

    def stop(self, number: int = signal.SIGTERM, timeout: float = 20) -> int:
        """Send a signal and give back the exit status."""
        self.popen.send_signal(number)
        return self.popen.wait(timeout)


@contextmanager
def molva_serve(*args: str | Path, home: Path, under: Sequence[str | Path] = (), **variables: str) -> Iterator[Process]:
    """`under`: a command that becomes the server it is told to run."""
    popen = subprocess.Popen(
        [*map(str, under), *MOLVA, "serve", *map(str, args)],
        env=environment(home, **variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    process = Process(popen)
    assert popen.stdout is not None
    assert popen.stderr is not None
    readers = [
        threading.Thread(target=process.output.extend, args=(popen.stdout,)),
        threading.Thread(target=process.errors.extend, args=(popen.stderr,)),
    ]
    for reader in readers:
        reader.start()
    try:
        yield process
    finally:
        if popen.poll() is None:
            popen.kill()
        popen.wait(10)
        for reader in readers:
            reader.join(10)
        popen.stdout.close()
        popen.stderr.close()


def answers(url: str) -> httpx2.Response:
    """GET, repeated until the port is open."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return httpx2.get(url, timeout=10)
        except httpx2.ConnectError:
            assert time.monotonic() < deadline
            time.sleep(0.02)
