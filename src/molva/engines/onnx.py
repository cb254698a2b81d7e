"""ONNX Runtime sessions: one thread each, on the asked device or not at all."""

from pathlib import Path

import onnxruntime

from molva.errors import DeviceUnavailable, ModelFilesInvalid

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider", "coreml": "CoreMLExecutionProvider"}

HOW_TO_GET = {
    "cuda": "Install onnxruntime-gpu in place of onnxruntime, with CUDA 12 and cuDNN 9, or use --device cpu.",
    "coreml": "CoreML needs macOS; use --device cpu.",
}


def open_session(path: Path, device: str = "cpu") -> onnxruntime.InferenceSession:
    """Load a graph. Its session may be run from several threads at once; each run uses the caller's thread only.

    Raises DeviceUnavailable where this build of ONNX Runtime or this machine lacks the device, ModelFilesInvalid
    where the file is no loadable graph.
    """
    provider = find_provider(device)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # its warnings speak of graph details that a user cannot change
    try:
        session = onnxruntime.InferenceSession(
            path, options, providers=list(dict.fromkeys([provider, PROVIDERS["cpu"]]))
        )
    except Exception as error:  # onnxruntime's exceptions share no base of their own
        raise ModelFilesInvalid(path.name, "ONNX Runtime cannot load it; it is damaged or not an ONNX graph") from error
    if session.get_providers()[0] != provider:  # it falls back to the CPU without an error
        raise DeviceUnavailable(f"'{device}' was found but could not be started. {HOW_TO_GET[device]}")
    return session


def find_provider(device: str) -> str:
    """ONNX Runtime's name for a device. Raises DeviceUnavailable where this build cannot use it."""
    provider = PROVIDERS.get(device)
    if provider is None:
        raise DeviceUnavailable(f"Unknown device '{device}'. Choose one of: {', '.join(PROVIDERS)}.")
    if provider not in onnxruntime.get_available_providers():
        raise DeviceUnavailable(f"This build of ONNX Runtime has no support for '{device}'. {HOW_TO_GET[device]}")
    return provider
