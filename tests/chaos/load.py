"""Clients that go on through every fault, each in a thread of its own."""

import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx2

from tests.chaos.clients import DOORS, LENGTHS_S, LOST_AFTER_S, PAUSE_S, Account, Address, End, code_of, recording
from tests.chaos.server import DIRECT

BETWEEN_JOBS_S = 0.5
"""Recordings of jobs are long: handed over as fast as all else, they would take a minute when the load is over."""


@dataclass
class Expected:
    """What an undisturbed server says."""

    texts: dict[tuple[str, int], str] = field(default_factory=dict)
    segments: dict[int, Any] = field(default_factory=dict)
    """Of jobs, by the number of their recording."""

    def judge(self, account: Account, number: int, text: str) -> Account:
        """A result that is another than the undisturbed one is a loss."""
        right = self.texts[account.door, number]
        if account.end == End.DONE and text != right:
            return Account(account.door, End.LOST, f"heard {text!r} instead of {right!r}")
        return account


@dataclass
class Submitter:
    """Submits jobs, some of them twice, repeats what was not answered, and looks what became of them in the end."""

    server: Address
    hook: str
    dice: random.Random
    jobs: dict[str, int] = field(default_factory=dict)
    """What was accepted: the job, and which recording it is."""
    accounts: list[Account] = field(default_factory=list)

    def once(self, stop: threading.Event) -> None:
        """Submit one recording."""
        number, key = self.dice.randrange(2), str(uuid.UUID(int=self.dice.getrandbits(128)))
        found = set()
        for _ in range(self.dice.choice([1, 1, 2])):  # some submit twice although they were answered
            answer = self._submit(number, key, stop)
            if answer is None:
                continue
            if answer.status_code == 202:
                found.add(str(answer.json()["job_id"]))
            else:
                code = code_of(answer)
                end = End.LOST if code is None else End.TOLD
                self.accounts.append(Account("job", end, code or answer.text[:200]))
        if len(found) > 1:
            self.accounts.append(Account("job", End.LOST, f"one key, several jobs: {found}"))
        self.jobs.update(dict.fromkeys(found, number))

    def _submit(self, number: int, key: str, stop: threading.Event) -> httpx2.Response | None:
        """The answer; None where it was not accepted and the time is over."""
        deadline = time.monotonic() + LOST_AFTER_S
        while True:
            try:
                answer = httpx2.post(
                    f"{self.server.url}/jobs",
                    files={"audio": ("speech.wav", recording("job", number))},
                    data={"webhook_url": self.hook},
                    headers={"idempotency-key": key},
                    timeout=20,
                    **DIRECT,
                )
            except httpx2.TransportError as error:
                if time.monotonic() > deadline:
                    # Where nobody listens, nothing was accepted; that a server comes back is looked at elsewhere.
                    end = End.CUT if isinstance(error, httpx2.ConnectError) else End.LOST
                    self.accounts.append(Account("job", end, f"no answer to a submission: {error!r}"))
                    return None
            else:
                if answer.status_code not in (503, 507) or stop.is_set():
                    return answer
            time.sleep(PAUSE_S)

    def collect(self, expected: Expected) -> list[Account]:
        """How every accepted job has ended, waiting for it."""
        with httpx2.Client(base_url=self.server.url, **DIRECT, timeout=30) as client:
            return self.accounts + [
                account_of_job(*result_of(client, job_id), expected.segments[number], job_id)
                for job_id, number in self.jobs.items()
            ]


def result_of(client: httpx2.Client, job_id: str, timeout_s: float = 300) -> tuple[dict[str, Any], str]:
    """The document of a job that has ended, or why there is none."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        answer = client.get(f"/jobs/{job_id}")
        if answer.status_code != 200:
            return {}, f"HTTP {answer.status_code}"
        if answer.json()["status"] in ("done", "failed", "cancelled"):
            return dict(answer.json()), ""
        time.sleep(PAUSE_S)
    return {}, "never ended"


def account_of_job(document: dict[str, Any], problem: str, segments: Any, job_id: str) -> Account:
    """How a job has ended."""
    if problem:
        return Account("job", End.LOST, f"{job_id}: {problem}")
    if document["status"] == "done":
        right = document["segments"] == segments
        return Account("job", End.DONE if right else End.LOST, "" if right else f"{job_id}: other segments than alone")
    reason = document["error"]
    return Account("job", End.TOLD if reason else End.LOST, f"{job_id} {document['status']}: {reason}")


class Load:
    """Clients of all doors in threads of their own, until they are told to stop."""

    def __init__(
        self, server: Address, hook: str, expected: Expected, seed: int, submitter: Submitter | None = None
    ) -> None:
        self.accounts: list[Account] = []
        self.submitter = submitter or Submitter(server, hook, random.Random(seed))
        self._server = server
        self._expected = expected
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._again, args=(once,), daemon=True)
            for once in (
                *(self._client(act, door, seed + 1 + n) for n, (door, act) in enumerate(DOORS.items())),
                self._submit,
            )
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Each client ends what it is at."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def counted(self) -> Counter[End]:
        """What has ended by now, without the jobs."""
        return Counter(account.end for account in list(self.accounts))

    def _client(self, act: Callable[[Address, int], tuple[Account, str]], door: str, seed: int) -> Callable[[], None]:
        dice = random.Random(seed)

        def once() -> None:
            number = dice.randrange(len(LENGTHS_S[door]))
            account, text = act(self._server, number)
            self.accounts.append(self._expected.judge(account, number, text))

        return once

    def _submit(self) -> None:
        self.submitter.once(self._stop)
        self._stop.wait(BETWEEN_JOBS_S)

    def _again(self, once: Callable[[], None]) -> None:
        while not self._stop.is_set():
            once()
            self._stop.wait(PAUSE_S)


def undisturbed(server: Address) -> Expected:
    """What a server says that nobody disturbs. Raises AssertionError where it fails even so."""
    expected = Expected()
    for number in range(2):
        for act in DOORS.values():
            account, text = act(server, number)
            assert account.end == End.DONE, account
            assert text, account
            expected.texts[account.door, number] = text
    with httpx2.Client(base_url=server.url, **DIRECT, timeout=30) as client:
        for number in range(2):
            answer = client.post("/jobs", files={"audio": ("speech.wav", recording("job", number))})
            assert answer.status_code == 202, answer.text
            document, problem = result_of(client, answer.json()["job_id"])
            assert document.get("status") == "done", (problem, document)
            expected.segments[number] = document["segments"]
    return expected
