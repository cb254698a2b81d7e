"""Far more than there is room for: all are told, and memory has a bound."""

import contextlib
import json
import re
import select
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import httpx2

from molva.keys import KeyFile, Quota
from tests.chaos.clients import End, code_of, recording, speak
from tests.chaos.faults.network import connect, everything, get
from tests.chaos.scene import Fault, Scene
from tests.chaos.server import DIRECT, Server

REQUESTS, SESSIONS, SUBMISSIONS = 120, 40, 40
CONNECTIONS = 300
KEYS = 100
SUBSCRIBERS = 100
MORE_MIB = 250
"""How much the peak may be above what the server took before."""
GREEDY = (
    ("/v1/transcribe", ""),
    ("/v1/audio/transcriptions", "file"),
    ("/jobs", "audio"),
    ("/v1/transcribe/stream", ""),
)
"""Doors for uploads, and the field of their forms that the file is in."""
LIMIT_MIB = 3
TOO_MUCH_MIB = 50
"""What is sent to a server that takes 3 MiB, unless it says before that it is enough."""


def memory_mib(server: Server, kind: str) -> float:
    """VmRSS, what is resident now; VmHWM, the peak since `clear_refs` was told 5."""
    found = re.search(rf"{kind}:\s+(\d+) kB", Path(f"/proc/{server.pid}/status").read_text())
    assert found is not None
    return int(found.group(1)) / 1024


@contextlib.contextmanager
def bounded_memory(scene: Scene, server: Server) -> Iterator[None]:
    """Note it where the peak of resident memory goes too far above what it was."""
    Path(f"/proc/{server.pid}/clear_refs").write_text("5")
    before = memory_mib(server, "VmRSS")
    yield
    peak = memory_mib(server, "VmHWM")
    scene.figures |= {"before_mib": round(before), "peak_mib": round(peak)}
    scene.expect(peak - before < MORE_MIB, f"memory went from {before:.0f} to {peak:.0f} MiB")


def at_once(n: int, act: Callable[[int], Any]) -> list[Any]:
    """What comes of calls that all begin together."""
    start = threading.Barrier(n)

    def begin(number: int) -> Any:
        start.wait()
        return act(number)

    with ThreadPoolExecutor(n) as pool:
        return list(pool.map(begin, range(n)))


def refused_well(answer: httpx2.Response, codes: Sequence[str]) -> str:
    """What is wrong with a refusal that a client is to come back after; empty for nothing."""
    if code_of(answer) not in codes:
        return f"refused with {answer.status_code} {answer.text[:200]}"
    return "" if answer.headers.get("retry-after", "").isdigit() else f"no Retry-After with {code_of(answer)}"


def crowd(scene: Scene) -> None:
    """Requests, sessions and jobs together."""
    with bounded_memory(scene, scene.server):

        def one(number: int) -> str:
            if number < REQUESTS:
                audio = recording("request", 0)
                answer = httpx2.post(f"{scene.server.url}/v1/transcribe", content=audio, timeout=120, **DIRECT)
                return "" if answer.status_code == 200 else refused_well(answer, ["timeout"]) or "refused"
            if number < REQUESTS + SESSIONS:
                account, _ = speak(scene.server, 0)
                if account.end == End.TOLD:
                    return (
                        "refused"
                        if "timeout" in account.detail and "retry_after_ms" in account.detail
                        else account.detail
                    )
                return "" if account.end == End.DONE else f"session: {account.end} {account.detail}"
            return submit(scene)

        ends = Counter(at_once(REQUESTS + SESSIONS + SUBMISSIONS, one))
    scene.struck += sum(ends.values())
    scene.expect(ends[""] > 0, "nobody was served")
    scene.expect(ends["refused"] > 0, "nobody was refused: there was room for all")
    scene.notes += [f"{n} times: {what}" for what, n in ends.items() if what not in ("", "refused")]


def submit(scene: Scene) -> str:
    """A job, whose end is looked at with those of the load."""
    answer = httpx2.post(
        f"{scene.server.url}/jobs",
        files={"audio": ("speech.wav", recording("job", 0))},
        data={"webhook_url": scene.receiver.url},
        timeout=120,
        **DIRECT,
    )
    if answer.status_code == 202:
        scene.load.submitter.jobs[answer.json()["job_id"]] = 0
        return ""
    return refused_well(answer, [])


def connections(scene: Scene) -> None:
    """Most of them do nothing; those that work go on, newcomers are told."""
    said: Counter[bytes] = Counter()
    with bounded_memory(scene, scene.server), ExitStack() as stack:
        idle = []
        for number in range(CONNECTIONS):
            with contextlib.suppress(OSError):  # not even heard
                connection = stack.enter_context(closing(connect(scene.server)))
                if number % 10:
                    idle.append(connection)
                else:
                    connection.sendall(get("/v1/models").replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
                    said[everything(connection).partition(b"\r\n")[0]] += 1
            scene.struck += 1
        gone = sum(_is_over(connection) for connection in idle)
    scene.expect(gone > len(idle) // 2, f"only {gone} of {len(idle)} idle connections have made room")
    unknown = said.keys() - {b"HTTP/1.1 200 OK", b"HTTP/1.1 503 Service Unavailable", b""}
    scene.expect(not unknown, f"they were told {unknown}")
    scene.expect(said[b"HTTP/1.1 200 OK"] > 0, f"no newcomer was served: {said}")


def _is_over(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def bodies(scene: Scene) -> None:
    """With a length that says so, and in chunks without end."""

    def one(number: int) -> str:
        path, field = GREEDY[number % len(GREEDY)]
        is_told = number % 3 == 0 or path == "/jobs"  # where only the disk is a limit
        length = "Content-Length: 1000000000000" if is_told else "Transfer-Encoding: chunked"
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{length}\r\n"
        head += "Content-Type: multipart/form-data; boundary=x\r\n\r\n"
        part = f'--x\r\nContent-Disposition: form-data; name="{field}"; filename="a.wav"\r\n\r\n' if field else ""
        blocks = chain([part.encode()] if part else [], repeat(bytes(2**20), TOO_MUCH_MIB))
        with closing(connect(scene.server)) as connection:
            connection.sendall(head.encode())
            with contextlib.suppress(OSError):  # enough is enough
                for block in blocks:
                    if select.select([connection], [], [], 0)[0]:
                        break
                    chunked = b"%x\r\n%s\r\n" % (len(block), block)
                    connection.sendall(block if is_told else chunked)
                else:
                    return f"{path}: all was read"
            said = answer_to(connection)
        if not said:
            return "cut"  # a reset for what it sends has overtaken the answer
        status = b"HTTP/1.1 507" if path == "/jobs" else b"HTTP/1.1 413"
        return "" if said.startswith(status) and b'"error"' in said else f"{path}: {said[:300]!r}"

    with bounded_memory(scene, scene.server):
        ends = Counter(at_once(24, one))
    scene.struck += sum(ends.values())
    scene.expect(ends[""] > ends["cut"], f"few were told: {dict(ends)}")
    scene.notes += [f"{n} times: {what}" for what, n in ends.items() if what not in ("", "cut")]


def answer_to(connection: socket.socket) -> bytes:
    """Head and body of an answer, as far as they come."""
    said = b""
    with contextlib.suppress(OSError):
        while not said.endswith(b"}") and (data := connection.recv(65536)):
            said += data
    return said


def keys(scene: Scene) -> None:
    """Each may do one thing at a time and does two, at a server of their own."""
    server = Server(scene.server.home / "keyed", scene.server.model_dir, ("--no-jobs", "--pool-size", "4"))
    server.data.mkdir(parents=True)
    file = KeyFile(server.data / "keys.json")
    presented = [file.create(f"key{number}", Quota(concurrent=1)) for number in range(KEYS)]
    server.start()
    try:
        server.wait_until_ready()
        asked: Mapping[str, Any] = {"content": recording("request", 0), "timeout": 120, **DIRECT}

        def one(number: int) -> str:
            headers = {"authorization": f"Bearer {presented[number // 2]}"}
            answer = httpx2.post(f"{server.url}/v1/transcribe", headers=headers, **asked)
            if answer.status_code == 200:
                return ""
            return refused_well(answer, ["quota_exceeded", "timeout"]) or str(code_of(answer))

        with bounded_memory(scene, server):
            ends = Counter(at_once(2 * KEYS, one))
        scene.struck += KEYS
        for name in range(0, KEYS, 2):
            file.revoke(f"key{name}")
        time.sleep(1)
        for number in range(0, 2 * KEYS, 2):
            if (number // 2) % 2 == 0:
                headers = {"authorization": f"Bearer {presented[number // 2]}"}
                answer = httpx2.get(f"{server.url}/v1/models", headers=headers, **DIRECT)
                scene.expect(answer.status_code == 401, f"a revoked key got {answer.status_code}")
    finally:
        status = server.stop()
    scene.expect(status == 0, f"the server with keys ended with {status}")
    scene.expect(ends[""] >= KEYS // 4, f"only {ends['']} were served")
    scene.expect(ends["quota_exceeded"] > 0, "no quota was used up")
    scene.notes += [f"{n} times: {what}" for what, n in ends.items() if what not in ("", "quota_exceeded", "timeout")]


def subscribers(scene: Scene) -> None:
    """All of them watch one job, and half of them leave."""
    answer = httpx2.post(
        f"{scene.server.url}/jobs",
        files={"audio": ("speech.wav", recording("job", 1))},
        data={"webhook_url": scene.receiver.url},
        **DIRECT,
    )
    job = answer.json()["job_id"]
    scene.load.submitter.jobs[job] = 1

    def one(number: int) -> str:
        with httpx2.stream("GET", f"{scene.server.url}/jobs/{job}/stream", timeout=120, **DIRECT) as events:
            if number % 2:
                next(events.iter_lines(), "")
                return "left"
            lines = [line for line in events.iter_lines() if line.startswith("data: ")]
        return str(json.loads(lines[-1].removeprefix("data: "))["type"])

    with bounded_memory(scene, scene.server):
        ends = Counter(at_once(SUBSCRIBERS, one))
    scene.struck += SUBSCRIBERS
    scene.expect(ends == {"done": SUBSCRIBERS // 2, "left": SUBSCRIBERS // 2}, f"they were told {dict(ends)}")


FLOODS = (
    Fault(
        "a crowd",
        f"{REQUESTS} requests, {SESSIONS} sessions and {SUBMISSIONS} jobs at once for 3 places and 8 who wait",
        crowd,
        flags=("--pool-size", "3", "--max-waiting", "8", "--pool-checkout-timeout-secs", "10"),
    ),
    Fault(
        "connections",
        f"{CONNECTIONS} connections where 40 may be",
        connections,
        flags=("--max-connections", "40"),
    ),
    Fault(
        "large bodies",
        f"24 uploads over {LIMIT_MIB} MiB at once, told beforehand and endless",
        bodies,
        flags=("--body-limit-bytes", str(LIMIT_MIB * 2**20), "--upload-limit-bytes", str(LIMIT_MIB * 2**20)),
    ),
    Fault("a hundred keys", "each asks twice at once and may once; half of them are revoked", keys),
    Fault("subscribers", f"{SUBSCRIBERS} who watch one job, half of whom leave", subscribers),
)
