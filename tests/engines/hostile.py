"""ONNX files as somebody would make them who means harm, and a watch over files that must not be opened."""

import ctypes
import os
import select
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SECRET = np.ones(64, np.float32).tobytes()
"""As many weights as the graphs here take: it could be read in their place."""
WIDTH = 64
IN_OPEN = 0x20


@contextmanager
def watched(*paths: Path) -> Iterator[Callable[[], bool]]:
    """Whether one of the files was opened, by whatever code of whatever process. Linux's inotify."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.inotify_init1(os.O_NONBLOCK)
    assert descriptor >= 0, os.strerror(ctypes.get_errno())
    try:
        for path in paths:
            assert libc.inotify_add_watch(descriptor, os.fsencode(path), IN_OPEN) >= 0, path
        yield lambda: bool(select.select([descriptor], [], [], 0)[0])
    finally:
        os.close(descriptor)


def run_bounded(code: str, *arguments: str | Path, gigabytes: int = 4, cpu_s: int = 60) -> str:
    """What a program prints that may take so much address space and processor time. Whoever takes more is killed."""
    limits = (
        f"import resource as r; r.setrlimit(r.RLIMIT_AS, ({gigabytes} << 30,) * 2); "
        f"r.setrlimit(r.RLIMIT_CPU, ({cpu_s}, {cpu_s})); r.setrlimit(r.RLIMIT_CORE, (0, 0))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", limits + code, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"it ended with {done.returncode}: {done.stderr[-2000:]}"
    return done.stdout


def graph(
    nodes: Sequence[onnx.NodeProto] | None = None,
    tensors: Sequence[TensorProto] = (),
    *,
    opset: int = 17,
    ir_version: int = 8,
    functions: Sequence[onnx.FunctionProto] = (),
    domains: Sequence[str] = (),
) -> onnx.ModelProto:
    """A graph with an encoder's inputs; without `nodes` it adds the tensor `w` to its features."""
    nodes = nodes or [helper.make_node("Add", ["x", "w"], ["y"])]
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", WIDTH, "frames"]),
        helper.make_tensor_value_info("lengths", TensorProto.INT64, ["batch"]),
    ]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    return helper.make_model(
        helper.make_graph(nodes, "hostile", inputs, outputs, list(tensors)),
        opset_imports=[helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)],
        ir_version=ir_version,
        functions=list(functions),
    )


def weights(dims: Sequence[int] = (1, WIDTH, 1)) -> TensorProto:
    """The tensor `w`: 64 numbers, whatever its dimensions claim."""
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, raw_data=SECRET)
    tensor.dims.extend(dims)
    return tensor


def outside(location: str, dims: Sequence[int] = (1, WIDTH, 1), **more: object) -> TensorProto:
    """The tensor `w` in another file."""
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    tensor.dims.extend(dims)
    for key, value in {"location": location, **more}.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, str(value)
    return tensor


def endless(kind: str = "Loop") -> onnx.ModelProto:
    """A loop whose condition stays true."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["c_out"]), helper.make_node("Identity", ["v"], ["v_out"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("c", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("c_out", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v_out", TensorProto.FLOAT, None),
        ],
    )
    true = numpy_helper.from_array(np.array(True), "true")
    return graph([helper.make_node(kind, ["", "true", "x"], ["y"], body=body)], [true])


def branches(node: onnx.NodeProto, depth: int = 1) -> onnx.ModelProto:
    """`node`, which computes `y`, in a branch of a branch, `depth` deep."""
    result = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    for _ in range(depth):
        inner = helper.make_graph([node], "branch", [], result)
        node = helper.make_node("If", ["true"], ["y"], then_branch=inner, else_branch=inner)
    return graph([node], [numpy_helper.from_array(np.array(True), "true")])


def doubling(levels: int) -> onnx.ModelProto:
    """Functions that call the one before twice each: 2 ** `levels` nodes in a few hundred bytes for each level."""
    functions = [
        helper.make_function(
            "d", "f0", ["a"], ["b"], [helper.make_node("Neg", ["a"], ["b"])], [helper.make_opsetid("", 17)]
        )
    ]
    for level in range(1, levels + 1):
        calls = [
            helper.make_node(f"f{level - 1}", ["a"], ["m"], domain="d"),
            helper.make_node(f"f{level - 1}", ["m"], ["b"], domain="d"),
        ]
        functions.append(helper.make_function("d", f"f{level}", ["a"], ["b"], calls, [helper.make_opsetid("d", 1)]))
    return graph([helper.make_node(f"f{levels}", ["x"], ["y"], domain="d")], functions=functions, domains=["d"])


def recursive() -> onnx.ModelProto:
    """A function that calls itself."""
    call = helper.make_node("f", ["a"], ["b"], domain="d")
    function = helper.make_function("d", "f", ["a"], ["b"], [call], [helper.make_opsetid("d", 1)])
    return graph([helper.make_node("f", ["x"], ["y"], domain="d")], functions=[function], domains=["d"])


def sparse() -> onnx.ModelProto:
    """One number that stands for eight terabytes."""
    tensor = onnx.SparseTensorProto(
        dims=[1 << 20, 1 << 21],
        values=numpy_helper.from_array(np.ones(1, np.float32), "w"),
        indices=numpy_helper.from_array(np.zeros(1, np.int64), "at"),
    )
    model = graph()
    model.graph.sparse_initializer.append(tensor)
    return model
