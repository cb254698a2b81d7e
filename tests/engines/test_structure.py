"""What is in an ONNX file is known before ONNX Runtime sees it, and what no model needs is refused."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from molva.engines import structure
from molva.engines.onnx import open_session
from molva.engines.structure import inspect, read_structure
from molva.errors import ModelFilesInvalid
from tests.conftest import TINY
from tests.engines import hostile

GRAPHS = sorted(TINY.glob("*.onnx"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model's folder, with a secret beside it and ways that lead there."""
    inside = tmp_path / "model"
    inside.mkdir()
    (tmp_path / "secret").write_bytes(hostile.SECRET)
    (inside / "beside.data").write_bytes(hostile.SECRET)
    (inside / "link.data").symlink_to(tmp_path / "secret")
    (inside / "round.data").symlink_to(inside / "round.data")
    (inside / "folder.data").mkdir()
    os.mkfifo(inside / "pipe.data")
    return inside


def written(model: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("path", GRAPHS, ids=lambda path: path.name)
def test_the_structure_is_the_file_without_its_raw_data(path: Path) -> None:
    expected = onnx.load(path)
    for tensor in expected.graph.initializer:
        tensor.ClearField("raw_data")
    assert read_structure(path) == expected
    inspect(path)


def test_weights_beside_the_file_are_taken(folder: Path) -> None:
    path = written(hostile.graph(tensors=[hostile.outside("beside.data", offset=0, length=256)]), folder)
    [source, lengths] = open_session(path).get_inputs()
    assert (source.name, lengths.name) == ("x", "lengths")


def test_a_link_within_the_folder_is_taken(folder: Path) -> None:
    (folder / "other.data").symlink_to(folder / "beside.data")
    inspect(written(hostile.graph(tensors=[hostile.outside("other.data")]), folder))


@pytest.mark.parametrize(
    ("location", "why"),
    [
        ("../secret", "not beside it"),
        ("folder.data/../../secret", "not beside it"),
        ("..\\secret", "not beside it"),
        ("SECRET", "not beside it"),
        ("*/_ORT_MEM_ADDR_/*", "not beside it"),
        ("", "not beside it"),
        ("..", "not beside it"),
        ("link.data", "leads out of its folder"),
        ("round.data", "cannot be looked at"),
        ("nowhere.data", "missing"),
        ("a\0b", "missing"),
        ("folder.data", "no.* ordinary file"),
        ("pipe.data", "no.* ordinary file"),
    ],
)
def test_no_other_file_is_opened_for_weights(folder: Path, location: str, why: str) -> None:
    secret = folder.parent / "secret"
    location = location.replace("SECRET", str(secret))
    path = written(hostile.graph(tensors=[hostile.outside(location)]), folder)
    with hostile.watched(secret, folder / "pipe.data") as was_opened:
        with pytest.raises(ModelFilesInvalid, match=why):
            open_session(path)
        assert not was_opened()
        secret.read_bytes()
        assert was_opened()  # the watch works


@pytest.mark.parametrize(
    "tensor",
    [
        hostile.outside("beside.data", offset=1000),
        hostile.outside("beside.data", offset=4, length=256),
        hostile.outside("beside.data", offset=-8),
        hostile.outside("beside.data", length=-8),
        hostile.outside("beside.data", length=1 << 62),
        hostile.outside("beside.data", offset="eight"),
        hostile.outside("beside.data", [1 << 40, 64]),
        hostile.outside("beside.data", prepacked_0="MatMul+1|0;64;0"),
        hostile.weights([1 << 20, 1 << 20]),
        hostile.weights([1 << 62, 1 << 62]),
        hostile.weights([-1, 64]),
        hostile.weights([1] * 1000),
    ],
)
def test_weights_that_the_files_do_not_hold_are_refused(folder: Path, tensor: TensorProto) -> None:
    path = written(hostile.graph(tensors=[tensor]), folder)
    with pytest.raises(ModelFilesInvalid):
        inspect(path)


def test_the_same_weights_are_not_read_a_thousand_times(folder: Path) -> None:
    tensors = [hostile.outside("beside.data") for _ in range(1000)]
    for number, tensor in enumerate(tensors):
        tensor.name = f"w{number}"
    with pytest.raises(ModelFilesInvalid, match="again and again"):
        inspect(written(hostile.graph(tensors=tensors), folder))


def in_constant(tensor: TensorProto) -> onnx.ModelProto:
    """A tensor in the attribute of a node, in a branch."""
    return hostile.branches(helper.make_node("Constant", [], ["y"], value=tensor))


HARMFUL: list[tuple[str, Callable[[], onnx.ModelProto], str]] = [
    ("a loop without end", hostile.endless, "a Loop, which may never end"),
    ("one in a branch", lambda: hostile.branches(hostile.endless().graph.node[0]), "a Loop"),
    ("a scan", lambda: hostile.graph([helper.make_node("Scan", ["x"], ["y"])]), "a Scan"),
    ("functions that double", lambda: hostile.doubling(40), "more than 200,000 nodes"),
    ("a function that calls itself", hostile.recursive, "calls itself"),
    ("a sparse weight", hostile.sparse, "damaged"),
    ("a secret as a constant", lambda: in_constant(hostile.outside("../secret")), "not beside it"),
    ("a constant that lies", lambda: in_constant(hostile.weights([1 << 50])), "no file of this size"),
    (
        "an operator of its own",
        lambda: hostile.graph([helper.make_node("Evil", ["x"], ["y"], domain="evil")]),
        "cannot",
    ),
    ("an IR of the future", lambda: hostile.graph(tensors=[hostile.weights()], ir_version=99), "cannot load it"),
    ("an opset of the future", lambda: hostile.graph(tensors=[hostile.weights()], opset=99), "cannot load it"),
    (
        "a circle",
        lambda: hostile.graph([helper.make_node("Add", ["x", "y"], ["z"]), helper.make_node("Neg", ["z"], ["y"])]),
        "cannot load it",
    ),
    ("nothing", onnx.ModelProto, "not an ONNX graph"),
]

OPEN = """
import sys
from pathlib import Path
from molva.engines.onnx import open_session
from molva.errors import ModelError
try:
    open_session(Path(sys.argv[1]))
except ModelError as error:
    print(error.code, error)
"""


@pytest.mark.parametrize(("make", "why"), [case[1:] for case in HARMFUL], ids=[case[0] for case in HARMFUL])
def test_a_harmful_graph_is_refused_within_bounds(folder: Path, make: Callable[[], onnx.ModelProto], why: str) -> None:
    """In a process that has 4 GiB of address space and a minute of processor time."""
    told = hostile.run_bounded(OPEN, written(make(), folder))
    assert told.startswith("model_files_invalid Model file 'model.onnx': ")
    assert why in told
    assert "molva models verify" in told


def test_branches_deeper_than_protobuf_reads_are_refused(folder: Path) -> None:
    """Written by hand: protobuf would not write them either."""
    deep = b"\x0a\x00"
    for _ in range(5000):
        deep = b"\x2a" + varint(len(deep)) + deep  # node.attribute
        deep = b"\x32" + varint(len(deep)) + deep  # attribute.g
    (folder / "model.onnx").write_bytes(b"\x3a" + varint(len(deep)) + deep)
    with pytest.raises(ModelFilesInvalid, match="damaged"):
        open_session(folder / "model.onnx")


def varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])


def test_a_structure_beyond_all_measure_is_not_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(structure, "LARGEST_STRUCTURE", 10_000)
    nodes = [helper.make_node("Neg", ["x"], ["y"], doc_string="a" * 100) for _ in range(200)]
    with pytest.raises(ModelFilesInvalid, match="beyond all measure"):
        inspect(written(hostile.graph(nodes), folder))


def test_functions_and_branches_as_exporters_write_them_are_taken(folder: Path) -> None:
    inspect(written(hostile.doubling(3), folder))
    inspect(written(hostile.branches(helper.make_node("Neg", ["x"], ["y"]), depth=10), folder))


@given(data=st.data())
def test_no_bytes_are_too_strange(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    original = hostile.branches(helper.make_node("Neg", ["x"], ["y"])).SerializeToString()
    changed = bytearray(original)
    for _ in range(data.draw(st.integers(1, 5))):
        changed[data.draw(st.integers(0, len(original) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "strange.onnx"
    path.write_bytes(bytes(changed[: data.draw(st.integers(0, len(original)))]))
    with contextlib.suppress(ModelFilesInvalid):
        inspect(path)


@given(content=st.binary(max_size=200))
def test_neither_is_what_never_was_a_graph(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "noise.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelFilesInvalid):
        open_session(path)


def test_values_of_all_kinds_are_within_their_bytes(folder: Path) -> None:
    """Types of less than a byte, empty tensors and scalars are no lies."""
    tensors = [
        helper.make_tensor("w", TensorProto.FLOAT, [], [1.0]),
        helper.make_tensor("four", TensorProto.UINT4, [2000], [1] * 2000),
        numpy_helper.from_array(np.zeros((0, 5), np.float32), "empty"),
    ]
    inspect(written(hostile.graph(tensors=tensors), folder))


def test_a_refusal_prints_nothing(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """ONNX Runtime puts names of the graph into its message, which Python then cannot read."""
    path = written(hostile.graph([helper.make_node("Evil", ["x"], ["y"])]), folder)
    path.write_bytes(path.read_bytes().replace(b"Evil", b"\xb8vil"))
    with pytest.raises(ModelFilesInvalid):
        open_session(path)
    assert capfd.readouterr() == ("", "")
