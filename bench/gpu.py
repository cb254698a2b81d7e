"""The same on an NVIDIA GPU: `python -m bench.gpu`. It needs onnxruntime-gpu in place of onnxruntime.

Two tables: molva and the peers that can use a GPU, file by file; and the encoder alone, as far as it goes there: inputs
and outputs bound to the device's memory, FP32 and FP16, batches of equal length.
"""

import argparse
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from bench import comparison
from bench.clips import speech, write_clips
from bench.machine import describe
from bench.peers import models
from bench.peers.competitors import COMPETITORS, MOLVA
from bench.spread import Spread, spread
from molva.engines.gigaam.features import SPECS, log_mel
from molva.engines.onnx import find_provider

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


def half_precision(encoder: Path, folder: Path) -> Path:
    """The encoder with FP16 weights and arithmetic, and FP32 inputs and outputs; made once."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    target = folder / "fp16.onnx"
    if not target.exists():
        onnx.save(convert_float_to_float16(onnx.load(encoder), keep_io_types=True), target)
    return target


def encode(graph: Path, precision: str, device: str, rounds: int) -> list[Encoding]:
    """Run a graph over batches whose inputs are in the device's memory already, and whose outputs stay there."""
    session = onnxruntime.InferenceSession(graph, providers=[find_provider(device)])
    features_name, length_name = (value.name for value in session.get_inputs())
    found = []
    for length_s in LENGTHS_S:
        features = log_mel(speech(length_s), SPECS["v3"])
        for batch_size in BATCH_SIZES:
            batch = np.stack([features] * batch_size)
            lengths = np.full(batch_size, features.shape[1], np.int64)
            binding = session.io_binding()
            for name, value in ((features_name, batch), (length_name, lengths)):
                binding.bind_ortvalue_input(name, onnxruntime.OrtValue.ortvalue_from_numpy(value, device, 0))
            for output in session.get_outputs():
                binding.bind_output(output.name, device)
            taken = []
            for number in range(rounds + 2):
                binding.synchronize_inputs()
                began = time.perf_counter()
                session.run_with_iobinding(binding)
                binding.synchronize_outputs()
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
    cores = sorted(os.sched_getaffinity(0))
    print(describe(len(cores)) + ".\n", flush=True)
    with tempfile.TemporaryDirectory(prefix="recordings-", dir=folder) as recordings:
        plan = comparison.Plan(arguments.rounds, arguments.rounds, 1, cores, arguments.device)
        able = [competitor for competitor in COMPETITORS if competitor.on_gpu]
        print("\n".join(comparison.table(comparison.compare(folder, write_clips(Path(recordings)), plan, able))))
    encoder = folder / MOLVA.folder / "v3_rnnt_encoder.onnx"
    encodings = encode(encoder, "fp32", arguments.device, arguments.rounds)
    if arguments.device == "cuda":  # a CPU has no arithmetic in FP16
        encodings += encode(half_precision(encoder, folder), "fp16", arguments.device, arguments.rounds)
    print("\n" + "\n".join(table(encodings)))


if __name__ == "__main__":
    main()
