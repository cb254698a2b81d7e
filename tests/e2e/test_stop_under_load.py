"""A signal while every door is in use: whoever was let in is answered or told, and the server exits with 0."""

import base64
import json
import re
import signal
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.sync.client import connect

from molva.runtime.loading import sample_speech
from tests.e2e.conftest import molva_serve
from tests.e2e.jobs import SPEECH, door, flags

PCM = (sample_speech() * 32767).astype("<i2").tobytes()
REFUSED = {"pool_closed", "timeout", "initializing"}


@dataclass
class Outcomes:
    """What clients have seen, by door."""

    seen: dict[str, list[str]] = field(default_factory=dict)
    unanswered: dict[str, str] = field(default_factory=dict)
    """Request ids that got no answer at all, with the door."""
    jobs: list[str] = field(default_factory=list)

    def add(self, name: str, outcome: str) -> None:
        self.seen.setdefault(name, []).append(outcome)


Client = Callable[[str, str, Outcomes], None]
"""Asks a server once, with a request id."""


def of_answer(answer: httpx2.Response) -> str:
    if answer.status_code == 503:
        error = answer.json()["error"]
        code = answer.json().get("code") or error["type"]
        assert code in REFUSED | {"server_error"}, answer.text
        return "refused"
    assert answer.status_code in (200, 202), (answer.status_code, answer.text)
    return "answered"


def native(url: str, request_id: str, outcomes: Outcomes) -> None:
    headers = {"x-request-id": request_id}
    answer = httpx2.post(f"{url}/v1/transcribe", content=SPEECH, headers=headers, timeout=60, trust_env=False)
    outcomes.add("native", of_answer(answer))


def openai(url: str, request_id: str, outcomes: Outcomes) -> None:
    files, headers = {"file": ("speech.wav", SPEECH)}, {"x-request-id": request_id}
    answer = httpx2.post(f"{url}/v1/audio/transcriptions", files=files, headers=headers, timeout=60, trust_env=False)
    outcomes.add("openai", of_answer(answer))


def sse(url: str, request_id: str, outcomes: Outcomes) -> None:
    headers = {"x-request-id": request_id}
    answer = httpx2.post(f"{url}/v1/transcribe/stream", content=SPEECH, headers=headers, timeout=60, trust_env=False)
    outcomes.add("sse", of_answer(answer))
    if answer.status_code == 200:
        last = json.loads(answer.text.strip().split("\n\n")[-1].removeprefix("data: "))
        assert last["type"] == "final" or last["code"] == "pool_closed", last


def jobs(url: str, request_id: str, outcomes: Outcomes) -> None:
    files, headers = {"audio": ("speech.wav", SPEECH)}, {"x-request-id": request_id}
    answer = httpx2.post(f"{url}/jobs", files=files, headers=headers, timeout=60, trust_env=False)
    outcomes.add("jobs", of_answer(answer))
    if answer.status_code == 202:
        outcomes.jobs.append(answer.json()["job_id"])


def check_goodbye(closed: ConnectionClosed, told: list[dict[str, Any]]) -> None:
    assert closed.rcvd is not None, f"cut off after {told}"
    assert closed.rcvd.code in (1000, 1001), closed.rcvd


def live(url: str, request_id: str, outcomes: Outcomes) -> None:
    headers = {"x-request-id": request_id}
    with connect(f"ws{url[4:]}/v1/ws", proxy=None, additional_headers=headers, open_timeout=60) as socket:
        told: list[dict[str, Any]] = []
        try:
            socket.send(json.dumps({"type": "configure", "sample_rate": 16000}))
            for start in range(0, len(PCM), 32_000):
                socket.send(PCM[start : start + 32_000])
            socket.send(json.dumps({"type": "stop"}))
            while True:
                told.append(json.loads(socket.recv(60)))
        except ConnectionClosed as closed:
            check_goodbye(closed, told)
        outcomes.add("live", "answered" if told and told[-1]["type"] == "final" else "refused")


def realtime(url: str, request_id: str, outcomes: Outcomes) -> None:
    headers = {"x-request-id": request_id}
    with connect(
        f"ws{url[4:]}/v1/realtime?intent=transcription", proxy=None, additional_headers=headers, open_timeout=60
    ) as socket:
        told: list[dict[str, Any]] = []
        try:
            for start in range(0, len(PCM), 32_000):
                audio = base64.b64encode(PCM[start : start + 32_000]).decode()
                socket.send(json.dumps({"type": "input_audio_buffer.append", "audio": audio}))
            socket.send(json.dumps({"type": "input_audio_buffer.commit"}))
            while not told or not told[-1]["type"].endswith("transcription.completed"):
                told.append(json.loads(socket.recv(60)))
            outcomes.add("realtime", "answered")
        except ConnectionClosed as closed:
            check_goodbye(closed, told)
            outcomes.add("realtime", "refused")


def keep_asking(client: Client, url: str, outcomes: Outcomes, wrong: list[str], stop: threading.Event) -> None:
    while not stop.is_set():
        request_id = str(uuid.uuid4())
        try:
            client(url, request_id, outcomes)
        except InvalidStatus as refusal:
            outcomes.add(client.__name__, "refused")
            if refusal.response.status_code != 503:
                wrong.append(f"{client.__name__}: {refusal!r}")
        except (httpx2.TransportError, OSError, InvalidHandshake, ConnectionClosed, EOFError):
            outcomes.unanswered[request_id] = client.__name__
            time.sleep(0.02)
        except Exception as error:  # noqa: BLE001 - told by the test
            wrong.append(f"{client.__name__}: {error!r}")


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_whoever_was_let_in_is_answered_or_told(tmp_path: Path, tiny_dir: Path) -> None:
    """And each job that was accepted is done by the next server."""
    outcomes, stop = Outcomes(), threading.Event()
    wrong: list[str] = []
    clients: list[Client] = [native, openai, sse, jobs, live, realtime]
    with molva_serve(*flags(tiny_dir), home=tmp_path) as process:
        url = process.url()
        threads = [
            threading.Thread(target=keep_asking, args=(client, url, outcomes, wrong, stop)) for client in clients * 2
        ]
        for thread in threads:
            thread.start()
        while len(outcomes.seen) < len(clients):
            time.sleep(0.05)
        process.popen.send_signal(signal.SIGTERM)
        assert process.popen.wait(30) == 0
        stop.set()
        for thread in threads:
            thread.join(60)
        log = "".join(process.errors)
    assert wrong == []
    assert "Traceback" not in log
    # Who came when the port was closed was let in by nobody; of all others there is a line in the log.
    handled = set(re.findall(r"request_id=(\S+)", log))
    assert [f"{client} got no answer" for key, client in outcomes.unanswered.items() if key in handled] == []
    assert all("answered" in told for told in outcomes.seen.values()), outcomes.seen
    with molva_serve(*flags(tiny_dir), home=tmp_path) as process, door(process) as again:
        for job_id in outcomes.jobs:
            assert again.wait_for_job(job_id)["status"] == "done"
