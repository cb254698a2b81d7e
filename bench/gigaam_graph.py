"""The graphs of a GigaAM v3 RNN-T model at any size, as its published export lays them out and names their nodes.

Like that export, and unlike the small model in tests/data, the encoder has no attention mask: a batch must have equal
lengths.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Array = NDArray[np.float32]

Weights = Callable[[str, tuple[int, ...]], Array]
"""The weight of a name, like `layers.0.norm_conv.bias`, and a shape. Linear layers are (n_in, n_out)."""

OPSET = 17
IR_VERSION = 8
EPSILON = 1e-5


@dataclass(frozen=True)
class Sizes:
    """What the published models have, unless said otherwise."""

    n_mels: int = 64
    layers: int = 16
    width: int = 768
    heads: int = 16
    feed_forward: int = 3072
    kernel: int = 5
    positions: int = 5000
    """Frames that the rotary table reaches to."""
    rotary_base: float = 5000.0
    hidden: int = 320
    """Of the predictor's LSTM."""
    joint: int = 320
    tokens: int = 34


class _Graph:
    """Nodes and weights of a graph in the making. Every method gives the name of what it computes."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self._nodes: list[onnx.NodeProto] = []
        self._tensors: list[onnx.TensorProto] = []

    def op(self, kind: str, name: str, *inputs: str, **attributes: Any) -> str:
        return self.op_to([f"{name}_output_0"], kind, name, *inputs, **attributes)[0]

    def op_to(self, outputs: list[str], kind: str, name: str, *inputs: str, **attributes: Any) -> list[str]:
        self._nodes.append(helper.make_node(kind, list(inputs), outputs, name=name, **attributes))
        return outputs

    def constant(self, name: str, value: Any, kind: type = np.int64) -> str:
        return self.op("Constant", name, value=numpy_helper.from_array(np.asarray(value, kind)))

    def weight(self, name: str, *shape: int) -> str:
        self._tensors.append(numpy_helper.from_array(self._weights(name, shape), name))
        return name

    def linear(self, path: str, x: str, n_in: int, n_out: int) -> str:
        module = path[1:].replace("/", ".")
        product = self.op("MatMul", f"{path}/MatMul", x, self.weight(f"{module}.weight", n_in, n_out))
        return self.op("Add", f"{path}/Add", self.weight(f"{module}.bias", n_out), product)

    def conv(self, path: str, x: str, shape: tuple[int, int, int], *, stride: int = 1, group: int = 1) -> str:
        module = path[1:].replace("/", ".")
        weight, bias = self.weight(f"{module}.weight", *shape), self.weight(f"{module}.bias", shape[0])
        kernel = shape[2]
        return self.op(
            "Conv",
            f"{path}/Conv",
            x,
            weight,
            bias,
            dilations=[1],
            group=group,
            kernel_shape=[kernel],
            pads=[kernel // 2] * 2,
            strides=[stride],
        )

    def norm(self, path: str, x: str, width: int) -> str:
        module = path[1:].replace("/", ".")
        weight, bias = self.weight(f"{module}.weight", width), self.weight(f"{module}.bias", width)
        return self.op("LayerNormalization", f"{path}/LayerNormalization", x, weight, bias, axis=-1, epsilon=EPSILON)

    def silu(self, path: str, x: str) -> str:
        return self.op("Mul", f"{path}/Mul", x, self.op("Sigmoid", f"{path}/Sigmoid", x))

    def model(
        self, name: str, inputs: Sequence[onnx.ValueInfoProto], outputs: Sequence[onnx.ValueInfoProto]
    ) -> onnx.ModelProto:
        graph = helper.make_graph(self._nodes, name, inputs, outputs, self._tensors)
        opsets = [helper.make_opsetid("", OPSET)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="molva bench")


def _float(name: str, *shape: int | str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _int64(name: str, *shape: int | str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.INT64, shape)


def encoder(sizes: Sizes, weights: Weights) -> onnx.ModelProto:
    """Features (batch, n_mels, frames) -> encoded (batch, width, frames / 4)."""
    graph = _Graph(weights)
    x = _subsampled(graph, sizes)
    frames = graph.op("Gather", "/Gather", graph.op("Shape", "/Shape", x), graph.constant("/Constant", 1), axis=0)
    rotary = _rotary_table(graph, sizes, frames)
    for layer in range(sizes.layers):
        x = _layer(graph, sizes, f"/layers.{layer}", x, rotary)
    graph.op_to(["encoded"], "Transpose", "/Transpose_1", x, perm=[0, 2, 1])
    _encoded_length(graph)
    return graph.model(
        "encoder",
        [_float("audio_signal", "batch_size", sizes.n_mels, "seq_len"), _int64("length", "batch_size")],
        [
            _float("encoded", "batch_size", sizes.width, "encoded_len"),
            helper.make_tensor_value_info("encoded_len", TensorProto.INT32, ["batch_size"]),
        ],
    )


def _subsampled(graph: _Graph, sizes: Sizes) -> str:
    x = "audio_signal"
    for number, n_in in ((0, sizes.n_mels), (2, sizes.width)):
        x = graph.conv(f"/pre_encode/conv.{number}", x, (sizes.width, n_in, sizes.kernel), stride=2)
        x = graph.op("Relu", f"/pre_encode/conv.{number + 1}/Relu", x)
    return graph.op("Transpose", "/pre_encode/Transpose", x, perm=[0, 2, 1])


def _encoded_length(graph: _Graph) -> None:
    """floor((n - 1) / 2) + 1, twice."""
    one = graph.constant("/pre_encode/Constant_9", 1, np.float32)
    two = graph.constant("/pre_encode/Constant_8", 2, np.float32)
    length = graph.op("Cast", "/pre_encode/Cast_2", "length", to=TensorProto.FLOAT)
    for i in range(2):
        less = graph.op("Sub", f"/pre_encode/Sub_{i}", length, one)
        half = graph.op("Div", f"/pre_encode/Div_{i}", less, two)
        length = graph.op("Floor", f"/pre_encode/Floor_{i}", graph.op("Add", f"/pre_encode/Add_{i}", half, one))
    graph.op_to(["encoded_len"], "Cast", "/pre_encode/Cast_12", length, to=TensorProto.INT32)


def rotary_table(sizes: Sizes) -> Array:
    """Cosines, then sines, of each position, shape (2 * positions, 1, 1, width of a head)."""
    head = sizes.width // sizes.heads
    speeds = 1.0 / sizes.rotary_base ** (np.arange(0, head, 2) / head)
    angles = np.outer(np.arange(sizes.positions), np.tile(speeds, 2))
    return np.concatenate([np.cos(angles), np.sin(angles)])[:, None, None, :].astype(np.float32)


def _rotary_table(graph: _Graph, sizes: Sizes, frames: str) -> tuple[str, str]:
    """Cosines and sines of the frames that there are, each (frames, 1, 1, width of a head)."""
    table = graph.constant("/pos_enc/Constant", rotary_table(sizes), np.float32)
    axis = graph.constant("/pos_enc/Constant_1", [0])
    begin = graph.constant("/pos_enc/Constant_2", [0])
    middle = graph.constant("/pos_enc/Constant_7", [sizes.positions])
    count = graph.op("Unsqueeze", "/pos_enc/Unsqueeze", frames, axis)
    cosines = graph.op("Slice", "/pos_enc/Slice", table, begin, count, axis)
    sines = graph.op("Slice", "/pos_enc/Slice_1", table, middle, graph.op("Add", "/pos_enc/Add", middle, count), axis)
    return cosines, sines


def _layer(graph: _Graph, sizes: Sizes, path: str, x: str, rotary: tuple[str, str]) -> str:
    """One Conformer layer over (batch, frames, width)."""
    x = graph.op("Add", f"{path}/Add", x, _feed_forward(graph, sizes, path, 1, x))
    x = graph.op("Add", f"{path}/Add_1", x, _attention(graph, sizes, path, x, rotary))
    x = graph.op("Add", f"{path}/Add_2", x, _convolution(graph, sizes, path, x))
    x = graph.op("Add", f"{path}/Add_3", x, _feed_forward(graph, sizes, path, 2, x))
    return graph.norm(f"{path}/norm_out", x, sizes.width)


def _feed_forward(graph: _Graph, sizes: Sizes, path: str, number: int, x: str) -> str:
    module = f"{path}/feed_forward{number}"
    x = graph.norm(f"{path}/norm_feed_forward{number}", x, sizes.width)
    x = graph.linear(f"{module}/linear1", x, sizes.width, sizes.feed_forward)
    x = graph.silu(f"{module}/activation", x)
    x = graph.linear(f"{module}/linear2", x, sizes.feed_forward, sizes.width)
    suffix = "" if number == 1 else "_1"
    half = graph.constant(f"{path}/Constant{suffix}", 0.5, np.float32)
    return graph.op("Mul", f"{path}/Mul{suffix}", x, half)


def _attention(graph: _Graph, sizes: Sizes, path: str, x: str, rotary: tuple[str, str]) -> str:
    """Self-attention; queries and keys are projected from the rotated input, values from the plain one."""
    module, head, width = f"{path}/self_attn", sizes.width // sizes.heads, sizes.width
    x = graph.norm(f"{path}/norm_self_att", x, width)
    rotated = _rotated(graph, sizes, module, x, rotary)
    heads = graph.constant(f"{module}/Constant_27", [0, 0, sizes.heads, head])
    split = {
        name: graph.op(
            "Reshape", f"{module}/Reshape_{name}", graph.linear(f"{module}/linear_{name}", source, width, width), heads
        )
        for name, source in (("q", rotated), ("k", rotated), ("v", x))
    }
    queries = graph.op("Transpose", f"{module}/Transpose_3", split["q"], perm=[0, 2, 1, 3])
    values = graph.op("Transpose", f"{module}/Transpose_4", split["v"], perm=[0, 2, 1, 3])
    keys = graph.op("Transpose", f"{module}/Transpose_5", split["k"], perm=[0, 2, 3, 1])
    keys = graph.op("Div", f"{module}/Div_1", keys, graph.constant(f"{module}/Constant_35", head**0.5, np.float32))
    scores = graph.op("Softmax", f"{module}/Softmax", graph.op("MatMul", f"{module}/MatMul", queries, keys), axis=-1)
    mixed = graph.op("MatMul", f"{module}/MatMul_1", scores, values)
    mixed = graph.op("Transpose", f"{module}/Transpose_6", mixed, perm=[0, 2, 1, 3])
    joined = graph.op("Reshape", f"{module}/Reshape_6", mixed, graph.constant(f"{module}/Constant_41", [0, 0, width]))
    return graph.linear(f"{module}/linear_out", joined, width, width)


def _rotated(graph: _Graph, sizes: Sizes, module: str, x: str, rotary: tuple[str, str]) -> str:
    """Rotary embedding (Su and others, 2021) of (batch, frames, width), half against half within each head."""
    head = sizes.width // sizes.heads
    cosines, sines = rotary
    x = graph.op("Transpose", f"{module}/Transpose", x, perm=[1, 0, 2])
    x = graph.op("Reshape", f"{module}/Reshape", x, graph.constant(f"{module}/Constant_3", [0, 0, sizes.heads, head]))
    first, second = graph.op_to(
        [f"{module}/Split_output_0", f"{module}/Split_output_1"],
        "Split",
        f"{module}/Split",
        x,
        graph.constant(f"{module}/Constant_14", [head // 2] * 2),
        axis=3,
    )
    turned = graph.op("Concat", f"{module}/Concat_1", graph.op("Neg", f"{module}/Neg", second), first, axis=3)
    along = graph.op("Mul", f"{module}/Mul", x, cosines)
    across = graph.op("Mul", f"{module}/Mul_1", turned, sines)
    x = graph.op("Add", f"{module}/Add", along, across)
    x = graph.op("Reshape", f"{module}/Reshape_1", x, graph.constant(f"{module}/Constant_23", [0, 0, sizes.width]))
    return graph.op("Transpose", f"{module}/Transpose_1", x, perm=[1, 0, 2])


def _convolution(graph: _Graph, sizes: Sizes, path: str, x: str) -> str:
    module, width = f"{path}/conv", sizes.width
    x = graph.norm(f"{path}/norm_conv", x, width)
    x = graph.op("Transpose", f"{module}/Transpose", x, perm=[0, 2, 1])
    x = graph.conv(f"{module}/pointwise_conv1", x, (2 * width, width, 1))
    value, gate = graph.op_to(
        [f"{module}/Split_output_0", f"{module}/Split_output_1"],
        "Split",
        f"{module}/Split",
        x,
        graph.constant(f"{module}/Constant", [width] * 2),
        axis=1,
    )
    x = graph.op("Mul", f"{module}/Mul", value, graph.op("Sigmoid", f"{module}/Sigmoid", gate))
    x = graph.conv(f"{module}/depthwise_conv", x, (width, 1, sizes.kernel), group=width)
    x = graph.op("Transpose", f"{module}/Transpose_1", x, perm=[0, 2, 1])
    x = graph.norm(f"{module}/batch_norm", x, width)
    x = graph.op("Transpose", f"{module}/Transpose_2", x, perm=[0, 2, 1])
    x = graph.conv(f"{module}/pointwise_conv2", graph.silu(f"{module}/activation", x), (width, width, 1))
    return graph.op("Transpose", f"{module}/Transpose_3", x, perm=[0, 2, 1])


def decoder(sizes: Sizes, weights: Weights) -> onnx.ModelProto:
    """One step of the predictor: token and state -> output and state."""
    graph, n = _Graph(weights), sizes.hidden
    x = graph.op("Gather", "/embed/Gather", graph.weight("embed.weight", sizes.tokens, n), "x")
    x = graph.op("Transpose", "/Transpose", x, perm=[1, 0, 2])
    gates = [
        graph.weight("lstm.input", 1, 4 * n, n),
        graph.weight("lstm.recurrent", 1, 4 * n, n),
        graph.weight("lstm.bias", 1, 8 * n),
    ]
    outputs = ["/lstm/LSTM_output_0", "h", "c"]
    graph.op_to(outputs, "LSTM", "/lstm/LSTM", x, *gates, "", "h.1", "c.1", hidden_size=n)
    x = graph.op("Squeeze", "/lstm/Squeeze", outputs[0], graph.constant("/lstm/Constant", [1]))
    graph.op_to(["dec"], "Transpose", "/Transpose_1", x, perm=[1, 0, 2])
    return graph.model(
        "decoder",
        [_int64("x", 1, 1), _float("h.1", 1, 1, n), _float("c.1", 1, 1, n)],
        [_float("dec", 1, 1, n), _float("h", 1, 1, n), _float("c", 1, 1, n)],
    )


def joint(sizes: Sizes, weights: Weights) -> onnx.ModelProto:
    """One encoder frame and one predictor output -> log-probabilities of the tokens."""
    graph = _Graph(weights)
    projected = []
    for number, (name, n_in) in enumerate((("enc", sizes.width), ("pred", sizes.hidden))):
        suffix = "" if number == 0 else "_1"
        source = "enc" if name == "enc" else "dec"
        x = graph.op("Transpose", f"/Transpose{suffix}", source, perm=[0, 2, 1])
        axis = graph.constant(f"/Constant{suffix}", [2 - number])
        projected.append(
            graph.op("Unsqueeze", f"/Unsqueeze{suffix}", graph.linear(f"/{name}", x, n_in, sizes.joint), axis)
        )
    x = graph.op("Relu", "/joint_net/joint_net.0/Relu", graph.op("Add", "/Add", *projected))
    x = graph.linear("/joint_net/joint_net.1", x, sizes.joint, sizes.tokens)
    graph.op_to(["joint"], "LogSoftmax", "/LogSoftmax", x, axis=-1)
    return graph.model(
        "joint",
        [_float("enc", 1, sizes.width, 1), _float("dec", 1, sizes.hidden, 1)],
        [_float("joint", 1, 1, 1, sizes.tokens)],
    )
