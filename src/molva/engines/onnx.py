"""ONNX Runtime sessions: on the asked device or not at all, with as many threads as asked."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import onnxruntime

from molva.engines.files import reading
from molva.engines.structure import inspect
from molva.errors import DeviceUnavailable

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider", "coreml": "CoreMLExecutionProvider"}

OPTIONS = {
    # By its documentation: the default of the first tries all algorithms of a convolution for each new length of the
    # input, and each window has one of its own; that of the second takes memory in steps that double.
    "cuda": {"cudnn_conv_algo_search": "HEURISTIC", "arena_extend_strategy": "kSameAsRequested"},
}
SPIN_US = "10"
"""How long a thread waits for the next operator before it sleeps. Over two idle cores a run takes 10 % less than where
it sleeps at once. Where something else keeps one of them busy it takes 8 % more, and 60 % without a bound."""
SPINS_BRIEFLY = tuple(map(int, onnxruntime.__version__.split(".")[:2])) >= (1, 27)
"""Whether this ONNX Runtime knows such a bound; others spin for milliseconds."""

HOW_TO_GET = {
    "cuda": "Install onnxruntime-gpu in place of onnxruntime, with CUDA 12 and cuDNN 9, or use --device cpu.",
    "coreml": "CoreML needs macOS; use --device cpu.",
}


def open_session(
    path: Path, device: str = "cpu", *, threads: int = 1, as_saved: bool = False
) -> onnxruntime.InferenceSession:
    """Load a graph. Its session may be run from several threads at once.

    `threads`: what one run may use, the caller's among them. `as_saved`: the graph is one of `save_packed`.
    Raises DeviceUnavailable where this build of ONNX Runtime or this machine lacks the device, ModelFilesInvalid
    where the file is no loadable graph, or one that molva does not trust.
    """
    inspect(path, packed=as_saved)
    return _start(path, device, threads, as_saved)


def open_sessions(
    path: Path, device: str, *, threads: Sequence[int], as_saved: bool = False
) -> list[onnxruntime.InferenceSession]:
    """A session of one graph for each number of threads, opened side by side. Otherwise as `open_session`."""
    inspect(path, packed=as_saved)
    with ThreadPoolExecutor() as pool:
        return list(pool.map(lambda count: _start(path, device, count, as_saved), threads))


def save_packed(source: Path, target: Path, weights: str) -> None:
    """Save a graph as it is after optimisation, with weights packed for this CPU in a file `weights` beside it.

    Sessions map that file, so it loads without work and is in memory once. Raises ModelFilesInvalid.
    """
    options = _options(threads=1)
    options.optimized_model_filepath = str(target)
    options.add_session_config_entry("session.optimized_model_external_initializers_file_name", weights)
    options.add_session_config_entry("session.optimized_model_external_initializers_min_size_in_bytes", "1024")
    options.add_session_config_entry("session.save_external_prepacked_constant_initializers", "1")
    _open(source, options, {PROVIDERS["cpu"]: {}})


def _start(path: Path, device: str, threads: int, as_saved: bool) -> onnxruntime.InferenceSession:
    provider = find_provider(device)
    options = _options(threads)
    if as_saved:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = _open(path, options, {provider: OPTIONS.get(device, {}), PROVIDERS["cpu"]: {}})
    if session.get_providers()[0] != provider:  # it falls back to the CPU without an error
        raise DeviceUnavailable(f"'{device}' was found but could not be started. {HOW_TO_GET[device]}")
    return session


def _options(threads: int) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if SPINS_BRIEFLY else "0")
    options.add_session_config_entry("session.intra_op.spin_duration_us", SPIN_US)
    # One plan of memory for each length that it has seen: 26 MB after a few windows, and no time won.
    options.enable_mem_pattern = False
    options.log_severity_level = 3  # its warnings speak of graph details that a user cannot change
    return options


def _open(
    path: Path, options: onnxruntime.SessionOptions, providers: dict[str, dict[str, str]]
) -> onnxruntime.InferenceSession:
    """`providers`: options of each, the preferred one first."""
    with reading(path, "ONNX Runtime cannot load it; it is damaged or not an ONNX graph"):
        # From the CPU it would fall back to the CPU, and print that on standard output.
        return onnxruntime.InferenceSession(
            path, options, providers=list(providers.items()), enable_fallback=int(len(providers) > 1)
        )


def find_provider(device: str) -> str:
    """ONNX Runtime's name for a device. Raises DeviceUnavailable where this build cannot use it."""
    provider = PROVIDERS.get(device)
    if provider is None:
        raise DeviceUnavailable(f"Unknown device '{device}'. Choose one of: {', '.join(PROVIDERS)}.")
    if provider not in onnxruntime.get_available_providers():
        raise DeviceUnavailable(f"This build of ONNX Runtime has no support for '{device}'. {HOW_TO_GET[device]}")
    return provider
