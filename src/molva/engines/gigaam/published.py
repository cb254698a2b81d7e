"""Reads the weights of an encoder or CTC graph out of its published export, by the names and shapes they must have.

The layout is that of GigaAM v3's exports: `/pre_encode/conv.0/Conv`, `/layers.0/feed_forward1/linear1/MatMul` and so
on, with or without a prefix. Whatever is missing or has another kind or shape is told, and nothing is guessed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from molva.engines.files import reading
from molva.engines.structure import inspect
from molva.errors import ModelFilesInvalid

Array = NDArray[np.float32]

FIRST_NODE = "/pre_encode/conv.0/Conv"


@dataclass(frozen=True)
class Linear:
    """A product and an addition."""

    weight: Array
    """Shape (n_in, n_out)."""
    bias: Array


@dataclass(frozen=True)
class Convolution:
    """Along time."""

    weight: Array
    """Shape (n_out, n_in or 1, kernel)."""
    bias: Array


@dataclass(frozen=True)
class Norm:
    """Layer normalisation over the width."""

    scale: Array
    shift: Array
    epsilon: float


@dataclass(frozen=True)
class FeedForward:
    """Half of a macaron: norm, up, SiLU, down, one half."""

    norm: Norm
    up: Linear
    down: Linear


@dataclass(frozen=True)
class Attention:
    """Queries and keys are projected from the rotated input, values from the plain one."""

    norm: Norm
    queries: Linear
    keys: Linear
    values: Linear
    out: Linear


@dataclass(frozen=True)
class ConvolutionModule:
    """Norm, gated linear unit, depthwise convolution, norm, SiLU, projection."""

    norm: Norm
    value: Linear
    gate: Linear
    depthwise: Convolution
    inner_norm: Norm
    out: Linear


@dataclass(frozen=True)
class Layer:
    """One Conformer layer (Gulati and others, 2020)."""

    feed_forward1: FeedForward
    attention: Attention
    convolution: ConvolutionModule
    feed_forward2: FeedForward
    norm: Norm


@dataclass(frozen=True)
class Rotary:
    """Rotary embedding (Su and others, 2021), half against half within each head."""

    cosines: Array
    """Shape (n_positions, half a head)."""
    sines: Array


class PublishedEncoder:
    """An export. Layers are read one by one: all of them take as much memory as the file."""

    def __init__(self, path: Path) -> None:
        """Raises ModelFilesInvalid where the file is no ONNX graph, or not one of this layout."""
        self._name = path.name
        inspect(path)
        with reading(path, "is damaged or not an ONNX graph"):
            graph = onnx.load(path).graph
        self._tensors = {tensor.name: tensor for tensor in graph.initializer}
        self._nodes: dict[str, onnx.NodeProto] = {node.name: node for node in graph.node}
        self._producers: dict[str, onnx.NodeProto] = {name: node for node in graph.node for name in node.output}
        self._prefix = self._find_prefix()
        self.features_input, self.lengths_input = self._inputs(graph)
        self.outputs = [value.name for value in graph.output]
        self.subsampling = self._read_subsampling()
        self.n_mels, self.width = self.subsampling[0].weight.shape[1], self.subsampling[0].weight.shape[0]
        self.rotary = self._read_rotary()
        self.n_layers = sum(name.endswith("/norm_out/LayerNormalization") for name in self._nodes)
        self.head = self._read_head()

    @property
    def n_heads(self) -> int:
        return int(self.width // (2 * self.rotary.cosines.shape[1]))

    def layers(self) -> Iterator[Layer]:
        """In order. Raises ModelFilesInvalid at the first that is not as it must be."""
        for number in range(self.n_layers):
            yield self._read_layer(f"/layers.{number}")

    def _find_prefix(self) -> str:
        found = [name.removesuffix(FIRST_NODE) for name in self._nodes if name.endswith(FIRST_NODE)]
        if len(found) != 1:
            raise self._unknown(f"{len(found)} nodes are called '{FIRST_NODE}'")
        return found[0]

    def _inputs(self, graph: onnx.GraphProto) -> tuple[str, str]:
        by_rank = {
            len(value.type.tensor_type.shape.dim): value.name
            for value in graph.input
            if value.name not in self._tensors
        }
        if by_rank.keys() != {1, 3}:
            raise self._unknown("its inputs are not features and lengths")
        return by_rank[3], by_rank[1]

    def _read_subsampling(self) -> tuple[Convolution, Convolution]:
        first = self._convolution("/pre_encode/conv.0", stride=2)
        second = self._convolution("/pre_encode/conv.2", stride=2)
        width = first.weight.shape[0]
        if second.weight.shape[:2] != (width, width):
            raise self._unknown("the two convolutions in front do not fit each other")
        return first, second

    def _read_rotary(self) -> Rotary:
        """The table is cosines, then sines of each position, both halves of a head alike."""
        table = self._constant("/pos_enc/Constant").squeeze()
        head = table.shape[-1]
        if table.ndim != 2 or len(table) % 2 or head % 2 or self.width % head:
            raise self._unknown(f"a rotary table of shape {table.shape}")
        left, right = table[:, : head // 2], table[:, head // 2 :]
        if not np.array_equal(left, right):
            raise self._unknown("the halves of the rotary table differ")
        cosines, sines = np.split(left, 2)
        return Rotary(cosines, sines)

    def _read_head(self) -> Linear | None:
        """The projection of a CTC graph, which has one output: log-softmax of a pointwise convolution."""
        if len(self.outputs) != 1:
            return None
        node: onnx.NodeProto | None = None
        name = self.outputs[0]
        for kind in ("LogSoftmax", "Transpose", "Conv"):
            node = self._producers.get(name)
            if node is None or node.op_type != kind:
                raise self._unknown("its head is not a pointwise convolution under a log-softmax")
            name = node.input[0]
        assert node is not None  # noqa: S101 - the loop ran
        weight, bias = self._weight(node.input[1]), self._weight(node.input[2])
        self._check(node.name, weight, (bias.size, self.width, 1))
        return Linear(weight[:, :, 0].T, bias)

    def _read_layer(self, path: str) -> Layer:
        return Layer(
            self._feed_forward(path, 1),
            self._attention(path),
            self._convolution_module(path),
            self._feed_forward(path, 2),
            self._norm(f"{path}/norm_out"),
        )

    def _feed_forward(self, path: str, number: int) -> FeedForward:
        module = f"{path}/feed_forward{number}"
        up = self._linear(f"{module}/linear1", n_in=self.width)
        down = self._linear(f"{module}/linear2", n_in=up.bias.size, n_out=self.width)
        return FeedForward(self._norm(f"{path}/norm_feed_forward{number}"), up, down)

    def _attention(self, path: str) -> Attention:
        queries, keys, values, out = (
            self._linear(f"{path}/self_attn/linear_{name}", n_in=self.width, n_out=self.width)
            for name in ("q", "k", "v", "out")
        )
        return Attention(self._norm(f"{path}/norm_self_att"), queries, keys, values, out)

    def _convolution_module(self, path: str) -> ConvolutionModule:
        module, width = f"{path}/conv", self.width
        gated = self._pointwise(f"{module}/pointwise_conv1", n_out=2 * width)
        depthwise = self._convolution(f"{module}/depthwise_conv", group=width)
        self._check(f"{module}/depthwise_conv", depthwise.weight, (width, 1, depthwise.weight.shape[2]))
        return ConvolutionModule(
            norm=self._norm(f"{path}/norm_conv"),
            value=Linear(gated.weight[:, :width], gated.bias[:width]),
            gate=Linear(gated.weight[:, width:], gated.bias[width:]),
            depthwise=depthwise,
            inner_norm=self._norm(f"{module}/batch_norm"),
            out=self._pointwise(f"{module}/pointwise_conv2", n_out=width),
        )

    def _linear(self, path: str, *, n_in: int, n_out: int | None = None) -> Linear:
        product, addition = self._node(f"{path}/MatMul", "MatMul"), self._node(f"{path}/Add", "Add")
        weight = self._weight(product.input[1])
        biases = [name for name in addition.input if name != product.output[0]]
        if len(biases) != 1:
            raise self._unknown(f"'{path}/Add' does not add to its product")
        bias = self._weight(biases[0])
        self._check(path, weight, (n_in, n_out or bias.size))
        self._check(path, bias, (weight.shape[1],))
        return Linear(weight, bias)

    def _pointwise(self, path: str, *, n_out: int) -> Linear:
        convolution = self._convolution(path)
        self._check(path, convolution.weight, (n_out, self.width, 1))
        return Linear(convolution.weight[:, :, 0].T, convolution.bias)

    def _convolution(self, path: str, *, stride: int = 1, group: int = 1) -> Convolution:
        node = self._node(f"{path}/Conv", "Conv")
        weight, bias = self._weight(node.input[1]), self._weight(node.input[2])
        if weight.ndim != 3 or bias.shape != (weight.shape[0],):
            raise self._unknown(f"'{path}' has weights of shape {weight.shape}")
        found = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
        half = weight.shape[2] // 2
        wanted = {"strides": [stride], "group": group, "pads": [half, half], "dilations": [1]}
        if any(found.get(name) != value for name, value in wanted.items()) or weight.shape[2] % 2 == 0:
            raise self._unknown(f"'{path}' is another convolution: {found}")
        return Convolution(weight, bias)

    def _norm(self, path: str) -> Norm:
        node = self._node(f"{path}/LayerNormalization", "LayerNormalization")
        scale, shift = self._weight(node.input[1]), self._weight(node.input[2])
        self._check(path, scale, (self.width,))
        self._check(path, shift, (self.width,))
        epsilons = [attribute.f for attribute in node.attribute if attribute.name == "epsilon"]
        return Norm(scale, shift, epsilons[0] if epsilons else 1e-5)

    def _node(self, name: str, kind: str) -> onnx.NodeProto:
        node = self._nodes.get(self._prefix + name)
        if node is None or node.op_type != kind:
            raise self._unknown(f"it has no {kind} called '{name}'")
        return node

    def _constant(self, name: str) -> Array:
        return numpy_helper.to_array(self._node(name, "Constant").attribute[0].t).astype(np.float32)

    def _weight(self, name: str) -> Array:
        """Exports name weights that several nodes share once, and the others by Identity."""
        seen: set[str] = set()
        while name not in seen and (node := self._producers.get(name)) is not None and node.op_type == "Identity":
            seen.add(name)
            name = node.input[0]
        if name not in self._tensors:
            raise self._unknown(f"weight '{name}' is missing")
        return numpy_helper.to_array(self._tensors[name]).astype(np.float32, copy=False)

    def _check(self, path: str, weight: Array, shape: tuple[int, ...]) -> None:
        if weight.shape != shape:
            raise self._unknown(f"'{path}' has weights of shape {weight.shape}, not {shape}")

    def _unknown(self, problem: str) -> ModelFilesInvalid:
        return ModelFilesInvalid(self._name, f"is not a GigaAM v3 export as molva knows it: {problem}")
