"""Two tiny ONNX models with the inputs and outputs of the real ones, which tell voices by their pitch.

The segmentation hears sound or none. The embedding is how much each band of the spectrum changes. Such voices are
tones, which are no speech to a real voice-activity model: there is one here that takes all sound for speech.
"""

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from molva.models.catalog import SPEAKERS
from molva.samples import SAMPLE_RATE, Samples
from molva.speech.vad import CONTEXT, Probabilities, VadState

RECEPTIVE_FIELD = 991
STEP = 270
NOISE = 0.005
LOUD = 0.01
"""Mean amplitude from which a frame is speech."""


class SoundVad:
    """Whatever is loud enough is speech."""

    def initial(self) -> VadState:
        return VadState(np.zeros(1, np.float32), np.zeros(1, np.float32))

    def __call__(self, frames: NDArray[np.float32], state: VadState) -> tuple[Probabilities, VadState]:
        return (np.abs(frames[:, CONTEXT:]).mean(axis=1) > LOUD).astype(np.float32), state


def write_speaker_models(folder: Path) -> None:
    """Both, under the names that the catalog has for them."""
    segmentation, embedding = (folder / file.name for file in SPEAKERS.files)
    onnx.save(_segmentation(), segmentation)
    onnx.save(_embedding(), embedding)


def voice(hz: float, seconds: float) -> Samples:
    """Two tones in turn over some noise: what changes is what the features keep once their mean is taken off."""
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    tones = np.where(time % 0.2 < 0.1, np.sin(2 * np.pi * hz * time), np.sin(2 * np.pi * 1.5 * hz * time))
    return np.asarray(0.2 * tones + NOISE * np.random.default_rng(0).standard_normal(time.size), np.float32)


def silence(seconds: float) -> Samples:
    return np.zeros(round(seconds * SAMPLE_RATE), np.float32)


def _segmentation() -> onnx.ModelProto:
    """Scores of class 1, the first speaker alone, are the loudness; of class 0, nobody, a constant."""
    kernel = np.full((1, 1, RECEPTIVE_FIELD), 1 / RECEPTIVE_FIELD, np.float32)
    weights = np.array([[0, 1, 0, 0, 0, 0, 0]], np.float32)
    bias = np.array([LOUD, 0, -9, -9, -9, -9, -9], np.float32)
    nodes = [
        helper.make_node("Abs", ["input"], ["loud"]),
        helper.make_node("Conv", ["loud", "kernel"], ["mean"], strides=[STEP]),
        helper.make_node("Transpose", ["mean"], ["frames"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["frames", "weights"], ["scaled"]),
        helper.make_node("Add", ["scaled", "bias"], ["output"]),
    ]
    return _model(
        nodes,
        helper.make_tensor_value_info("input", TensorProto.FLOAT, ["B", "C", "T"]),
        helper.make_tensor_value_info("output", TensorProto.FLOAT, ["B", "F", 7]),
        kernel=kernel,
        weights=weights,
        bias=bias,
    )


def _embedding() -> onnx.ModelProto:
    """How much each band changes."""
    nodes = [
        helper.make_node("Mul", ["input_features", "input_features"], ["power"]),
        helper.make_node("ReduceMean", ["power"], ["mean"], axes=[1], keepdims=0),
        helper.make_node("ReduceMean", ["mean"], ["level"], axes=[1], keepdims=1),
        helper.make_node("Sub", ["mean", "level"], ["last_hidden_state"]),
    ]
    return _model(
        nodes,
        helper.make_tensor_value_info("input_features", TensorProto.FLOAT, ["B", "T", 80]),
        helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, ["B", 80]),
    )


def _model(
    nodes: list[onnx.NodeProto], source: onnx.ValueInfoProto, target: onnx.ValueInfoProto, **constants: "np.ndarray"
) -> onnx.ModelProto:
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "tiny", [source], [target], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
