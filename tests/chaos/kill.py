"""Kills a server at random moments while jobs come in, run and are told to webhooks, and looks at what is left.

    python -m tests.chaos.kill --times 50

The real server, the real small model, `kill -9`. Exits with 1 and says what was lost where anything was.
"""

import argparse
import json
import random
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import numpy as np

from molva.samples import SAMPLE_RATE
from tests.conftest import TINY, read_flac
from tests.http.conftest import wav

LONG = TINY / "unseen" / "long.flac"
KINDS = 4
"""Different recordings that are submitted."""
SUBMITTERS = 3
FLAGS = ("--job-lease-secs", "1", "--job-attempts", "20", "--webhook-first-wait-secs", "0.2")


@dataclass
class Receiver:
    """Takes webhooks, and fails one in three in one of several ways."""

    url: str = ""
    told: dict[str, set[bytes]] = field(default_factory=lambda: defaultdict(set))
    """Contents by webhook id."""
    taken: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """Webhook ids that were answered with 200, by job."""


@contextmanager
def receiving(dice: random.Random) -> Iterator[Receiver]:
    receiver, lock = Receiver(), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            event = json.loads(body)
            with lock:
                receiver.told[self.headers["webhook-id"]].add(body)
                trouble = dice.choice(["", "", "", "", "error", "closed"])
            if trouble == "closed":
                self.close_connection = True
                return
            self.send_response(500 if trouble else 200)
            self.send_header("content-length", "0")
            self.end_headers()
            if not trouble and "id" in event:
                with lock:
                    receiver.taken[event["id"]].append(self.headers["webhook-id"])

        def log_message(self, *_arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        receiver.url = f"http://127.0.0.1:{server.server_port}/hook"
        yield receiver
        server.shutdown()


@dataclass
class Molva:
    """A server that can be killed and started again at the same port and folder."""

    model_dir: Path
    home: Path
    port: int
    popen: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [sys.executable, "-m", "molva", "serve", "--port", str(self.port), "--model", "gigaam-v3-rnnt"]
        command += ["--model-dir", str(self.model_dir), "--data-dir", str(self.home), "--precision", "fp32", *FLAGS]
        command += ["--allow-network", "127.0.0.0/8"]
        with (self.home / "server.log").open("ab") as log:
            self.popen = subprocess.Popen(command, stdout=log, stderr=log)

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + 180  # a busy machine is no failure
        while True:
            try:
                if httpx2.get(f"{self.url}/ready", trust_env=False).status_code == 200:
                    return
            except httpx2.TransportError:
                pass
            assert self.popen is not None
            if self.popen.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"the server did not start:\n{(self.home / 'server.log').read_text()[-2000:]}")
            time.sleep(0.05)

    def kill(self) -> None:
        assert self.popen is not None
        self.popen.kill()
        self.popen.wait()

    def stop(self) -> int:
        assert self.popen is not None
        self.popen.terminate()
        return self.popen.wait(30)


def recordings() -> list[bytes]:
    """Some seconds to two minutes of real speech."""
    speech = read_flac(LONG)
    return [wav(np.roll(speech, SAMPLE_RATE * 7 * kind)[: SAMPLE_RATE * 20 * (2 * kind + 1)]) for kind in range(KINDS)]


@dataclass
class Submitter:
    """A client that goes on until it is told to stop, and repeats what was not answered."""

    url: str
    hook: str
    audio: list[bytes]
    seed: int
    jobs: dict[str, int] = field(default_factory=dict)
    """What was accepted: the job, and which recording it is."""
    problems: list[str] = field(default_factory=list)

    def run(self, stop: threading.Event) -> None:
        dice = random.Random(self.seed)
        while not stop.is_set():
            kind, key = dice.randrange(KINDS), str(uuid.UUID(int=dice.getrandbits(128)))
            answers = set()
            for _ in range(dice.choice([1, 1, 2])):  # some submit twice although they were answered
                answer = self._submit(kind, key)
                answers.add(answer.json().get("job_id") if answer.status_code == 202 else answer.text)
            if len(answers) != 1:
                self.problems.append(f"one key, several answers: {answers}")
            self.jobs[answers.pop()] = kind
            stop.wait(dice.uniform(0.1, 0.8))

    def _submit(self, kind: int, key: str) -> httpx2.Response:
        """Until there is an answer: the server comes back."""
        while True:
            try:
                answer = httpx2.post(
                    f"{self.url}/jobs",
                    files={"audio": ("speech.wav", self.audio[kind])},
                    data={"webhook_url": self.hook},
                    headers={"idempotency-key": key},
                    timeout=20,
                    trust_env=False,
                )
            except httpx2.TransportError:
                time.sleep(0.1)
                continue
            if answer.status_code != 503:
                return answer
            time.sleep(0.1)


def segments_of(client: httpx2.Client, job_id: str, timeout_s: float = 300) -> tuple[str, Any]:
    """The job's end: its status and segments."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        answer = client.get(f"/jobs/{job_id}")
        if answer.status_code != 200:
            return f"HTTP {answer.status_code}", None
        job = answer.json()
        if job["status"] in ("done", "failed", "cancelled"):
            return job["status"], job["segments"]
        time.sleep(0.1)
    return "never ended", None


def torment(model_dir: Path, times: int, seed: int) -> list[str]:
    """Everything that was lost, doubled or changed. Prints how it goes."""
    dice, audio = random.Random(seed), recordings()
    problems: list[str] = []
    with tempfile.TemporaryDirectory() as folder, receiving(random.Random(seed + 1)) as receiver:
        server = Molva(model_dir, Path(folder), free_port())
        server.start()
        server.wait_until_ready()
        with httpx2.Client(base_url=server.url, trust_env=False, timeout=30) as client:
            undisturbed = []
            for data in audio:
                job_id = client.post("/jobs", files={"audio": ("speech.wav", data)}).json()["job_id"]
                undisturbed.append(segments_of(client, job_id))
            stop = threading.Event()
            clients = [Submitter(server.url, receiver.url, audio, seed + i) for i in range(SUBMITTERS)]
            threads = [threading.Thread(target=each.run, args=(stop,)) for each in clients]
            for thread in threads:
                thread.start()
            for number in range(times):
                if dice.random() < 0.7:  # else while it starts: the model takes a second or two to load
                    server.wait_until_ready()
                time.sleep(dice.uniform(0.0, 3.0))
                server.kill()
                server.start()
                print(f"killed {number + 1} times, {sum(len(each.jobs) for each in clients)} jobs accepted", flush=True)
            server.wait_until_ready()
            stop.set()
            for thread in threads:
                thread.join()
            accepted = {job_id: kind for each in clients for job_id, kind in each.jobs.items()}
            problems += [problem for each in clients for problem in each.problems]
            for job_id, kind in accepted.items():
                ended = segments_of(client, job_id)
                if ended != undisturbed[kind]:
                    problems.append(f"job {job_id} of recording {kind} ended otherwise than undisturbed: {ended[0]}")
            problems += wait_for_webhooks(receiver, accepted)
        status = server.stop()
        problems += [f"the server ended with {status}"] if status else []
        problems += left_over(Path(folder))
        told = sum(len(ids) for ids in receiver.taken.values())
        print(f"{times} kills, {len(accepted)} jobs accepted, {told} webhooks taken, {len(problems)} problems")
    return problems


def wait_for_webhooks(receiver: Receiver, accepted: dict[str, int]) -> list[str]:
    deadline = time.monotonic() + 120
    while not accepted.keys() <= receiver.taken.keys() and time.monotonic() < deadline:
        time.sleep(0.1)
    problems = [f"nobody was told of job {job_id}" for job_id in accepted.keys() - receiver.taken.keys()]
    problems += [f"job {job} was told under several ids" for job, ids in receiver.taken.items() if len(set(ids)) > 1]
    problems += [f"{key} came with several contents" for key, bodies in receiver.told.items() if len(bodies) > 1]
    return problems


def left_over(folder: Path) -> list[str]:
    """What should not be on the disk any more."""
    problems = [f"an upload is left: {path}" for path in (folder / "spool").rglob("*") if path.name != ".lock"]
    with sqlite3.connect(folder / "molva.db") as connection:
        known = {job_id for (job_id,) in connection.execute("SELECT id FROM jobs")}
        # Those that a kill has kept from becoming a job go ten minutes later.
        problems += [f"a recording is left: {path.name}" for path in (folder / "jobs").iterdir() if path.name in known]
        [integrity] = connection.execute("PRAGMA integrity_check").fetchone()
        problems += [] if integrity == "ok" else [f"the database: {integrity}"]
        [unfinished] = connection.execute("SELECT count(*) FROM jobs WHERE status IN ('queued', 'running')").fetchone()
        problems += [f"{unfinished} jobs never ended"] if unfinished else []
    connection.close()
    return problems


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=50, help="how often to kill the server")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the moments and of what is submitted")
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}")
    problems = torment(TINY, arguments.times, arguments.seed)
    for problem in problems:
        print(problem)
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
