"""What the doors add to the engine: requests of 5 s to `molva serve` beside the same in the engine's own process."""

import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

from bench.clips import Clip
from bench.peers.adapters import MOLVA_MODEL
from bench.peers.competitors import LIBRARY, MOLVA
from bench.peers.process import Timing, Worker
from bench.process import Server, running_server
from bench.spread import ratios, spread
from bench.targets import Target

TIMEOUT_S = 120.0

MAX_SHARE = 0.02
"""Of the HTTP layer's processor time in the engine's."""


@dataclass(frozen=True)
class Plan:
    """What to run."""

    requests: int
    clients: Sequence[int]
    """How many send at once."""
    seconds: float
    """Of each number of clients."""
    cores: Sequence[int]


@dataclass
class Doors:
    """Of one request, unless said otherwise."""

    engine: list[Timing] = field(default_factory=list)
    library: list[Timing] = field(default_factory=list)
    door_wall_s: list[float] = field(default_factory=list)
    server_cpu_s: float = 0.0
    loop_cpu_s: float = 0.0
    """Of it, in the event loop's thread: everything but decoding, voice activity and the engine."""
    peak_mb: float = 0.0
    requests_per_s: dict[int, float] = field(default_factory=dict)
    """By the number of clients that send at once."""

    @property
    def engine_cpu_s(self) -> float:
        return spread([timing.cpu_s for timing in self.engine]).median

    @property
    def share(self) -> float:
        """The HTTP layer's processor time over the engine's."""
        return self.loop_cpu_s / self.engine_cpu_s


def measure(models: Path, clip: Clip, plan: Plan) -> Doors:
    """Send a request, then do the same without a server, in turns."""
    doors = Doors()
    body = clip.path.read_bytes()
    flags = ["--model", MOLVA_MODEL, "--model-dir", str(models / MOLVA.folder)]
    flags += ["--workers", str(len(plan.cores)), "--log-level", "warning"]
    with (
        Worker(MOLVA, models, plan.cores) as engine,
        Worker(LIBRARY, models, plan.cores) as library,
        running_server(flags) as server,
        httpx2.Client(base_url=server.http_url, timeout=TIMEOUT_S, trust_env=False) as client,
    ):
        for worker in (engine, library):
            worker.recognize(clip.path)
        for _ in range(3):
            _post(client, body)
        print(f"    {plan.requests} requests", file=sys.stderr, flush=True)
        before = server.usage()
        for _ in range(plan.requests):
            doors.door_wall_s.append(_post(client, body))
            doors.library.append(library.recognize(clip.path))
            doors.engine.append(engine.recognize(clip.path))
        after = server.usage()
        doors.server_cpu_s = (after.process_s - before.process_s) / plan.requests
        doors.loop_cpu_s = (after.loop_s - before.loop_s) / plan.requests
        for n_clients in plan.clients:
            print(f"    {n_clients} clients", file=sys.stderr, flush=True)
            doors.requests_per_s[n_clients] = _load(server, body, n_clients, plan.seconds)
        doors.peak_mb = server.peak_mb()
    return doors


def _post(client: httpx2.Client, body: bytes) -> float:
    """Seconds until the answer is there."""
    began = time.perf_counter()
    client.post("/v1/transcribe", content=body, headers={"Content-Type": "audio/wav"}).raise_for_status()
    return time.perf_counter() - began


def _load(server: Server, body: bytes, n_clients: int, duration_s: float) -> float:
    """Requests per second of so many clients that send one after the other."""
    counts = [0] * n_clients
    began = time.perf_counter()

    def send(number: int) -> None:
        with httpx2.Client(base_url=server.http_url, timeout=TIMEOUT_S, trust_env=False) as client:
            while time.perf_counter() - began < duration_s:
                _post(client, body)
                counts[number] += 1

    threads = [threading.Thread(target=send, args=(number,)) for number in range(n_clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - began)


def table(doors: Doors) -> list[str]:
    """As lines of Markdown."""
    engine, library = ([timing.wall_s for timing in timings] for timings in (doors.engine, doors.library))
    library_cpu_s = spread([timing.cpu_s for timing in doors.library]).median
    rows = (
        ("engine", engine, doors.engine_cpu_s),
        ("molva.Transcriber", library, library_cpu_s),
        ("POST /v1/transcribe", doors.door_wall_s, doors.server_cpu_s),
    )
    lines = ["| one request | latency, ms | over the engine | CPU, ms |", "|---|---|---|---|"]
    lines += [
        f"| {name} | {spread(wall_s).show(0, 1000)} | {ratios(wall_s, engine).median:.2f}× | {cpu_s * 1000:.0f} |"
        for name, wall_s, cpu_s in rows
    ]
    lines.append(f"| of it, the HTTP layer | | | {doors.loop_cpu_s * 1000:.1f} ({doors.share:.1%} of the engine) |")
    lines += ["", f"Peak of the server: {doors.peak_mb:.0f} MB.", "", "| clients | requests per second |", "|---|---|"]
    lines += [f"| {n_clients} | {rate:.2f} |" for n_clients, rate in doors.requests_per_s.items()]
    return lines


def targets(doors: Doors) -> list[Target]:
    """What molva promises of the HTTP layer."""
    return [Target("CPU, HTTP layer / engine", doors.share * 100, "at most", MAX_SHARE * 100, " %")]
