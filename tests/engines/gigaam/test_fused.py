"""The fused graph is the published one in other words, and minds the lengths of a batch."""

from itertools import product
from pathlib import Path
from typing import get_args

import numpy as np
import onnx
import onnxruntime
import pytest
from bench.full_size import random_weights
from bench.gigaam_graph import Sizes
from numpy.typing import NDArray

from bench import gigaam_graph
from molva.engines.gigaam.ctc import decode_ctc
from molva.engines.gigaam.encoder import run_encoder
from molva.engines.gigaam.features import SPECS, Features, log_mel
from molva.engines.gigaam.fused import write_fused
from molva.engines.gigaam.published import PublishedEncoder
from molva.engines.gigaam.rnnt import Transducer, read_joint, read_predictor
from molva.engines.gigaam.weights import Format
from molva.engines.onnx import open_session
from tests.conftest import CLIPS, TINY

Array = NDArray[np.float32]

FLOAT = onnx.TensorProto.FLOAT
GRAPHS = {"ctc": "v3_ctc.onnx", "rnnt": "v3_rnnt_encoder.onnx"}
BLANK = 33


def fused(source: Path, form: Format) -> onnxruntime.InferenceSession:
    model = write_fused(PublishedEncoder(source), form)
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def features_of(number: int, n_frames: int | None = None) -> Features:
    return log_mel(CLIPS[number].samples, SPECS["v3"])[:, :n_frames]


def run_padded(session: onnxruntime.InferenceSession, batch: list[Features]) -> tuple[list[Array], list[int]]:
    """Each item's part of the output of one batch, behind whose ends is noise; and the frames that all should have."""
    lengths = [features.shape[1] for features in batch]
    padded = np.random.default_rng(1).standard_normal((len(batch), 64, max(lengths)), np.float32) * 9
    for row, features in zip(padded, batch, strict=True):
        row[:, : features.shape[1]] = features
    names = [value.name for value in sorted(session.get_inputs(), key=lambda value: -len(value.shape))]
    output = session.run(None, dict(zip(names, (padded, np.array(lengths)), strict=True)))[0]
    n_frames = [((length - 1) // 2 + 1 - 1) // 2 + 1 for length in lengths]
    by_frame = output if output.shape[2] == BLANK + 1 else output.transpose(0, 2, 1)
    return [row[:n] for row, n in zip(by_frame, n_frames, strict=True)], n_frames


@pytest.mark.parametrize("head", GRAPHS)
@pytest.mark.parametrize("n_frames", [1, 2, 3, 4, 5, 97, 98, 99, 100, None])
def test_fp32_is_equal_to_the_published_graph(tiny_dir: Path, head: str, n_frames: int | None) -> None:
    features = features_of(0, n_frames)
    source = tiny_dir / GRAPHS[head]
    expected, output = (run_encoder(session, [features]) for session in (open_session(source), fused(source, "fp32")))
    assert output.shape == expected.shape
    assert np.abs(output - expected).max() < 1e-4 * max(np.abs(expected).max(), 1)


def test_inputs_and_outputs_keep_their_names_and_kinds(tiny_dir: Path) -> None:
    for name, form in product(GRAPHS.values(), get_args(Format)):
        published, rebuilt = open_session(tiny_dir / name), fused(tiny_dir / name, form)
        for describe in ("get_inputs", "get_outputs"):
            pairs = [[(v.name, v.type) for v in getattr(s, describe)()] for s in (published, rebuilt)]
            assert sorted(pairs[0]) == sorted(pairs[1])
    lengths = fused(tiny_dir / GRAPHS["rnnt"], "fp32").run(
        ["encoded_len"], {"audio_signal": np.zeros((3, 64, 9), np.float32), "length": np.array([9, 5, 0])}
    )[0]
    assert lengths.tolist() == [3, 2, 0]


@pytest.mark.parametrize("form", ["fp32", "fp16", "s8", "s7", "u8"])
def test_the_layout_of_the_published_export_is_known(tmp_path: Path, form: Format) -> None:
    """It has no mask, and calls some nodes otherwise than the small model's."""
    sizes = Sizes(layers=2, width=96, heads=2, feed_forward=192)
    onnx.save(gigaam_graph.encoder(sizes, random_weights), tmp_path / "e.onnx")
    features = features_of(1)
    expected = run_encoder(open_session(tmp_path / "e.onnx"), [features])
    output = run_encoder(fused(tmp_path / "e.onnx", form), [features])
    assert np.corrcoef(output.ravel(), expected.ravel())[0, 1] > (0.999999 if form == "fp32" else 0.99)


@pytest.mark.parametrize("head", GRAPHS)
def test_a_shorter_item_of_a_batch_equals_itself_alone(tiny_dir: Path, head: str) -> None:
    session = fused(tiny_dir / GRAPHS[head], "fp32")
    batch = [features_of(0), features_of(1, 150), features_of(2, 37), features_of(3, 4), features_of(4, 1)]
    together, n_frames = run_padded(session, batch)
    for features, frames, n in zip(batch, together, n_frames, strict=True):
        [alone], _ = run_padded(session, [features])
        assert alone.shape == frames.shape == (n, alone.shape[1])
        assert np.abs(frames - alone).max() < 1e-4


def test_the_published_layout_without_a_mask_gets_one(tmp_path: Path) -> None:
    sizes = Sizes(layers=2, width=96, heads=2, feed_forward=192)
    onnx.save(gigaam_graph.encoder(sizes, random_weights), tmp_path / "e.onnx")
    batch = [features_of(0), features_of(1, 150)]
    [_, alone] = [run_padded(fused(tmp_path / "e.onnx", "fp32"), [item])[0][0] for item in batch]
    difference = {
        "published": np.abs(run_padded(open_session(tmp_path / "e.onnx"), batch)[0][1] - alone).max(),
        "fused": np.abs(run_padded(fused(tmp_path / "e.onnx", "fp32"), batch)[0][1] - alone).max(),
    }
    assert difference["published"] > 0.1
    assert difference["fused"] < 1e-4


def test_fp16_computes_in_fp16_but_for_a_head(tiny_dir: Path) -> None:
    """Where something else is left, a GPU converts to and fro."""
    for head, name in GRAPHS.items():
        model = write_fused(PublishedEncoder(tiny_dir / name), "fp16")
        floats = [tensor for tensor in model.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT]
        assert len(floats) == (2 if head == "ctc" else 0)
        casts = [node for node in model.graph.node if node.op_type == "Cast" and node.attribute[0].i == FLOAT]
        assert len(casts) == 1


@pytest.mark.parametrize("form", ["fp32", "fp16", "s8"])
def test_a_padded_batch_gives_the_tokens_of_single_runs(tiny_dir: Path, form: Format) -> None:
    batch = [features_of(number) for number in range(4)]
    transducer = Transducer(
        read_predictor(TINY / "v3_rnnt_decoder.onnx"), read_joint(TINY / "v3_rnnt_joint.onnx"), BLANK, 3
    )
    for head, name in GRAPHS.items():
        session = fused(tiny_dir / name, form)
        together, _ = run_padded(session, batch)
        for features, frames in zip(batch, together, strict=True):
            [alone], _ = run_padded(session, [features])
            tokens = [
                [
                    e.token
                    for e in (decode_ctc(f, BLANK) if head == "ctc" else transducer.decode(np.ascontiguousarray(f)))
                ]
                for f in (frames, alone)
            ]
            assert tokens[0] == tokens[1]
            assert len(tokens[0]) > 10
