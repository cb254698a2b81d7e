"""What features and RNN-T decoding take, apart from the encoder."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.clips import speech
from bench.full_size import MAX_TOKENS_PER_STEP, encode
from bench.spread import Spread, spread
from bench.targets import Target
from molva.engines.gigaam.features import SPECS, log_mel
from molva.engines.gigaam.rnnt import Transducer, read_joint, read_predictor
from molva.engines.gigaam.vocabulary import read_vocabulary

WINDOW_S = 25.0

MAX_FEATURES_MS = 0.2
MAX_DECODING_MS = 1.3
"""Per second of audio."""


@dataclass(frozen=True)
class Stages:
    """Milliseconds of one core per second of audio."""

    features: Spread
    decoding: Spread


def measure(folder: Path, rounds: int) -> Stages:
    """Over one window, on the cores that the process has."""
    window = speech(WINDOW_S)
    frames = encode(folder / "v3_rnnt_encoder.onnx", window)
    blank = read_vocabulary(folder / "v3_vocab.txt").blank
    predictor, joint = read_predictor(folder / "v3_rnnt_decoder.onnx"), read_joint(folder / "v3_rnnt_joint.onnx")
    transducer = Transducer(predictor, joint, blank, MAX_TOKENS_PER_STEP)
    return Stages(
        features=_per_second(lambda: log_mel(window, SPECS["v3"]), rounds),
        decoding=_per_second(lambda: transducer.decode(frames), rounds),
    )


def _per_second(work: Callable[[], object], rounds: int) -> Spread:
    work()
    taken = []
    for _ in range(rounds):
        began = time.process_time()
        work()
        taken.append((time.process_time() - began) * 1000 / WINDOW_S)
    return spread(taken)


def table(stages: Stages) -> list[str]:
    """As lines of Markdown."""
    return [
        "| | CPU ms per second of audio |",
        "|---|---|",
        f"| features | {stages.features.show(2)} |",
        f"| RNN-T decoding | {stages.decoding.show(2)} |",
    ]


def targets(stages: Stages) -> list[Target]:
    """What molva promises of both."""
    return [
        Target("RNN-T decoding, per second of audio", stages.decoding.median, "at most", MAX_DECODING_MS, " ms"),
        Target("features, per second of audio", stages.features.median, "at most", MAX_FEATURES_MS, " ms"),
    ]
