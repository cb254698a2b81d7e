"""Runs encoder and CTC graphs, whatever their export calls their inputs: side by side, or one over all cores."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from molva.engines.gigaam.features import HOP, Features
from molva.samples import SAMPLE_RATE

LONGEST_WIDE_S = 8.0
"""Longest window that may take all cores while it is the only one. Callers side by side get more out of the cores (26
times real time of two cores, against 19 of one run over both), so what is long leaves them to the next callers."""

SHRINK_EVERY_S = 10.0
"""A session keeps what its largest runs took, so under mixed load a server's memory crept up for half an hour. With
windows of all lengths, the small model's engine kept 77 MB, and 45 to 72 where it gives back every ten seconds. To do
so after each run costs that model 18 % of its time."""


@dataclass
class _Session:
    """A session, and when a run of it is to give back the memory that it does not use."""

    runs: onnxruntime.InferenceSession
    shrinks_at: float


class Encoder:
    """A graph in one or two sessions. Thread-safe.

    `narrow` takes the caller's thread alone; `wide`, where there is one, takes all cores and gives a lone short
    window its answer sooner.
    """

    def __init__(
        self,
        narrow: onnxruntime.InferenceSession,
        wide: onnxruntime.InferenceSession | None = None,
        *,
        bound: bool = False,
    ) -> None:
        """`bound`: `run_bound` takes the place of `run_encoder`."""
        first = time.monotonic() + SHRINK_EVERY_S
        self._narrow = _Session(narrow, first)
        self._wide = _Session(wide, first) if wide else None
        self._bound = bound
        self._lock = threading.Lock()
        self._running = 0

    @property
    def longest_wide_s(self) -> float:
        """Longest window, in seconds, that may take all cores; 0 where none does."""
        return LONGEST_WIDE_S if self._wide else 0.0

    def run(self, features: Sequence[Features]) -> NDArray[np.float32]:
        """See `run_encoder`."""
        seconds = sum(feature.shape[1] for feature in features) * HOP / SAMPLE_RATE
        with self._lock:
            session = self._wide if self._wide and not self._running and seconds <= LONGEST_WIDE_S else self._narrow
            now = time.monotonic()
            if shrinks := now >= session.shrinks_at:
                session.shrinks_at = now + SHRINK_EVERY_S
            self._running += 1
        try:
            return run_bound(session.runs, features) if self._bound else run_encoder(session.runs, features, shrinks)
        finally:
            with self._lock:
                self._running -= 1


def run_encoder(
    session: onnxruntime.InferenceSession, features: Sequence[Features], shrinks: bool = False
) -> NDArray[np.float32]:
    """First output for a batch of features.

    That is (batch, n_encoder, n_frames) from an encoder, (batch, n_frames, n_tokens) from a CTC graph. The input
    with three axes takes the features, the other one their lengths. Shorter features are padded with zeros, which only
    a graph with a mask minds; what it gives behind their ends means nothing. `shrinks`: a session on the CPU then gives
    back what memory it does not use. Raises what ONNX Runtime raises.
    """
    options = onnxruntime.RunOptions()
    if shrinks:
        options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    outputs = session.run(None, _inputs(session, features), options)
    first: NDArray[np.float32] = outputs[0]
    return first


def run_bound(session: onnxruntime.InferenceSession, features: Sequence[Features]) -> NDArray[np.float32]:
    """The same as `run_encoder`, for sessions on a GPU.

    Inputs are in its memory before the run begins, and only the output that is wanted comes back.
    """
    binding = session.io_binding()
    for name, values in _inputs(session, features).items():
        binding.bind_cpu_input(name, values)
    binding.bind_output(session.get_outputs()[0].name)
    session.run_with_iobinding(binding)
    first: NDArray[np.float32] = binding.copy_outputs_to_cpu()[0]
    return first


def batches_by_length(lengths: Sequence[int], size: int, padding: float) -> list[list[int]]:
    """Indices of what goes through the encoder together: at most `size`, the longest at most 1 + `padding` times as
    long as the shortest. Each index is in one batch.
    """
    batches: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda index: lengths[index]):
        room = batches and len(batches[-1]) < size
        if room and lengths[index] <= lengths[batches[-1][0]] * (1 + padding):
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches


def _inputs(session: onnxruntime.InferenceSession, features: Sequence[Features]) -> dict[str, NDArray[np.generic]]:
    features_input, lengths_input = sorted(session.get_inputs(), key=lambda value: -len(value.shape))
    lengths = np.array([feature.shape[1] for feature in features], np.int64)
    batch = np.zeros((len(features), features[0].shape[0], lengths.max()), np.float32)
    for row, feature, length in zip(batch, features, lengths, strict=True):
        row[:, :length] = feature
    return {features_input.name: batch, lengths_input.name: lengths}
