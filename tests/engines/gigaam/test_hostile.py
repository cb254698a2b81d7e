"""Models that are damaged, put together of others' files, or made to do harm: refused, by an error that names the file.

A flipped bit in a weight is no visible damage: only its hash tells. So models may load here or be refused; what they
must not do is anything else.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from molva.engines.base import Options
from molva.engines.gigaam.model import GigaamConfig, GigaamEngine, load_gigaam, read_config
from molva.engines.gigaam.published import PublishedEncoder
from molva.engines.gigaam.rebuild import write_plain
from molva.engines.gigaam.rnnt import read_joint, read_predictor
from molva.engines.gigaam.vocabulary import MOST_TOKENS, read_vocabulary
from molva.errors import InferenceError, ModelFilesInvalid
from tests.conftest import CLIPS, TINY
from tests.engines import hostile
from tests.engines.gigaam.test_model import files_of

ENCODER, DECODER, JOINT = "v3_rnnt_encoder.onnx", "v3_rnnt_decoder.onnx", "v3_rnnt_joint.onnx"
VOCABULARY, CONFIG = "v3_vocab.txt", "config.json"
NAMES = [ENCODER, DECODER, JOINT, VOCABULARY, CONFIG]


@pytest.fixture
def folder(tiny_dir: Path, tmp_path: Path) -> Path:
    """A copy of the model, with a secret beside it."""
    (tmp_path / "secret").write_bytes(hostile.SECRET)
    return shutil.copytree(tiny_dir, tmp_path / "model")


def load(folder: Path, head: str = "rnnt") -> GigaamEngine:
    return load_gigaam(files_of(head, folder), model="tiny", variant=head)


def refused(folder: Path, named: str, why: str = "Model file") -> None:
    """Loading names the file, and says what to do."""
    with pytest.raises(ModelFilesInvalid, match=why) as caught:
        load(folder)
    assert caught.value.file_name == named
    assert "`molva models verify`" in str(caught.value)


# --- damage


@pytest.fixture(scope="module")
def damaged(tiny_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy for properties, which put each file back."""
    return shutil.copytree(tiny_dir, tmp_path_factory.mktemp("damaged") / "model")


@contextmanager
def changed(path: Path, content: bytes) -> Iterator[None]:
    original = path.read_bytes()
    path.write_bytes(content)
    try:
        yield
    finally:
        path.write_bytes(original)


def loads_or_is_refused(folder: Path) -> None:
    """Whatever loads also recognises speech, or says that it cannot."""
    with suppress(ModelFilesInvalid, InferenceError):
        load(folder).transcribe([CLIPS[0].samples], Options())


def structure_of(name: str) -> list[range]:
    """Where a file holds anything but long weights: most flips of random bits would hit those alone."""
    content = (TINY / name).read_bytes()
    if not name.endswith(".onnx"):
        return [range(len(content))]
    weights = sorted(
        (content.index(tensor.raw_data), len(tensor.raw_data))
        for tensor in onnx.load(TINY / name).graph.initializer
        if len(tensor.raw_data) > 512
    )
    starts = [0, *(start + length for start, length in weights)]
    ends = [*(start for start, _ in weights), len(content)]
    return [range(start, end) for start, end in zip(starts, ends, strict=True) if start < end]


STRUCTURES = {name: structure_of(name) for name in NAMES}


@pytest.mark.slow
@settings(max_examples=20)
@given(data=st.data(), name=st.sampled_from(NAMES))
def test_flipped_bits_of_the_structure(damaged: Path, data: st.DataObject, name: str) -> None:
    content = bytearray((damaged / name).read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        part = data.draw(st.sampled_from(STRUCTURES[name]))
        content[data.draw(st.sampled_from(part))] ^= 1 << data.draw(st.integers(0, 7))
    with changed(damaged / name, bytes(content)):
        loads_or_is_refused(damaged)


@pytest.mark.slow
@settings(max_examples=10)
@given(data=st.data(), name=st.sampled_from([ENCODER, DECODER, JOINT]))
def test_flipped_bits_anywhere(damaged: Path, data: st.DataObject, name: str) -> None:
    content = bytearray((damaged / name).read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with changed(damaged / name, bytes(content)):
        loads_or_is_refused(damaged)


@pytest.mark.parametrize("name", [ENCODER, DECODER, JOINT])
@given(share=st.floats(0, 1, exclude_max=True))
@settings(max_examples=15)
@example(share=0.0)
@example(share=1 - 1e-9)
def test_a_graph_that_breaks_off_is_refused(damaged: Path, name: str, share: float) -> None:
    content = (damaged / name).read_bytes()
    with changed(damaged / name, content[: int(len(content) * share)]):
        refused(damaged, name)


@given(length=st.integers(0, (TINY / VOCABULARY).stat().st_size - 6))
@settings(max_examples=15)
def test_a_vocabulary_that_breaks_off_is_refused(damaged: Path, length: int) -> None:
    with changed(damaged / VOCABULARY, (damaged / VOCABULARY).read_bytes()[:length]):
        refused(damaged, VOCABULARY)


# --- what is no such file


def empty(path: Path) -> None:
    path.write_bytes(b"")


def picture(path: Path) -> None:
    path.write_bytes(b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x06\x00\x00\x00")


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def pipe(path: Path) -> None:
    """Whoever opened it to read would wait for ever."""
    path.unlink()
    os.mkfifo(path)


def device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def link(path: Path) -> None:
    """To the very file that belongs here; but outside."""
    elsewhere = path.parent.parent / "elsewhere"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)


def gone(path: Path) -> None:
    path.unlink()


def hollow(path: Path) -> None:
    """Three gigabytes, of which nothing is on the disk."""
    os.truncate(path, 3 << 30)


@pytest.mark.parametrize("damage", [empty, picture, directory, pipe, device, link, gone, hollow])
@pytest.mark.parametrize("name", NAMES)
def test_what_is_no_such_file_is_refused(folder: Path, name: str, damage: Callable[[Path], None]) -> None:
    damage(folder / name)
    refused(folder, name)


@pytest.mark.parametrize("name", NAMES)
def test_what_a_link_leads_to_outside_is_not_opened(folder: Path, name: str) -> None:
    link(folder / name)
    with hostile.watched(folder.parent / "elsewhere") as was_opened:
        refused(folder, name, "leads out of its folder")
        assert not was_opened()


def test_a_folder_may_be_a_link_and_so_may_files_within(folder: Path) -> None:
    (folder / VOCABULARY).rename(folder / "other.txt")
    (folder / VOCABULARY).symlink_to("other.txt")
    (folder.parent / "link").symlink_to(folder)
    assert load(folder.parent / "link").info.vocabulary_size == 34


@pytest.mark.parametrize("name", NAMES)
def test_a_file_without_rights_is_refused(tiny_dir: Path, name: str) -> None:
    with tempfile.TemporaryDirectory() as outer:  # pytest's own folder is closed to others
        folder = shutil.copytree(tiny_dir, Path(outer) / "model")
        for path in (Path(outer), folder):
            path.chmod(0o755)
        (folder / name).chmod(0)
        with nobody():
            refused(folder, name)


@contextmanager
def nobody() -> Iterator[None]:
    """Root may read everything: tests that run as root are somebody else for a moment."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


# --- vocabulary and config


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("".join(f"a {number}\n" for number in range(MOST_TOKENS + 1)), "more than 65,536 tokens"),
        ("a" * (17 << 20), "more than such a file ever has"),
        ("a 0\nb 0\n<blk> 2\n", "line 2"),
        ("a 0\nb 18446744073709551616\n<blk> 2\n", "line 2"),
        ("a 0\nb -1\n<blk> 2\n", "line 2"),
        ("a 0\nb ١\n<blk> 2\n", "line 2"),
        ("a 0\n\0\n<blk> 1\n", "line 2"),
        ("a 0\nb 1\n", "last token"),
    ],
)
def test_a_vocabulary_of_nonsense_is_refused(tmp_path: Path, content: str, why: str) -> None:
    (tmp_path / VOCABULARY).write_text(content, encoding="utf-8")
    with pytest.raises(ModelFilesInvalid, match=why):
        read_vocabulary(tmp_path / VOCABULARY)


@pytest.mark.parametrize(
    "content",
    [
        "[" * 200_000,
        '{"a":' * 200_000,
        '{"version": ["v3"]}',
        '{"version": {}}',
        '{"version": null}',
        '{"subsampling_factor": true}',
        '{"subsampling_factor": 1e300}',
        '{"subsampling_factor": 1000000000}',
        '{"max_tokens_per_step": 1000000000}',
        '{"max_tokens_per_step": ' + "9" * 10_000 + "}",
        '{"max_tokens_per_step": NaN}',
        '{"features_size": {}}',
        '"v3"',
        "3",
    ],
)
def test_a_config_of_nonsense_is_refused(folder: Path, content: str) -> None:
    (folder / CONFIG).write_text(content, encoding="utf-8")
    refused(folder, CONFIG)


@given(content=st.recursive(st.none() | st.booleans() | st.floats() | st.text() | st.integers(), st.lists))
@settings(max_examples=30)
def test_no_value_in_a_config_is_too_strange(damaged: Path, content: object) -> None:
    fields = {"version": content, "subsampling_factor": content, "max_tokens_per_step": content}
    with changed(damaged / CONFIG, json.dumps(fields).encode()), pytest.raises(ModelFilesInvalid):
        read_config(files_of("rnnt", damaged))
    assert read_config(files_of("rnnt", damaged)) == GigaamConfig("v3", max_tokens_per_step=3)


# --- graphs that mean harm


def rewrite(path: Path, change: Callable[[onnx.GraphProto], None]) -> None:
    model = onnx.load(path)
    change(model.graph)
    path.write_bytes(model.SerializeToString())


@pytest.mark.parametrize("name", [ENCODER, DECODER, JOINT])
@pytest.mark.parametrize("make", [hostile.endless, hostile.recursive, hostile.sparse, lambda: hostile.doubling(40)])
def test_graphs_that_never_end_are_refused(folder: Path, name: str, make: Callable[[], onnx.ModelProto]) -> None:
    (folder / name).write_bytes(make().SerializeToString())
    refused(folder, name)


@pytest.mark.parametrize("name", [ENCODER, DECODER, JOINT])
@pytest.mark.parametrize("location", ["../secret", "{secret}", "link"])
def test_weights_outside_the_folder_are_not_opened(folder: Path, name: str, location: str) -> None:
    """Nor with the secret in the working directory, from which onnx's own reader would take it."""
    secret = folder.parent / "secret"
    (folder / "link").symlink_to(secret)

    def point_out(graph: onnx.GraphProto) -> None:
        tensor = graph.initializer[0]
        tensor.CopyFrom(hostile.outside(location.format(secret=secret), [*tensor.dims]))

    rewrite(folder / name, point_out)
    with hostile.watched(secret) as was_opened:
        refused(folder, "link" if location == "link" else name)
        with pytest.raises(ModelFilesInvalid):
            PublishedEncoder(folder / name)
        assert not was_opened()


@pytest.mark.parametrize("name", [DECODER, JOINT])
def test_weights_of_a_head_are_in_its_own_file(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    (folder / "weights").write_bytes(bytes(1 << 20))

    def move(graph: onnx.GraphProto) -> None:
        name, dims = graph.initializer[0].name, [*graph.initializer[0].dims]
        graph.initializer[0].CopyFrom(hostile.outside("weights", dims))
        graph.initializer[0].name = name

    rewrite(folder / name, move)
    refused(folder, name, "in another file")


@pytest.mark.parametrize("name", [ENCODER, DECODER, JOINT])
@pytest.mark.parametrize("dims", [[1 << 40, 320], [-1, 320], [3, 5], []])
def test_weights_that_lie_about_their_size_are_refused(folder: Path, name: str, dims: list[int]) -> None:
    def lie(graph: onnx.GraphProto) -> None:
        del graph.initializer[0].dims[:]
        graph.initializer[0].dims.extend(dims)

    rewrite(folder / name, lie)
    refused(folder, name)


@pytest.mark.parametrize("name", [ENCODER, DECODER, JOINT])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_no_numbers_are_refused(folder: Path, name: str, value: float) -> None:
    """A flipped bit of an exponent makes such. What a graph says of itself gives them no name."""
    set_weights(folder / name, value)
    refused(folder, name, "no numbers")


@pytest.mark.parametrize("name", [ENCODER, DECODER, JOINT])
@pytest.mark.parametrize("value", [1e5, 1e20, 1e38, -1e38])
def test_weights_whose_products_are_no_numbers_make_no_result(folder: Path, name: str, value: float) -> None:
    """Each of them is a number. Without a warning too, which nobody would understand."""
    set_weights(folder / name, value)
    try:
        [hypothesis] = load(folder).transcribe([CLIPS[0].samples], Options())
    except (ModelFilesInvalid, InferenceError):
        return
    assert all(0 <= token.confidence <= 1 for token in hypothesis.tokens)


def set_weights(path: Path, value: float) -> None:
    """Every seventh of each weight."""

    def change(graph: onnx.GraphProto) -> None:
        for tensor in graph.initializer:
            if tensor.data_type == TensorProto.FLOAT:
                weight = numpy_helper.to_array(tensor).copy()
                weight.ravel()[::7] = value
                tensor.CopyFrom(numpy_helper.from_array(weight, tensor.name))

    rewrite(path, change)


def test_a_decoder_whose_table_would_not_fit_into_memory_is_refused(tmp_path: Path) -> None:
    """Its weights take a megabyte, their product would take terabytes."""
    n = 100_000
    tensors = [
        numpy_helper.from_array(np.ones((n, 1), np.float32), "embedding"),
        numpy_helper.from_array(np.ones((1, 4, 1), np.float32), "weights"),
        numpy_helper.from_array(np.ones((1, 4, 1), np.float32), "recurrent"),
        numpy_helper.from_array(np.ones((1, 8), np.float32), "bias"),
    ]
    nodes = [
        helper.make_node("Gather", ["embedding", "x"], ["e"]),
        helper.make_node("LSTM", ["e", "weights", "recurrent", "bias"], ["y"], hidden_size=1),
    ]
    (tmp_path / DECODER).write_bytes(hostile.graph(nodes, tensors).SerializeToString())
    with pytest.raises(ModelFilesInvalid, match="more than any model"):
        read_predictor(tmp_path / DECODER)


def test_a_joint_that_goes_in_circles_is_refused(tmp_path: Path) -> None:
    tensors = [numpy_helper.from_array(np.ones((2, 2), np.float32), name) for name in ("a", "b", "c")]
    nodes = [
        helper.make_node("Add", ["y", "x"], ["z"]),
        helper.make_node("Neg", ["z"], ["y"]),
        *(helper.make_node("MatMul", ["z", name], [f"{name}_out"]) for name in ("a", "b", "c")),
    ]
    (tmp_path / JOINT).write_bytes(hostile.graph(nodes, tensors).SerializeToString())
    with pytest.raises(ModelFilesInvalid, match="not a joint"):
        read_joint(tmp_path / JOINT)


def test_an_encoder_whose_names_go_in_circles_is_not_rebuilt(folder: Path) -> None:
    def go_round(graph: onnx.GraphProto) -> None:
        [node] = [node for node in graph.node if node.name.endswith("/pre_encode/conv.0/Conv")]
        node.input[1] = "one"
        graph.node.append(helper.make_node("Identity", ["two"], ["one"]))
        graph.node.append(helper.make_node("Identity", ["one"], ["two"]))

    rewrite(folder / ENCODER, go_round)
    with pytest.raises(ModelFilesInvalid, match="missing"):
        PublishedEncoder(folder / ENCODER)


@pytest.mark.parametrize("name", ["/layers.0/self_attn/linear_q/MatMul", "/pre_encode/conv.0/Conv"])
def test_a_node_without_inputs_is_not_rebuilt(folder: Path, tmp_path: Path, name: str) -> None:
    def cut(graph: onnx.GraphProto) -> None:
        [node] = [node for node in graph.node if node.name.endswith(name)]
        del node.input[:]

    rewrite(folder / ENCODER, cut)
    with pytest.raises(ModelFilesInvalid, match="not a GigaAM v3 export"):
        write_plain(folder / ENCODER, tmp_path / "plain.onnx", "s8")
    assert not (tmp_path / "plain.onnx").exists()


def test_an_encoder_that_gives_more_frames_than_it_got_is_refused(folder: Path) -> None:
    """As many as it likes would be decoded."""

    def multiply(graph: onnx.GraphProto) -> None:
        output = graph.output[0].name
        graph.initializer.append(numpy_helper.from_array(np.array([1, 1, 1000], np.int64), "times"))
        graph.node.append(helper.make_node("Tile", [output, "times"], ["more"]))
        graph.output[0].name = "more"
        del graph.output[0].type.tensor_type.shape.dim[:]
        graph.output[0].type.tensor_type.ClearField("shape")

    rewrite(folder / ENCODER, multiply)
    refused(folder, ENCODER, "for 16 frames")
