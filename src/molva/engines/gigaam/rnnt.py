"""Greedy RNN-T decoding (Graves, 2012) in NumPy, with the weights taken out of the exported graphs.

The exported decoder and joint have static shapes and cost one call each per step. Here the encoder's projection is
one matrix product for the whole window, embedding and input projection of the LSTM are one table, and the joint runs
over blocks of frames: as long as a frame gives blank, the predictor's state stays, so the block's next frame may be
looked at without another step.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from molva.engines.files import reading
from molva.engines.gigaam.ctc import Emission
from molva.engines.gigaam.vocabulary import MOST_TOKENS
from molva.engines.structure import inspect
from molva.errors import InferenceError, ModelFilesInvalid

Array = NDArray[np.float32]

FRAMES_PER_BLOCK = 8
"""Frames that the joint looks at in one product. Speech emits a token every 6 frames or so."""

OUTPUT_STEP = 16
"""The output layer's columns are filled up to a multiple of this. With 1024 tokens and the blank, decoding takes 1.1 ms
for a second of audio on AVX-512 then, instead of 1.3: OpenBLAS is slow at edges."""


MOST_GATES = 16_384
"""The published decoders have 1280."""


@dataclass(frozen=True)
class Predictor:
    """One LSTM layer over embedded tokens, gates in ONNX order: input, output, forget, cell."""

    token_gates: Array
    """Embedding times input weights plus both biases, shape (n_tokens, 4 * n_hidden)."""
    recurrent: Array
    """Shape (n_hidden, 4 * n_hidden)."""

    @property
    def n_hidden(self) -> int:
        return int(self.recurrent.shape[0])

    def step(self, token: int, hidden: Array, cell: Array) -> tuple[Array, Array]:
        """State after `token`; both arrays of shape (n_hidden,)."""
        n = self.n_hidden
        gates = self.token_gates[token] + hidden @ self.recurrent
        sigmoids = 1 / (1 + np.exp(-gates[: 3 * n]))
        cell = sigmoids[2 * n :] * cell + sigmoids[:n] * np.tanh(gates[3 * n :])
        return sigmoids[n : 2 * n] * np.tanh(cell), cell


@dataclass(frozen=True)
class Joint:
    """relu(encoder projection + predictor projection) -> logits."""

    encoder: Array
    """Shape (n_encoder, n_joint)."""
    predictor: Array
    """Shape (n_hidden, n_joint)."""
    bias: Array
    """Sum of both projections' biases, shape (n_joint,)."""
    output: Array
    """Shape (n_joint, n_tokens)."""
    output_bias: Array
    """Shape (n_tokens,)."""


@dataclass(frozen=True)
class Transducer:
    """The RNN-T head: predictor and joint."""

    predictor: Predictor
    joint: Joint
    blank: int
    max_symbols: int
    """Tokens emitted at one frame before the next frame is forced."""

    @np.errstate(over="ignore", invalid="ignore")  # what damaged weights lead to shows in the scores
    def decode(self, encoded: Array) -> list[Emission]:
        """Emissions of one window from encoder frames of shape (n_frames, n_encoder). Raises InferenceError where the
        weights are so damaged that their products are no numbers."""
        joint, predictor = self.joint, self.predictor
        output, output_bias = self._filled_output
        frames = encoded @ joint.encoder
        start = np.zeros(predictor.n_hidden, np.float32)
        hidden, cell = predictor.step(self.blank, start, start)
        context = hidden @ joint.predictor + joint.bias
        emissions: list[Emission] = []
        frame = symbols = 0
        while frame < len(frames):
            activations = frames[frame : frame + FRAMES_PER_BLOCK] + context
            np.maximum(activations, 0, out=activations)
            logits = activations @ output + output_bias
            best = logits.argmax(axis=1)
            spoken = np.flatnonzero(best != self.blank)
            if spoken.size == 0:
                frame += len(best)
                symbols = 0
                continue
            first = int(spoken[0])
            if first > 0:
                frame += first
                symbols = 0
            token = int(best[first])
            score = softmax_score(logits[first], token)
            if math.isnan(score):
                raise InferenceError("The decoder gave values that are no numbers: its weights are damaged.")
            emissions.append(Emission(frame, token, score))
            symbols += 1
            hidden, cell = predictor.step(token, hidden, cell)
            context = hidden @ joint.predictor + joint.bias
            if symbols >= self.max_symbols:
                frame += 1
                symbols = 0
        return emissions

    @cached_property
    def _filled_output(self) -> tuple[Array, Array]:
        """The output layer and its bias, with columns that no frame ever chooses up to a multiple of `OUTPUT_STEP`."""
        extra = -self.joint.output_bias.size % OUTPUT_STEP
        output = np.pad(self.joint.output, ((0, 0), (0, extra)))
        return output, np.pad(self.joint.output_bias, (0, extra), constant_values=-np.inf)


def softmax_score(logits: Array, token: int) -> float:
    """Softmax of `logits`, shape (n_tokens,), at `token`."""
    return float(1 / np.exp(logits - logits[token]).sum())


def read_predictor(path: Path) -> Predictor:
    """Take the weights out of an exported decoder graph: embedding, then one LSTM. Raises ModelFilesInvalid."""
    with reading(path, "is not a decoder of one LSTM over embedded tokens"):
        return _read_predictor(path)


def read_joint(path: Path) -> Joint:
    """Take the weights out of an exported joint graph: two projections, their sum, ReLU and the output layer.

    Raises ModelFilesInvalid.
    """
    with reading(path, "is not a joint of two projections and an output layer"):
        return _read_joint(path)


def _read_predictor(path: Path) -> Predictor:
    graph = _Graph(path)
    lstm = graph.only("LSTM")
    embedding = graph.weight(graph.only("Gather").input[0])
    weights, recurrent, bias = (graph.weight(name)[0] for name in lstm.input[1:4])
    n_gates = weights.shape[0]
    if embedding.shape[1] != weights.shape[1] or recurrent.shape != (n_gates, n_gates // 4) or bias.size != 2 * n_gates:
        raise ModelFilesInvalid(path.name, "the embedding and the LSTM do not fit each other")
    # Their product is as large as both sizes multiplied, and may be more than memory holds.
    if len(embedding) > MOST_TOKENS or n_gates > MOST_GATES:
        raise ModelFilesInvalid(path.name, f"has {len(embedding):,} tokens and {n_gates:,} gates, more than any model")
    return Predictor(
        token_gates=embedding @ weights.T + bias[:n_gates] + bias[n_gates:],
        recurrent=np.ascontiguousarray(recurrent.T),
    )


def _read_joint(path: Path) -> Joint:
    graph = _Graph(path)
    inputs = graph.inputs()
    layers = {graph.source_of(node): graph.linear(node) for node in graph.all("MatMul")}
    if len(inputs) != 2 or set(layers) != {*inputs, None}:
        raise ModelFilesInvalid(path.name, "this is not a joint of two projections and an output layer")
    (encoder, encoder_bias), (predictor, predictor_bias) = (layers[name] for name in inputs)
    output, output_bias = layers[None]
    if not encoder.shape[1] == predictor.shape[1] == output.shape[0]:
        raise ModelFilesInvalid(path.name, "the projections and the output layer do not fit each other")
    return Joint(
        encoder=encoder,
        predictor=predictor,
        bias=encoder_bias + predictor_bias,
        output=output,
        output_bias=output_bias,
    )


class _Graph:
    """The few questions we ask of a small exported graph; a wrong answer names the file."""

    def __init__(self, path: Path) -> None:
        self._name = path.name
        inspect(path)
        self._graph = onnx.load(path, load_external_data=False).graph
        self._initializers = {tensor.name: tensor for tensor in self._graph.initializer}
        self._producers = {name: node for node in self._graph.node for name in node.output}

    def inputs(self) -> list[str]:
        return [value.name for value in self._graph.input if value.name not in self._initializers]

    def all(self, op_type: str) -> list[onnx.NodeProto]:
        return [node for node in self._graph.node if node.op_type == op_type]

    def only(self, op_type: str) -> onnx.NodeProto:
        nodes = self.all(op_type)
        if len(nodes) != 1:
            raise ModelFilesInvalid(self._name, f"expected one {op_type} node, found {len(nodes)}")
        return nodes[0]

    def weight(self, name: str) -> Array:
        if name not in self._initializers:
            raise ModelFilesInvalid(self._name, f"weight '{name}' is missing")
        tensor = self._initializers[name]
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            raise ModelFilesInvalid(self._name, f"weight '{name}' is in another file")
        weight = numpy_helper.to_array(tensor).astype(np.float32)
        if not np.isfinite(weight).all():
            raise ModelFilesInvalid(self._name, f"weight '{name}' has values that are no numbers")
        return weight

    def linear(self, matmul: onnx.NodeProto) -> tuple[Array, Array]:
        """Weight (n_in, n_out) and bias (n_out,) of a product and the addition behind it."""
        weight = self.weight(matmul.input[1])
        for node in self.all("Add"):
            if matmul.output[0] in node.input:
                biases = [name for name in node.input if name in self._initializers]
                if biases:
                    return weight, self.weight(biases[0])
        return weight, np.zeros(weight.shape[1], np.float32)

    def source_of(self, node: onnx.NodeProto) -> str | None:
        """The one graph input that feeds `node`, or None where several do."""
        found: set[str] = set()
        seen: set[str] = set()
        names = [node.input[0]]
        while names:
            name = names.pop()
            if name in seen:
                continue
            seen.add(name)
            producer = self._producers.get(name)
            if producer is not None:
                names.extend(producer.input)
            elif name not in self._initializers and name:
                found.add(name)
        return found.pop() if len(found) == 1 else None
