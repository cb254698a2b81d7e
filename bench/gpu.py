"""The same on an NVIDIA GPU: `python -m bench.gpu`. It needs onnxruntime-gpu in place of onnxruntime.

Two tables: molva and the peers that can use a GPU, file by file; and the encoder alone as the engine runs it there, in
FP32 and FP16, by one window and by batches of equal length.
"""

import argparse
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from bench import comparison
from bench.clips import speech, write_clips
from bench.machine import describe
from bench.peers import models
from bench.peers.competitors import COMPETITORS, MOLVA, MOLVA_FP16
from bench.spread import Spread, spread
from molva.engines.gigaam.encoder import run_bound
from molva.engines.gigaam.features import SPECS, log_mel
from molva.engines.onnx import find_provider, open_session
from molva.models.catalog import find
from molva.models.store import ModelStore
from molva.runtime.loading import choose_encoder

MODEL = "gigaam-v3-rnnt"
LENGTHS_S = (5.0, 25.0)
BATCH_SIZES = (1, 4, 16)


@dataclass(frozen=True)
class Encoding:
    """The encoder over one batch."""

    precision: str
    length_s: float
    batch_size: int
    ms: Spread
    """Per second of audio."""


def encode(folder: Path, precision: str, device: str, rounds: int) -> list[Encoding]:
    """Run the engine's own encoder over batches, as the engine does: from features to frames, both in the host's
    memory.
    """
    choice = choose_encoder(ModelStore(folder).require(find(MODEL)), device=device, precision=precision)
    session = open_session(choice.path, device)
    found = []
    for length_s in LENGTHS_S:
        features = log_mel(speech(length_s), SPECS["v3"])
        for batch_size in BATCH_SIZES:
            taken = []
            for number in range(rounds + 2):
                began = time.perf_counter()
                run_bound(session, [features] * batch_size)
                if number >= 2:  # the first ones choose kernels and take memory
                    taken.append((time.perf_counter() - began) * 1000 / (batch_size * length_s))
            found.append(Encoding(precision, length_s, batch_size, spread(taken)))
    return found


def table(encodings: list[Encoding]) -> list[str]:
    """As lines of Markdown."""
    lines = ["| encoder | window | batch | ms per second of audio | times real time |", "|---|---|---|---|---|"]
    lines += [
        f"| {found.precision} | {found.length_s:g} s | {found.batch_size} | {found.ms.show(3)} "
        f"| {1000 / found.ms.median:.0f} |"
        for found in encodings
    ]
    return lines


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m bench.gpu", description=__doc__)
    parser.add_argument("--dir", type=Path, default=models.default_folder(), help="keeps the models, 3 GB")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: whether this works at all")
    parser.add_argument("--rounds", type=int, default=10)
    arguments = parser.parse_args()
    find_provider(arguments.device)
    folder = arguments.dir.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    models.prepare(folder)
    half = [MOLVA_FP16] if arguments.device == "cuda" else []  # a CPU has no arithmetic in FP16
    cores = sorted(os.sched_getaffinity(0))
    print(describe(len(cores)) + ".\n", flush=True)
    with tempfile.TemporaryDirectory(prefix="recordings-", dir=folder) as recordings:
        plan = comparison.Plan(arguments.rounds, arguments.rounds, 1, cores, arguments.device)
        able = [competitor for competitor in (*COMPETITORS, *half) if competitor.on_gpu]
        print("\n".join(comparison.table(comparison.compare(folder, write_clips(Path(recordings)), plan, able))))
    encodings = encode(folder / MOLVA.folder, "fp32", arguments.device, arguments.rounds)
    if half:
        encodings += encode(folder / MOLVA.folder, "fp16", arguments.device, arguments.rounds)
    print("\n" + "\n".join(table(encodings)))


if __name__ == "__main__":
    main()
