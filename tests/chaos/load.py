"""Clients of all kinds that go on through every fault, and keep account of how each thing they asked for has ended."""

import json
import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol

import httpx2
import numpy as np
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from molva.samples import SAMPLE_RATE, Samples
from tests.chaos.server import DIRECT
from tests.conftest import TINY, read_flac
from tests.http.conftest import wav
from tests.http.openai.realtime import COMPLETED, FAILED, pcm24
from tests.http.openai.realtime import connected as connected_realtime
from tests.http.wsclient import Client, connected

LOST_AFTER_S = 120.0
"""What has not been answered for so long is lost."""
PACE = 8
"""How much faster than real time the live client speaks."""
FRAME_S = 0.1
CLOSED_WITHIN_S = 0.5
PAUSE_S = 0.1
"""Between two things that a client asks for, and before it asks again where nobody answered."""

LENGTHS_S = {
    "request": (4, 12),
    "sse": (6, 30),
    "openai": (5, 10),
    "live": (9, 15),
    "realtime": (7, 11),
    "job": (20, 60),
}
"""Of the recordings of each door."""


class End(StrEnum):
    """How something that was asked for has ended."""

    DONE = "done"
    """With the result that an undisturbed server gives."""
    TOLD = "told"
    """Refused or failed, with a code."""
    CUT = "cut"
    """The connection went without a word: the client knows, and tries again."""
    LOST = "lost"
    """No answer, a wrong one, or a failure without a code."""


@dataclass(frozen=True)
class Account:
    """Of one thing that was asked for."""

    door: str
    end: End
    detail: str = ""
    request_id: str = ""
    """Under which the server's log has it, where it was let in."""


class Address(Protocol):
    """Where the server is."""

    @property
    def url(self) -> str: ...

    @property
    def ws_url(self) -> str: ...


@cache
def samples_of(door: str, number: int) -> Samples:
    """Real speech, another piece of it for each door and number."""
    speech = read_flac(TINY / "unseen" / "long.flac")
    length_s = LENGTHS_S[door][number]
    return np.roll(speech, -SAMPLE_RATE * 17 * number)[: SAMPLE_RATE * length_s]


@cache
def recording(door: str, number: int) -> bytes:
    """The same as a WAV file."""
    return wav(samples_of(door, number))


def code_of(answer: httpx2.Response) -> str | None:
    """The stable code of a refusal, in any door's words: OpenAI has codes for few errors, and a type for each."""
    try:
        body = answer.json()
    except ValueError:
        return None
    if not isinstance(body, dict):
        return None
    problem = body.get("error")
    code = problem.get("code") or problem.get("type") if isinstance(problem, dict) else body.get("code")
    return code if isinstance(code, str) else None


def ask(server: Address, number: int) -> tuple[Account, str]:
    """Have a recording transcribed by one request; the account of it and the text."""
    return _post(server, "request", "/v1/transcribe", content=recording("request", number))


def ask_openai(server: Address, number: int) -> tuple[Account, str]:
    """The same through the door in OpenAI's shape."""
    form = {"files": {"file": ("speech.wav", recording("openai", number))}, "data": {"model": "whisper-1"}}
    return _post(server, "openai", "/v1/audio/transcriptions", **form)


def _post(server: Address, door: str, path: str, **sent: Any) -> tuple[Account, str]:
    request_id = str(uuid.uuid4())
    headers = {"x-request-id": request_id}
    try:
        answer = httpx2.post(server.url + path, headers=headers, timeout=LOST_AFTER_S, **DIRECT, **sent)
    except httpx2.TimeoutException:
        return Account(door, End.LOST, f"no answer in {LOST_AFTER_S:.0f} s"), ""
    except httpx2.TransportError as error:
        return Account(door, End.CUT, type(error).__name__, request_id), ""
    if answer.status_code == 200:
        return Account(door, End.DONE), str(answer.json()["text"])
    return _refused(door, answer), ""


def _refused(door: str, answer: httpx2.Response) -> Account:
    code = code_of(answer)
    return Account(door, End.LOST if code is None else End.TOLD, code or answer.text[:200])


def read_events(server: Address, number: int) -> tuple[Account, str]:
    """Have a recording transcribed as a stream of events; the account of it and the text of all finals."""
    finals: list[str] = []
    url, content = f"{server.url}/v1/transcribe/stream", recording("sse", number)
    request_id = str(uuid.uuid4())
    headers = {"x-request-id": request_id}
    try:
        with httpx2.stream("POST", url, content=content, headers=headers, timeout=LOST_AFTER_S, **DIRECT) as answer:
            if answer.status_code != 200:
                answer.read()
                return _refused("sse", answer), ""
            for line in answer.iter_lines():
                if line.startswith("data: "):
                    event = json.loads(line.removeprefix("data: "))
                    if event["type"] == "error":
                        return Account("sse", End.TOLD, event["code"]), ""
                    finals.append(event["text"])
    except httpx2.TimeoutException:
        return Account("sse", End.LOST, f"no event in {LOST_AFTER_S:.0f} s"), ""
    except httpx2.TransportError as error:
        return Account("sse", End.CUT, type(error).__name__, request_id), ""
    return Account("sse", End.DONE), " ".join(filter(None, finals))


def speak(server: Address, number: int) -> tuple[Account, str]:
    """Say a recording in a live session; the account of it and the text of all finals."""
    finals: list[str] = []
    request_id = str(uuid.uuid4())
    try:
        with connected(server, additional_headers={"x-request-id": request_id}) as client:
            first = client.read()
            if first["type"] != "ready":
                return Account("live", End.TOLD if "code" in first else End.LOST, str(first)), ""
            client.send(type="configure", sample_rate=SAMPLE_RATE)
            samples, frame = samples_of("live", number), int(FRAME_S * SAMPLE_RATE)
            told = threading.Thread(target=_listen, args=(client, finals), daemon=True)
            told.start()
            try:
                for start in range(0, len(samples), frame):
                    client.say(samples[start : start + frame])
                    time.sleep(FRAME_S / PACE)
                client.send(type="stop")
            except ConnectionClosed:
                pass  # what the server has said of it is read to the end all the same
            told.join(LOST_AFTER_S)
            if told.is_alive():
                return Account("live", End.LOST, f"no end in {LOST_AFTER_S:.0f} s after stop"), ""
            return _account_of_session(client, finals, request_id), " ".join(filter(None, finals))
    except (TimeoutError, AssertionError) as error:
        return Account("live", End.LOST, f"no session: {error!r}"), ""
    except InvalidStatus as error:
        return Account("live", End.TOLD, str(error)), ""
    except (InvalidHandshake, ConnectionClosed, OSError, EOFError) as error:
        if isinstance(error, ConnectionClosed) and error.rcvd is not None:
            return Account("live", End.TOLD, str(error.rcvd)), ""
        return Account("live", End.CUT, repr(error), request_id), ""


def _listen(client: Client, finals: list[str]) -> None:
    """Take the text of finals, and `error CODE` for errors, until the connection ends."""
    while True:
        try:
            message = json.loads(client.connection.recv())
        except ConnectionClosed:
            return
        if message["type"] == "final":
            finals.append(message["text"])
        elif message["type"] == "error":
            finals.append(f"error {message['code']}")


def _account_of_session(client: Client, finals: list[str], request_id: str) -> Account:
    code, reason = client.ended
    errors = [text for text in finals if text.startswith("error ")]
    if errors:
        return Account("live", End.TOLD, errors[0])
    if code == 1006:
        return Account("live", End.CUT, "no Close", request_id)
    return Account("live", End.DONE) if code == 1000 else Account("live", End.TOLD, f"{code} {reason}")


def dictate(server: Address, number: int) -> tuple[Account, str]:
    """Say a recording in a realtime session and commit it; the account of it and the transcript."""
    data = pcm24(samples_of("realtime", number))
    frame = int(FRAME_S * 24_000) * 2
    try:
        with connected_realtime(server) as client:
            client.send(
                "session.update",
                session={"type": "transcription", "audio": {"input": {"turn_detection": None}}},
            )
            for _ in ("session.created", "session.updated"):
                if (event := client.read(LOST_AFTER_S))["type"] == "error":
                    return Account("realtime", End.TOLD, str(event["error"])), ""
            for start in range(0, len(data), frame):
                client.append(data[start : start + frame])
                time.sleep(FRAME_S / PACE)
            client.send("input_audio_buffer.commit")
            while True:
                event = client.read(LOST_AFTER_S)
                if event["type"] == COMPLETED:
                    with suppress(TimeoutError):  # a server that drains has committed by itself, and closes
                        client.read(CLOSED_WITHIN_S)
                    return Account("realtime", End.DONE), event["transcript"]
                if event["type"] in (FAILED, "error"):
                    return Account("realtime", End.TOLD, event["error"]["code"] or event["error"]["type"]), ""
    except (TimeoutError, AssertionError) as error:
        return Account("realtime", End.LOST, repr(error)), ""
    except InvalidHandshake as error:
        return Account("realtime", End.TOLD, str(error)), ""
    except ConnectionClosed as error:
        told = error.rcvd is not None  # a Close, which has its reason
        return Account("realtime", End.TOLD if told else End.CUT, str(error)), ""
    except (OSError, EOFError) as error:
        return Account("realtime", End.CUT, repr(error)), ""


DOORS: dict[str, Callable[[Address, int], tuple[Account, str]]] = {
    "request": ask,
    "sse": read_events,
    "openai": ask_openai,
    "live": speak,
    "realtime": dictate,
}
"""What clients do again and again, but for jobs."""


@dataclass
class Receiver:
    """Takes webhooks, and fails one in three in one of several ways."""

    url: str = ""
    told: dict[str, set[bytes]] = field(default_factory=dict)
    """Contents by webhook id."""
    taken: dict[str, list[str]] = field(default_factory=dict)
    """Webhook ids that were answered with 200, by job."""

    def problems(self, jobs: set[str]) -> list[str]:
        """What is wrong with what was told of these jobs, once there was time for it."""
        problems = [f"nobody was told of job {job_id}" for job_id in jobs - self.taken.keys()]
        problems += [f"job {job} was told under several ids" for job, ids in self.taken.items() if len(set(ids)) > 1]
        return problems + [f"{key} came with several contents" for key, bodies in self.told.items() if len(bodies) > 1]


@contextmanager
def receiving(dice: random.Random) -> Iterator[Receiver]:
    """A receiver that listens while the context lasts."""
    receiver, lock = Receiver(), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            event, key = json.loads(body), self.headers["webhook-id"]
            with lock:
                receiver.told.setdefault(key, set()).add(body)
                trouble = dice.choice(["", "", "", "", "error", "closed"])
            if trouble == "closed":
                self.close_connection = True
                return
            self.send_response(500 if trouble else 200)
            self.send_header("content-length", "0")
            self.end_headers()
            if not trouble and "id" in event:
                with lock:
                    receiver.taken.setdefault(event["id"], []).append(key)

        def log_message(self, *_arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        receiver.url = f"http://127.0.0.1:{server.server_port}/hook"
        yield receiver
        server.shutdown()


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
                lambda: self.submitter.once(self._stop),
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
