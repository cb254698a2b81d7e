"""Real speech of the lengths that are measured, as WAV files that every engine reads."""

import itertools
import wave
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from bench.recording import clips, read
from molva.samples import SAMPLE_RATE, Samples, seconds

LENGTHS_S = (1, 5, 25)
"""Short command, usual request, longest window."""

N_MIXED = 5
"""Clips of the repository as they are."""


@dataclass(frozen=True)
class Clip:
    """A WAV file: mono, 16 kHz, PCM16."""

    path: Path
    duration_s: float


@cache
def speech(duration_s: float) -> Samples:
    """Speech without long pauses, repeated where the repository has less of it."""
    wanted = round(duration_s * SAMPLE_RATE)
    parts: list[Samples] = []
    for path in itertools.cycle(clips()):
        parts.append(read(path))
        if sum(part.size for part in parts) >= wanted:
            break
    return np.concatenate(parts)[:wanted]


def write_wav(path: Path, blocks: Sequence[Samples]) -> Clip:
    """Write samples, block after block."""
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, SAMPLE_RATE, 0, "NONE", ""))
        for block in blocks:
            file.writeframes((np.clip(block, -1, 1) * 32767).astype("<i2").tobytes())
    return Clip(path, seconds(sum(block.size for block in blocks)))


def write_clips(folder: Path) -> Mapping[str, Sequence[Clip]]:
    """What is measured: one clip of each length, and a mix of short ones."""
    folder.mkdir(parents=True, exist_ok=True)
    by_length = {f"{length} s": [write_wav(folder / f"{length}.wav", [speech(length)])] for length in LENGTHS_S}
    mixed = [write_wav(folder / f"mixed-{i}.wav", [read(path)]) for i, path in enumerate(clips()[:N_MIXED])]
    return {**by_length, "mix": mixed}
