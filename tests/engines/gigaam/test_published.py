"""What is read out of an export is what is in it, and another layout is told and not guessed."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from molva.engines.gigaam.published import PublishedEncoder
from molva.errors import ModelFilesInvalid
from tests.conftest import TINY

ENCODER = TINY / "v3_rnnt_encoder.onnx"


def node(model: onnx.ModelProto, name: str) -> onnx.NodeProto:
    found: onnx.NodeProto
    [found] = [node for node in model.graph.node if node.name == name]
    return found


def tensor(model: onnx.ModelProto, name: str) -> onnx.TensorProto:
    found: onnx.TensorProto
    [found] = [tensor for tensor in model.graph.initializer if tensor.name == name]
    return found


def test_the_sizes_of_the_small_model() -> None:
    encoder = PublishedEncoder(ENCODER)
    layers = list(encoder.layers())
    assert (encoder.n_mels, encoder.width, encoder.n_heads, encoder.n_layers, len(layers)) == (64, 144, 4, 5, 5)
    assert encoder.rotary.cosines.shape == encoder.rotary.sines.shape == (2000, 18)
    assert layers[0].feed_forward1.up.weight.shape == (144, 576)
    assert encoder.head is None


def test_a_ctc_graph_has_a_head(tiny_dir: Path) -> None:
    encoder = PublishedEncoder(tiny_dir / "v3_ctc.onnx")
    stored = np.load(TINY / "ctc_head.npz")
    assert encoder.head is not None
    assert np.array_equal(encoder.head.weight, stored["weight"][:, :, 0].T)
    assert np.array_equal(encoder.head.bias, stored["bias"])


def test_a_prefix_of_all_names_is_nothing_new(tmp_path: Path) -> None:
    """Exports of the whole model name the encoder's nodes after it."""
    model = onnx.load(ENCODER)
    for each in model.graph.node:
        each.name = f"/encoder{each.name}"
    onnx.save(model, tmp_path / "e.onnx")
    [prefixed, plain] = [next(PublishedEncoder(path).layers()) for path in (tmp_path / "e.onnx", ENCODER)]
    assert np.array_equal(prefixed.attention.out.weight, plain.attention.out.weight)


def rename_a_node(model: onnx.ModelProto) -> None:
    node(model, "/layers.3/self_attn/linear_k/MatMul").name = "/layers.3/self_attn/linear_keys/MatMul"


def narrow_a_weight(model: onnx.ModelProto) -> None:
    bias = tensor(model, "layers.1.feed_forward1.linear1.bias")
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias)[:-1], bias.name))


def stride_a_convolution(model: onnx.ModelProto) -> None:
    for attribute in node(model, "/layers.0/conv/depthwise_conv/Conv").attribute:
        if attribute.name == "strides":
            attribute.ints[:] = [2]


def twist_the_rotary_table(model: onnx.ModelProto) -> None:
    value = node(model, "/pos_enc/Constant").attribute[0].t
    value.CopyFrom(numpy_helper.from_array(np.sort(numpy_helper.to_array(value), axis=-1)))


def normalise_otherwise(model: onnx.ModelProto) -> None:
    node(model, "/layers.2/conv/batch_norm/LayerNormalization").op_type = "BatchNormalization"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (rename_a_node, "no MatMul called '/layers.3/self_attn/linear_k/MatMul'"),
        (narrow_a_weight, r"'/layers.1/feed_forward1/linear1' has weights of shape"),
        (stride_a_convolution, "'/layers.0/conv/depthwise_conv' is another convolution"),
        (twist_the_rotary_table, "rotary table"),
        (normalise_otherwise, "no LayerNormalization called"),
    ],
)
def test_another_layout_is_told(change: Callable[[onnx.ModelProto], None], told: str, tmp_path: Path) -> None:
    model = onnx.load(ENCODER)
    change(model)
    onnx.save(model, tmp_path / "e.onnx")
    with pytest.raises(ModelFilesInvalid, match=told) as caught:
        list(PublishedEncoder(tmp_path / "e.onnx").layers())
    assert caught.value.file_name == "e.onnx"


@pytest.mark.parametrize("name", ["v3_rnnt_joint.onnx", "v3_vocab.txt"])
def test_what_is_no_encoder_is_told(name: str) -> None:
    with pytest.raises(ModelFilesInvalid, match=name):
        PublishedEncoder(TINY / name)
