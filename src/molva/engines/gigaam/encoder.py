"""Runs an encoder or CTC graph, whatever its export calls its inputs."""

from collections.abc import Sequence

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from molva.engines.gigaam.features import Features


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
