"""A model's files -> a loaded, warmed-up engine. INT8 forms are made here where they pay."""

import logging
import time
import wave
from dataclasses import dataclass
from functools import cache
from importlib import resources
from io import BytesIO
from math import ceil
from pathlib import Path

import numpy as np

from molva import assets
from molva.audio.array import open_audio
from molva.engines import whisper
from molva.engines.base import Engine, EngineInfo, Options
from molva.engines.cpu import has_wide_accumulation
from molva.engines.gigaam.features import SPECS, log_mel
from molva.engines.gigaam.model import GigaamFiles, load_gigaam, read_config
from molva.engines.gigaam.quantize import int8_path, saturates
from molva.engines.gigaam.quantize_process import quantize_apart
from molva.engines.onnx import find_provider
from molva.errors import ModelError, ModelNotInstalled
from molva.models.catalog import int8_names
from molva.models.store import InstalledModel
from molva.runtime.memory import give_memory_back
from molva.samples import SAMPLE_RATE, Samples, seconds
from molva.speech.vad import VadModel, VadStream

log = logging.getLogger(__name__)


def warm_road(vad: VadModel) -> None:
    """Run once what every engine needs around it: decoding, resampling, voice activity, features.

    So that the first request is as quick as the next, and what a model takes is all that its unloading gives back.
    """
    telephone = sample_speech().reshape(-1, 2)[:, 0]
    file = BytesIO()
    with wave.open(file, "wb") as clip:
        clip.setparams((1, 2, SAMPLE_RATE // 2, 0, "NONE", ""))
        clip.writeframes((telephone * 32767).astype(np.int16).tobytes())
    stream = VadStream(vad)
    with open_audio(file.getvalue()) as reader:
        for block in reader:
            stream.feed(block)
            log_mel(block, SPECS["v3"])


@cache
def sample_speech() -> Samples:
    """Five seconds of real speech, shipped with molva, to warm engines up and to check them with."""
    with (resources.files(assets) / "speech.wav").open("rb") as file, wave.open(file) as clip:
        return np.frombuffer(clip.readframes(clip.getnframes()), np.int16).astype(np.float32) / np.float32(32768)


def load_engine(model: InstalledModel, *, device: str, precision: str, workers: int) -> Engine:
    """Load a model for `workers` calling threads and run it once.

    `precision`: `int8`, `fp32`, or `auto` for what is fastest on the device. Raises ModelError.
    """
    spec = model.spec
    engine: Engine
    if spec.family == "whisper":
        engine = whisper.load(model.directory, model=spec.name, variant=spec.variant, device=device, workers=workers)
    else:
        encoder = choose_encoder(model, device=device, precision=precision)
        warn_of_saturation(model, encoder, device)
        engine = load_gigaam(
            gigaam_files(model, encoder.path),
            model=spec.name,
            variant=spec.variant,
            languages=spec.languages,
            punctuation=spec.punctuation,
            precision=encoder.precision,
            device=device,
        )
    engine.transcribe([sample_speech()], Options())
    return engine


def prepare(model: InstalledModel, *, device: str, precision: str) -> EngineInfo:
    """All that loading needs but the memory: libraries imported, device found, INT8 made. Raises ModelError.

    What is known of the model then; the size of its vocabulary is not, and is 0.
    """
    spec = model.spec
    if spec.family == "whisper":
        whisper.prepare(device)
        precision = whisper.COMPUTE_TYPES[device]
    else:
        find_provider(device)
        precision = choose_encoder(model, device=device, precision=precision).precision
    return EngineInfo(
        model=spec.name,
        family="whisper" if spec.family == "whisper" else "gigaam",
        variant=spec.variant,
        languages=spec.languages,
        tasks=whisper.tasks(spec.variant) if spec.family == "whisper" else ("transcribe",),
        vocabulary_size=0,
        precision=precision,
        device=device,
        punctuation=spec.punctuation,
        may_repeat=spec.family == "whisper",
    )


def rehearse(model: InstalledModel, *, device: str, precision: str, workers: int) -> EngineInfo:
    """Load a model once and let it go; what is known of it then.

    What is wrong with it shows now and not to the first who needs it, and what its library sets up at the first run,
    and keeps, is set up. Raises ModelError.
    """
    info = load_engine(model, device=device, precision=precision, workers=workers).info
    give_memory_back()
    return info


def size_mb(model: InstalledModel) -> int:
    """Size of a model's files in MiB: about the memory that its weights take as they are."""
    sizes = [path.stat().st_size for file in model.spec.files if (path := model.directory / file.name).exists()]
    return ceil(sum(sizes) / 2**20)


def measure(engine: Engine) -> float:
    """Seconds of one worker for a second of audio, on the shipped clip. The engine has been warmed up."""
    clip = sample_speech()
    started = time.perf_counter()
    engine.transcribe([clip], Options())
    return (time.perf_counter() - started) / seconds(clip.size)


@dataclass(frozen=True)
class Encoder:
    """A graph and the precision of its weights."""

    path: Path
    precision: str


def choose_encoder(model: InstalledModel, *, device: str, precision: str) -> Encoder:
    """The encoder to load: INT8 on a CPU, made from FP32 where it is missing; FP32 on an accelerator.

    Raises ModelError when the asked precision cannot be had.
    """
    full, quantized = fp32_encoder(model), int8_encoder(model)
    if precision == "fp32" or (precision == "auto" and device != "cpu" and full.exists()):
        if not full.exists():
            raise ModelNotInstalled(f"'{full.name}' is not here; only its INT8 form is. Use --precision int8.")
        return Encoder(full, "fp32")
    if quantized is None:
        try:
            quantized = quantize(model)
        except ModelError as error:
            if precision == "int8":
                raise
            log.warning("serving FP32, which is slower: %s", error)
            return Encoder(full, "fp32")
    return Encoder(quantized, "int8")


def warn_of_saturation(model: InstalledModel, encoder: Encoder, device: str) -> None:
    """Say so where an INT8 encoder will lose its signal on this CPU."""
    if device == "cpu" and encoder.precision == "int8" and saturates(encoder.path):
        log.warning(
            "%s was made for CPUs with VNNI, which this one lacks: recognition will suffer. "
            "Run `molva quantize --force %s`, or serve with --precision fp32.",
            encoder.path.name,
            model.spec.name,
        )


def quantize(model: InstalledModel) -> Path:
    """Make the INT8 encoder, check it against FP32 on real speech, and return its path. Takes minutes.

    Raises ModelNotInstalled without an FP32 encoder, ModelError where the result is wrong or cannot be written.
    """
    encoder = fp32_encoder(model)
    if not encoder.exists():
        raise ModelNotInstalled(f"'{encoder.name}' is not here; INT8 is made from it.")
    log.info("making the INT8 form of %s, once", encoder.name)
    version = read_config(gigaam_files(model, encoder)).version
    agreement = quantize_apart(encoder, sample_speech(), version, wide=has_wide_accumulation())
    log.info("%s agrees with FP32 to %.4f", int8_path(encoder).name, agreement)
    return int8_path(encoder)


def fp32_encoder(model: InstalledModel) -> Path:
    """Where the FP32 encoder is or would be."""
    [name] = (file.name for file in model.spec.files if int8_names(file.name))
    return model.directory / name


def int8_encoder(model: InstalledModel) -> Path | None:
    """The INT8 encoder, where there is one."""
    candidates = (model.directory / name for name in int8_names(fp32_encoder(model).name))
    return next((path for path in candidates if path.exists()), None)


def gigaam_files(model: InstalledModel, encoder: Path) -> GigaamFiles:
    """The files of a model by their roles."""
    paths = [model.directory / file.name for file in model.spec.files]

    def find(suffix: str) -> Path | None:
        return next((path for path in paths if path.name.endswith(suffix) and path.exists()), None)

    vocabulary = find("_vocab.txt")
    assert vocabulary is not None  # noqa: S101 - an installed model has one
    return GigaamFiles(
        encoder=encoder,
        vocabulary=vocabulary,
        config=find("config.json"),
        decoder=find("_decoder.onnx"),
        joint=find("_joint.onnx"),
    )
