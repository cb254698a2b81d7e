"""A model's files -> a loaded, warmed-up engine. INT8 forms are made here where they pay."""

import logging
import time
import wave
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np

from molva import assets
from molva.engines import whisper
from molva.engines.base import Engine, Options
from molva.engines.cpu import has_wide_accumulation
from molva.engines.gigaam.model import GigaamFiles, load_gigaam, read_config
from molva.engines.gigaam.quantize import int8_path, quantize_encoder, saturates
from molva.errors import ModelError, ModelNotInstalled
from molva.models.catalog import int8_names
from molva.models.store import InstalledModel
from molva.samples import Samples, seconds

log = logging.getLogger(__name__)


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
    if device == "cpu" and saturates(quantized):
        log.warning(
            "%s was made for CPUs with VNNI, which this one lacks: recognition will suffer. "
            "Run `molva quantize --force %s`, or serve with --precision fp32.",
            quantized.name,
            model.spec.name,
        )
    return Encoder(quantized, "int8")


def quantize(model: InstalledModel) -> Path:
    """Make the INT8 encoder, check it against FP32 on real speech, and return its path. Takes minutes.

    Raises ModelNotInstalled without an FP32 encoder, ModelError where the result is wrong or cannot be written.
    """
    encoder = fp32_encoder(model)
    if not encoder.exists():
        raise ModelNotInstalled(f"'{encoder.name}' is not here; INT8 is made from it.")
    log.info("making the INT8 form of %s, once", encoder.name)
    version = read_config(gigaam_files(model, encoder)).version
    agreement = quantize_encoder(encoder, sample_speech(), version, wide=has_wide_accumulation())
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
