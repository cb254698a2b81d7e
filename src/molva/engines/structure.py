"""The structure of an ONNX file, which is all of it but the weights; and what molva refuses in it.

ONNX Runtime sees a file only after `inspect`. It checks much itself, but less in older versions, and some things never:
a loop without end is a valid graph, and so are functions that call functions twice each, by which a kilobyte becomes
more nodes than memory holds. No file names another one outside its folder, whoever would open it.
"""

import mmap
from collections.abc import Iterable, Iterator
from math import prod
from pathlib import Path
from typing import NamedTuple

import onnx
from onnx import TensorProto

from molva.engines.files import LARGEST_WEIGHTS, check_file, reading
from molva.errors import ModelFilesInvalid

LARGEST_GRAPH = (2 << 30) - 1
"""Bytes of a file: protobuf has no larger messages."""
LARGEST_STRUCTURE = 128 << 20
"""Bytes. Full-size encoders have 3 MB or less."""
MOST_NODES = 200_000
"""After functions have taken the places of their calls. Full-size encoders have 5000."""

MOST_AXES = 16

ENDLESS = frozenset({"Loop", "Scan"})
"""Operators that run a graph as often as the file says. No model of the catalog has one."""
PLACE = frozenset({"location", "offset", "length", "checksum"})
"""What external data says of itself. ONNX Runtime takes more than that on trust: weights packed by itself."""


def inspect(path: Path, *, packed: bool = False) -> None:
    """Raise ModelFilesInvalid where an ONNX file is damaged, points out of its folder, or has what may never end.

    `packed`: the file was written by `save_packed`.
    """
    size = check_file(path, LARGEST_GRAPH)
    with reading(path, "is damaged or not an ONNX graph"):
        model = read_structure(path)
        if not model.graph.node:
            raise ModelFilesInvalid(path.name, "is not an ONNX graph")
        _check_nodes(path, model)
        _check_weights(path, size, list(_tensors(model)), packed=packed)


def read_structure(path: Path) -> onnx.ModelProto:
    """An ONNX file without the raw data of its weights. Takes milliseconds and little memory, however large it is.

    Raises ModelFilesInvalid where the structure is too large; and what protobuf raises, ValueError and OSError.
    """
    model = onnx.ModelProto()
    n_bytes = 0
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:

        def take(target: onnx.ModelProto | onnx.GraphProto | TensorProto, field: _Field) -> None:
            nonlocal n_bytes
            n_bytes += field.end - field.start
            if n_bytes > LARGEST_STRUCTURE:
                raise ModelFilesInvalid(path.name, "has a structure beyond all measure")
            target.MergeFromString(data[field.start : field.end])

        for part in _fields(data, 0, len(data)):
            if part.number != onnx.ModelProto.GRAPH_FIELD_NUMBER:
                take(model, part)
                continue
            for member in _fields(data, part.content, part.end):
                if member.number != onnx.GraphProto.INITIALIZER_FIELD_NUMBER:
                    take(model.graph, member)
                    continue
                tensor = model.graph.initializer.add()
                for field in _fields(data, member.content, member.end):
                    if field.number != TensorProto.RAW_DATA_FIELD_NUMBER:
                        take(tensor, field)
    return model


class _Field(NamedTuple):
    """A field of a protobuf message: its number, and where it, its content and the next one begin."""

    number: int
    start: int
    content: int
    end: int


def _fields(data: mmap.mmap, start: int, end: int) -> Iterator[_Field]:
    """The fields between two positions. Raises ValueError where there are no such, IndexError at the file's end.

    The wire format: https://protobuf.dev/programming-guides/encoding.
    """
    while start < end:
        tag, content = _varint(data, start)
        kind = tag & 7
        if kind == 0:
            _, after = _varint(data, content)
        elif kind == 1:
            after = content + 8
        elif kind == 2:
            length, content = _varint(data, content)
            after = content + length
        elif kind == 5:
            after = content + 4
        else:
            raise ValueError("a kind of field that ONNX does not have")
        if after > end:
            raise ValueError("a field that ends behind its message")
        yield _Field(tag >> 3, start, content, after)
        start = after


def _varint(data: mmap.mmap, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
        if shift > 63:
            raise ValueError("a number of more than 64 bits")


def _subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _check_nodes(path: Path, model: onnx.ModelProto) -> None:
    functions = {(function.domain, function.name, function.overload): function for function in model.functions}
    sizes: dict[tuple[str, str, str], int | None] = {}

    def size_of(nodes: Iterable[onnx.NodeProto]) -> int:
        total = 0
        for node in nodes:
            if node.op_type in ENDLESS:
                raise ModelFilesInvalid(path.name, f"has a {node.op_type}, which may never end")
            total += 1 + sum(size_of(graph.node) for graph in _subgraphs(node))
            total += size_of_function((node.domain, node.op_type, node.overload))
            if total > MOST_NODES:
                raise ModelFilesInvalid(path.name, f"has more than {MOST_NODES:,} nodes")
        return total

    def size_of_function(key: tuple[str, str, str]) -> int:
        if key not in functions:
            return 0
        if key not in sizes:
            sizes[key] = None
            sizes[key] = size_of(functions[key].node)
        size = sizes[key]
        if size is None:
            raise ModelFilesInvalid(path.name, "has a function that calls itself")
        return size

    for key in functions:
        size_of_function(key)
    size_of(model.graph.node)


def _tensors(model: onnx.ModelProto) -> Iterator[TensorProto]:
    """All weights and constants; sparse ones are told by ValueError, since they may stand for any amount of memory."""
    graphs = [model.graph]
    nodes = [node for function in model.functions for node in function.node]
    while graphs or nodes:
        if graphs:
            graph = graphs.pop()
            if graph.sparse_initializer:
                raise ValueError("sparse weights")
            yield from graph.initializer
            nodes.extend(graph.node)
        else:
            node = nodes.pop()
            for attribute in node.attribute:
                if attribute.HasField("sparse_tensor") or attribute.sparse_tensors:
                    raise ValueError("sparse weights")
                if attribute.HasField("t"):
                    yield attribute.t
                yield from attribute.tensors
            graphs.extend(_subgraphs(node))


def _check_weights(path: Path, size: int, tensors: list[TensorProto], *, packed: bool) -> None:
    """Each tensor is no larger than the bytes there are for it; those of other files are in this folder."""
    taken: dict[str, int] = {}
    sizes: dict[str, int] = {}
    for tensor in tensors:
        room = size
        if tensor.external_data or tensor.data_location == TensorProto.EXTERNAL:
            if not packed and not {entry.key for entry in tensor.external_data} <= PLACE:
                raise ModelFilesInvalid(path.name, "has weights that ONNX Runtime has packed for some other machine")
            for name in [entry.value for entry in tensor.external_data if entry.key == "location"] or [""]:
                if "/" in name or "\\" in name or name in ("", ".", ".."):
                    raise ModelFilesInvalid(path.name, f"wants weights from {name[:80]!r}, which is not beside it")
                if name not in sizes:
                    sizes[name] = check_file(path.with_name(name), LARGEST_WEIGHTS)
                room = sizes[name]
            place = {entry.key: entry.value for entry in tensor.external_data}
            offset = int(place.get("offset") or 0)
            length = int(place.get("length") or room - offset)
            if offset < 0 or length < 0 or offset + length > room:
                raise ModelFilesInvalid(place["location"], f"has {room:,} bytes, fewer than '{path.name}' wants of it")
            taken[place["location"]] = taken.get(place["location"], 0) + length
            # Weights may be shared; but readers that hold each by itself would need memory for all.
            if taken[place["location"]] > 4 * room:
                raise ModelFilesInvalid(path.name, "takes the same weights again and again")
        # No type takes less than two bits.
        if len(tensor.dims) > MOST_AXES or min(tensor.dims, default=0) < 0 or prod(tensor.dims) > 4 * room:
            raise ModelFilesInvalid(
                path.name, f"has weights of shape {list(tensor.dims)[:8]}, which no file of this size holds"
            )
