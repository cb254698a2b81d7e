"""A file of speech -> text, by each engine. Their libraries are imported in their own processes only."""

import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np

from molva.samples import Samples

Recognize = Callable[[Path], str]
"""A WAV file -> its text."""

MOLVA_MODEL = "gigaam-v3-rnnt"
WHISPER_MODEL = "whisper-base"


def load_molva(folder: Path, threads: int, device: str) -> Recognize:
    """molva's engine, as its scheduler calls it."""
    return _molva(folder, threads, device, "auto")


def load_molva_fp16(folder: Path, threads: int, device: str) -> Recognize:
    """The same in FP16, on a GPU."""
    return _molva(folder, threads, device, "fp16")


def _molva(folder: Path, threads: int, device: str, precision: str) -> Recognize:
    from molva.engines.base import Options
    from molva.models.store import ModelStore
    from molva.runtime.loading import load_engine
    from molva.runtime.provision import Hub, choose_model

    model = choose_model(MOLVA_MODEL, ModelStore(folder), Hub.from_environment()).model
    engine = load_engine(model, device=device, precision=precision, workers=threads)
    return lambda path: engine.transcribe([read_wav(path)], Options())[0].text


def load_library(folder: Path, threads: int, device: str) -> Recognize:
    """molva as a library: containers decoded, voice activity found, windows planned, scheduled and stitched."""
    from molva.library import Transcriber

    transcriber = Transcriber(MOLVA_MODEL, model_dir=folder, workers=threads, device=device)
    return lambda path: transcriber.transcribe(str(path)).text


def load_onnx_asr_fp32(folder: Path, threads: int, device: str) -> Recognize:
    """onnx-asr with the published graphs."""
    return _onnx_asr(folder, threads, device, None)


def load_onnx_asr_int8(folder: Path, threads: int, device: str) -> Recognize:
    """onnx-asr with an INT8 encoder."""
    return _onnx_asr(folder, threads, device, "int8")


def _onnx_asr(folder: Path, threads: int, device: str, quantization: str | None) -> Recognize:
    import onnx_asr
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    providers = ["CUDAExecutionProvider"] if device == "cuda" else ["CPUExecutionProvider"]
    model = onnx_asr.load_model(
        "gigaam-v3-rnnt", folder, quantization=quantization, sess_options=options, providers=providers
    )
    return lambda path: str(model.recognize(path))


def load_gigastt(folder: Path, threads: int, device: str) -> Recognize:
    """gigastt's bindings. They use one thread, on the CPU."""
    del threads, device
    import gigastt_uniffi

    engine = gigastt_uniffi.Engine.new_with_pool_size(str(folder), 1)
    return lambda path: str(engine.transcribe_file(str(path)).text)


def load_faster_whisper(folder: Path, threads: int, device: str) -> Recognize:
    """faster-whisper with the options that molva's engine gives it, without retries by sampling."""
    from faster_whisper import WhisperModel

    from molva.engines.whisper import COMPUTE_TYPES, DECODING
    from molva.models.store import ModelStore
    from molva.runtime.provision import Hub, choose_model

    files = choose_model(WHISPER_MODEL, ModelStore(folder), Hub.from_environment()).model.directory
    model = WhisperModel(
        str(files), device=device, compute_type=COMPUTE_TYPES[device], cpu_threads=threads, local_files_only=True
    )

    def recognize(path: Path) -> str:
        segments, _ = model.transcribe(str(path), language="ru", **{**DECODING, "temperature": 0.0})
        return "".join(segment.text for segment in segments)

    return recognize


def read_wav(path: Path) -> Samples:
    """Mono PCM16 at 16 kHz."""
    with wave.open(str(path)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), np.int16).astype(np.float32) / np.float32(32768)
