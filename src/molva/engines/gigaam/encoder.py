"""Runs encoder and CTC graphs, whatever their export calls their inputs: side by side, or one over all cores."""

import threading
from collections.abc import Sequence

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from molva.engines.gigaam.features import HOP, Features
from molva.samples import SAMPLE_RATE

LONGEST_WIDE_S = 8.0
"""Longest window that may take all cores while it is the only one. Callers side by side get more out of the cores (26
times real time of two cores, against 19 of one run over both), so what is long leaves them to the next callers."""


class Encoder:
    """A graph in one or two sessions. Thread-safe.

    `narrow` takes the caller's thread alone; `wide`, where there is one, takes all cores and gives a lone short
    window its answer sooner.
    """

    def __init__(self, narrow: onnxruntime.InferenceSession, wide: onnxruntime.InferenceSession | None = None) -> None:
        self._narrow = narrow
        self._wide = wide
        self._lock = threading.Lock()
        self._running = 0

    @property
    def longest_wide_s(self) -> float:
        """Longest window, in seconds, that may take all cores; 0 where none does."""
        return LONGEST_WIDE_S if self._wide else 0.0

    def run(self, features: Sequence[Features]) -> NDArray[np.float32]:
        """See `run_encoder`."""
        with self._lock:
            alone = self._running == 0
            self._running += 1
        try:
            seconds = sum(feature.shape[1] for feature in features) * HOP / SAMPLE_RATE
            session = self._wide if self._wide and alone and seconds <= LONGEST_WIDE_S else self._narrow
            return run_encoder(session, features)
        finally:
            with self._lock:
                self._running -= 1


def run_encoder(session: onnxruntime.InferenceSession, features: Sequence[Features]) -> NDArray[np.float32]:
    """First output for a batch of features of equal length.

    That is (batch, n_encoder, n_frames) from an encoder, (batch, n_frames, n_tokens) from a CTC graph. The input
    with three axes takes the features, the other one their lengths. Raises what ONNX Runtime raises.
    """
    features_input, lengths_input = sorted(session.get_inputs(), key=lambda value: -len(value.shape))
    lengths = np.full(len(features), features[0].shape[1], np.int64)
    outputs = session.run(None, {features_input.name: np.stack(features), lengths_input.name: lengths})
    first: NDArray[np.float32] = outputs[0]
    return first
