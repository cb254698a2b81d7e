"""From `molva serve` to the first answer: with everything cached, at the first start ever, and in FP32."""

import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx2

from bench.clips import Clip
from bench.peers.competitors import MOLVA
from bench.process import memory_mb, running_server
from bench.spread import Spread, spread
from molva.models.catalog import find
from molva.models.store import ModelStore
from molva.runtime.loading import choose_encoder

MODEL = "gigaam-v3-rnnt"
TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Start:
    """Of one way to start."""

    name: str
    answered_s: Spread
    """From the process to its first answer."""
    memory_mb: float
    """What it takes of the machine's memory then."""


def measure(models: Path, clip: Clip, rounds: int) -> list[Start]:
    """Start, ask, stop."""
    folder = models / MOLVA.folder
    with tempfile.TemporaryDirectory(dir=models) as fresh:
        shutil.copytree(folder, fresh, ignore=shutil.ignore_patterns(_rebuilt(folder)), dirs_exist_ok=True)
        return [
            _start("INT8, rebuilt before", folder, "auto", clip, rounds),
            _start("INT8, first start", Path(fresh), "auto", clip, 1),
            _start("FP32", folder, "fp32", clip, rounds),
        ]


def _rebuilt(folder: Path) -> str:
    """Name of what a first start leaves beside the published graph."""
    encoder = choose_encoder(ModelStore(folder).require(find(MODEL)), device="cpu", precision="auto").path
    return encoder.relative_to(folder).parts[0]


def _start(name: str, folder: Path, precision: str, clip: Clip, rounds: int) -> Start:
    print(f"    {name}", file=sys.stderr, flush=True)
    flags = ["--model", MODEL, "--model-dir", str(folder), "--precision", precision, "--log-level", "warning"]
    taken, memory = [], 0.0
    for _ in range(rounds):
        began = time.perf_counter()
        with running_server(flags) as server:
            answer = httpx2.post(
                f"{server.http_url}/v1/transcribe", content=clip.path.read_bytes(), timeout=TIMEOUT_S, trust_env=False
            )
            answer.raise_for_status()
            taken.append(time.perf_counter() - began)
            memory = memory_mb(server.pid)
    return Start(name, spread(taken), memory)


def table(starts: Sequence[Start]) -> list[str]:
    """As lines of Markdown."""
    return [
        "| start | to the first answer, s | memory, MB |",
        "|---|---|---|",
        *(f"| {start.name} | {start.answered_s.show(1)} | {start.memory_mb:.0f} |" for start in starts),
    ]
