"""faster-whisper by itself beside molva's OpenAI door over it: `python -m bench --only whisper`."""

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

from bench.clips import Clip
from bench.peers.adapters import WHISPER_MODEL
from bench.peers.competitors import FASTER_WHISPER
from bench.peers.process import Worker
from bench.process import running_server
from bench.spread import ratios, spread

TIMEOUT_S = 300.0


@dataclass
class Overhead:
    """Of one clip."""

    name: str
    direct_s: list[float] = field(default_factory=list)
    door_s: list[float] = field(default_factory=list)
    direct_cpu_s: float = 0.0
    door_cpu_s: float = 0.0
    """Of the whole server."""


def measure(models: Path, clips: Mapping[str, Sequence[Clip]], rounds: int, cores: Sequence[int]) -> list[Overhead]:
    """Recognise each clip directly and through the door, in turns. One worker with all cores each."""
    results = []
    flags = ["--model", WHISPER_MODEL, "--model-dir", str(models / FASTER_WHISPER.folder)]
    flags += ["--workers", "1", "--log-level", "warning"]
    with (
        # First, because it puts the model together.
        Worker(FASTER_WHISPER, models, cores) as direct,
        running_server(flags) as server,
        httpx2.Client(base_url=server.http_url, timeout=TIMEOUT_S, trust_env=False) as client,
    ):
        for name, group in clips.items():
            print(f"    {name}", file=sys.stderr, flush=True)
            found = Overhead(name)
            for clip in group:
                direct.recognize(clip.path)
                _post(client, clip.path)
            before = server.usage().process_s
            for _ in range(rounds):
                timings = [direct.recognize(clip.path) for clip in group]
                found.direct_s.append(sum(timing.wall_s for timing in timings))
                found.direct_cpu_s += sum(timing.cpu_s for timing in timings) / rounds
                found.door_s.append(sum(_post(client, clip.path) for clip in group))
            found.door_cpu_s = (server.usage().process_s - before) / rounds
            results.append(found)
    return results


def _post(client: httpx2.Client, path: Path) -> float:
    """Seconds until the answer is there."""
    fields = {"model": WHISPER_MODEL, "language": "ru", "temperature": "0"}
    began = time.perf_counter()
    client.post("/v1/audio/transcriptions", data=fields, files={"file": path.read_bytes()}).raise_for_status()
    return time.perf_counter() - began


def table(results: Sequence[Overhead]) -> list[str]:
    """As lines of Markdown."""
    lines = [
        "| | faster-whisper, ms | POST /v1/audio/transcriptions, ms | ratio | CPU, s | CPU of the server, s |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {found.name} | {spread(found.direct_s).show(0, 1000)} | {spread(found.door_s).show(0, 1000)} "
        f"| {ratios(found.door_s, found.direct_s).median:.2f}× | {found.direct_cpu_s:.2f} | {found.door_cpu_s:.2f} |"
        for found in results
    ]
    return lines
