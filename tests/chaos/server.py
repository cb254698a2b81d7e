"""The server that is tormented: a real process with a folder, a port and a log, killed and started again at will."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from tests.e2e.conftest import MOLVA, environment

DIRECT: dict[str, Any] = {"trust_env": False, "verify": False}
"""Of every request: to read certificates for it would take 40 ms of processor, which the server needs."""

PATIENCE_S = 180.0
"""A busy machine is no failure."""

PROMPT = ("--job-lease-secs", "1", "--job-attempts", "20", "--webhook-first-wait-secs", "0.2")
"""What is done again is done again soon."""


@dataclass
class Server:
    """`molva serve` with a small model. Everything that it writes is in `home`."""

    home: Path
    model_dir: Path
    flags: Sequence[str] = ()
    under: Sequence[str] = ()
    """A command that becomes the server it is told to run."""
    variables: dict[str, str] = field(default_factory=dict)
    """Of its environment."""
    program: Sequence[str] = tuple(MOLVA)
    port: int = field(default_factory=lambda: free_port())
    popen: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/v1/ws"

    @property
    def data(self) -> Path:
        """Its database, recordings of jobs and uploads."""
        return self.home / "data"

    @property
    def temporary(self) -> Path:
        return self.home / "tmp"

    @property
    def log(self) -> Path:
        return self.home / "server.log"

    @property
    def pid(self) -> int:
        assert self.popen is not None
        return self.popen.pid

    def start(self) -> None:
        """Without waiting for anything."""
        for folder in (self.data, self.temporary):
            folder.mkdir(parents=True, exist_ok=True)
        command = [*self.under, *self.program, "serve", "--port", str(self.port), "--model", "gigaam-v3-rnnt"]
        command += ["--model-dir", str(self.model_dir), "--data-dir", str(self.data), "--precision", "fp32"]
        command += ["--allow-network", "127.0.0.0/8", *PROMPT, *self.flags]
        variables = environment(self.home, TMPDIR=str(self.temporary), **self.variables)
        with self.log.open("ab") as log:
            self.popen = subprocess.Popen(command, stdout=log, stderr=log, env=variables)

    def wait_until_ready(self, timeout_s: float = PATIENCE_S) -> None:
        """Raises TimeoutError, and RuntimeError where the process has ended."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                if httpx2.get(f"{self.url}/ready", **DIRECT, timeout=5).status_code == 200:
                    return
            except httpx2.TransportError:
                pass
            if not self.alive:
                raise RuntimeError(f"the server has ended: {self.log_tail()}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"the server is not ready after {timeout_s:.0f} s: {self.log_tail()}")
            time.sleep(0.05)

    @property
    def alive(self) -> bool:
        return self.popen is not None and self.popen.poll() is None

    def kill(self) -> None:
        assert self.popen is not None
        self.popen.kill()
        self.popen.wait()

    def stop(self) -> int:
        """The exit status after SIGTERM."""
        assert self.popen is not None
        self.popen.terminate()
        return self.popen.wait(60)

    def freeze(self, seconds: float) -> None:
        """Nothing of the process runs for so long."""
        os.kill(self.pid, signal.SIGSTOP)
        time.sleep(seconds)
        os.kill(self.pid, signal.SIGCONT)

    def reload(self) -> None:
        """Have it read its configuration file again."""
        os.kill(self.pid, signal.SIGHUP)

    def log_tail(self) -> str:
        return self.log.read_text(errors="replace")[-2000:]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


SABOTAGED = (sys.executable, "-m", "tests.chaos.sabotage")
"""The program of a server whose parts can be made to fail, followed by the folder from which that is done."""
