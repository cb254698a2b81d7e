"""Jobs of the real server, as a client sees them."""

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import numpy as np

from molva.runtime.loading import sample_speech
from tests.conftest import TINY, read_flac
from tests.e2e.conftest import Process
from tests.http.conftest import wav
from tests.media import encode_channels
from tests.outbound.receiver import Receiver, until

SPEECH = wav(sample_speech())
LOOPBACK = ("--allow-network", "127.0.0.0/8")
ENDS = ("done", "failed", "cancelled")


def flags(model_dir: Path, *more: str | Path) -> tuple[str | Path, ...]:
    """Of `molva serve` with the tiny model."""
    return ("--port", "0", "--model", "gigaam-v3-rnnt", "--model-dir", model_dir, "--precision", "fp32", *more)


def long_speech(times: int = 3) -> bytes:
    """So many times two and a half minutes."""
    return wav(np.tile(read_flac(TINY / "unseen" / "long.flac"), times))


def long_call() -> bytes:
    """Two and a half minutes with speech on both channels."""
    speech = read_flac(TINY / "unseen" / "long.flac")
    return encode_channels([speech, np.roll(speech, len(speech) // 2)], "wav", "pcm_s16le")


@dataclass
class Door:
    """Of one server."""

    url: str
    client: httpx2.Client

    def get(self, path: str) -> Any:
        answer = self.client.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def submit(self, audio: bytes | None = SPEECH, /, **fields: str) -> httpx2.Response:
        files: dict[str, Any] = {} if audio is None else {"audio": ("speech.wav", audio)}
        return self.client.post("/jobs", files=files | {name: (None, value) for name, value in fields.items()})

    def accepted(self, audio: bytes | None = SPEECH, /, **fields: str) -> str:
        """The id of a job that was submitted."""
        answer = self.submit(audio, **fields)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["job_id"])

    def job(self, job_id: str) -> dict[str, Any]:
        return dict(self.get(f"/jobs/{job_id}"))

    def wait_for_job(self, job_id: str, *statuses: str) -> dict[str, Any]:
        """Until it is in one of these states, or at its end."""
        until(lambda: self.job(job_id)["status"] in (statuses or ENDS), 60)
        return self.job(job_id)

    def wait_until_under_way(self, job_id: str) -> None:
        """Until some of its windows are decoded and others are not."""
        until(lambda: self.job(job_id)["progress"] > 0, 60)
        assert self.job(job_id)["status"] == "running", "it was too short to be caught"

    @property
    def state(self) -> str:
        """Of the model."""
        return str(self.get("/model/status")["state"])

    def wait_for_model(self, *states: str) -> None:
        until(lambda: self.state in states, 60)

    def load(self) -> None:
        """Whatever the state is."""
        self.client.post("/model/load")
        self.wait_for_model("ready")

    def unload(self) -> None:
        """Whatever the state is."""
        self.client.post("/model/unload")
        self.wait_for_model("unloaded")


@contextmanager
def door(process: Process) -> Iterator[Door]:
    """Of a server that has announced itself."""
    url = process.url()
    with httpx2.Client(base_url=url, timeout=30, trust_env=False) as client:
        yield Door(url, client)


def heard(receiver: Receiver, path: str = "/hook") -> list[dict[str, Any]]:
    """What was posted to a path, in order."""
    return [json.loads(request.body) for request in list(receiver.heard) if request.line.split()[1] == path]


def taken_up(process: Process) -> list[str]:
    """Ids of the jobs that a server has begun, in order, as its log tells."""
    return re.findall(r"job (\S+) is taken up", "".join(process.errors))


def wait_for_log(process: Process, pattern: str) -> None:
    until(lambda: re.search(pattern, "".join(process.errors)) is not None)


def settled(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether a condition holds now and for so long."""
    deadline = time.monotonic() + seconds
    while (holds := condition()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return holds
