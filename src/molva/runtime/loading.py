"""A model's files -> a loaded, warmed-up engine. Encoders are rebuilt where that pays."""

import logging
import shutil
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
from molva.engines.cpu import has_wide_accumulation, usable_cores
from molva.engines.gigaam.features import SPECS, log_mel
from molva.engines.gigaam.model import GigaamEngine, GigaamFiles, load_gigaam, read_config
from molva.engines.gigaam.rebuild import GRAPH, WEIGHTS, find_rebuilt, is_sound
from molva.engines.gigaam.rebuild_process import rebuild_apart
from molva.engines.gigaam.weights import Format
from molva.engines.onnx import find_provider
from molva.errors import InferenceError, ModelError, ModelFilesInvalid, ModelNotInstalled
from molva.models.catalog import REBUILT_FORMS, int8_names, rebuilt_name
from molva.models.store import InstalledModel
from molva.runtime.memory import give_memory_back
from molva.samples import SAMPLE_RATE, Samples, seconds
from molva.speech.vad import VadModel, VadStream

log = logging.getLogger(__name__)

TRIAL_S = 1
"""Of speech, by which GigaAM is tried once it is loaded. Five would take a sixth of the load at full size."""


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

    `precision`: `int8`, `u8`, `fp16`, `fp32`, or `auto` for INT8 on a CPU and FP32 elsewhere. Raises ModelError.
    """
    spec = model.spec
    if spec.family == "whisper":
        engine = whisper.load(model.directory, model=spec.name, variant=spec.variant, device=device, workers=workers)
        _try(engine, "model.bin", sample_speech())
        return engine
    encoder = choose_encoder(model, device=device, precision=precision)
    if encoder.saturates:
        log.warning(
            "%s is too wide for this CPU, which has no VNNI: recognition will suffer. Serve with --precision fp32.",
            encoder.path.name,
        )
    try:
        return _load_gigaam(model, encoder, device=device, workers=workers)
    except ModelFilesInvalid as error:
        if not encoder.is_rebuilt or error.file_name not in (GRAPH, WEIGHTS):
            raise
        log.warning("%s is damaged and made anew: %s", encoder.path.parent.name, error)
    shutil.rmtree(encoder.path.parent, ignore_errors=True)
    encoder = choose_encoder(model, device=device, precision=precision)
    return _load_gigaam(model, encoder, device=device, workers=workers)


def _load_gigaam(model: InstalledModel, encoder: "EncoderChoice", *, device: str, workers: int) -> GigaamEngine:
    engine = load_gigaam(
        gigaam_files(model, encoder.path),
        model=model.spec.name,
        variant=model.spec.variant,
        languages=model.spec.languages,
        punctuation=model.spec.punctuation,
        precision=encoder.precision,
        device=device,
        rebuilt=encoder.is_rebuilt,
        threads=min(workers, usable_cores()),
    )
    _try(engine, encoder.path.name, sample_speech()[: TRIAL_S * SAMPLE_RATE])
    return engine


def _try(engine: Engine, file_name: str, speech: Samples) -> None:
    """Run an engine once, which warms it up. Raises ModelFilesInvalid where that fails."""
    try:
        engine.transcribe([speech], Options())
    except InferenceError as error:
        raise ModelFilesInvalid(file_name, f"fails at real speech: {error}") from error


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
    # As often as it takes for one worker to be on its own with it.
    clip = np.tile(sample_speech(), 1 + int(engine.info.longest_wide_s / seconds(sample_speech().size)))
    started = time.perf_counter()
    engine.transcribe([clip], Options())
    return (time.perf_counter() - started) / seconds(clip.size)


@dataclass(frozen=True)
class EncoderChoice:
    """A graph, and what its weights are."""

    path: Path
    precision: str
    is_rebuilt: bool = False
    saturates: bool = False
    """Whether its INT8 loses most of the signal on this CPU. Files of other makers have 8 bits."""


def choose_encoder(model: InstalledModel, *, device: str, precision: str) -> EncoderChoice:
    """The encoder to load: on a CPU rebuilt with INT8 weights, now if need be; FP32 on an accelerator, or FP16, which
    is rebuilt too.

    INT8 files of other makers are for folders without the FP32 one, and where that cannot be rebuilt. FP32 stays as
    published: rebuilt it is 3 % faster, for another gigabyte on the disk. Raises ModelError when the asked precision
    cannot be had.
    """
    full, foreign = fp32_encoder(model), foreign_encoder(model, device)
    form = wanted_format(model, device=device, precision=precision)
    if form == "fp32":
        if not full.exists():
            raise ModelNotInstalled(f"'{full.name}' is not here; only its INT8 form is. Use --precision int8.")
        return EncoderChoice(full, "fp32")
    if form == "fp16" and (device != "cuda" or not full.exists()):
        raise ModelNotInstalled(f"Only for --device cuda, and of '{full.name}', is FP16 made. Use another --precision.")
    if form != "fp16" and (device != "cpu" or not full.exists()):
        if foreign is None or precision == "u8":
            raise ModelNotInstalled(f"Only on a CPU, and of '{full.name}', can INT8 be made. Use --precision fp32.")
        return foreign
    try:
        graph = find_rebuilt(full, rebuilt_folder(model, form), form) or rebuild(model, form)
    except ModelError as error:
        if precision == "auto" or (precision == "int8" and foreign):
            choice = foreign if foreign and not foreign.saturates else EncoderChoice(full, "fp32")
            log.warning("serving %s, which is slower: %s", choice.path.name, error)
            return choice
        raise
    return EncoderChoice(graph, form if form in ("u8", "fp16") else "int8", is_rebuilt=True)


def wanted_format(model: InstalledModel, *, device: str, precision: str) -> Format:
    """What weights are to be loaded."""
    if precision == "auto":
        precision = "int8" if device == "cpu" or not fp32_encoder(model).exists() else "fp32"
    return weights_format(precision)


def weights_format(precision: str) -> Format:
    """What a precision means on this machine."""
    named: dict[str, Format] = {"fp32": "fp32", "fp16": "fp16", "u8": "u8"}
    return named.get(precision) or ("s8" if has_wide_accumulation() else "s7")


def rebuild(model: InstalledModel, form: Format) -> Path:
    """Rebuild the encoder, check it against FP32 on real speech, and return the path of the graph. Takes a minute.

    What was made for another state of the source or of the machine goes. Raises ModelNotInstalled without an FP32
    encoder, ModelError where the result is wrong or cannot be written.
    """
    encoder, folder = fp32_encoder(model), rebuilt_folder(model, form)
    if not encoder.exists():
        raise ModelNotInstalled(f"'{encoder.name}' is not here; smaller weights are made from it.")
    log.info("rebuilding %s for this machine, once", encoder.name)
    version = read_config(gigaam_files(model, encoder)).version
    agreement = rebuild_apart(encoder, folder, form, sample_speech(), version)
    log.info("%s agrees with FP32 to %.4f", folder.name, agreement)
    remove_stale(model)
    graph = find_rebuilt(encoder, folder, form)
    if graph is None:
        raise ModelError(f"'{encoder.name}' has changed while it was rebuilt. Start again.")
    return graph


def remove_stale(model: InstalledModel) -> None:
    """Remove rebuilt encoders of a source, recipe or machine that is no more."""
    for form in REBUILT_FORMS:
        folder = rebuilt_folder(model, form)
        if folder.exists() and find_rebuilt(fp32_encoder(model), folder, form) is None:
            shutil.rmtree(folder, ignore_errors=True)


def damaged_rebuilt(model: InstalledModel) -> list[Path]:
    """Folders of rebuilt encoders whose files are not what was checked when they were made. Reads all of them."""
    if model.spec.family != "gigaam":
        return []
    folders = (rebuilt_folder(model, form) for form in REBUILT_FORMS)
    return [folder for folder in folders if folder.exists() and not is_sound(folder)]


def rebuilt_folder(model: InstalledModel, form: Format) -> Path:
    """Where the rebuilt encoder is or would be."""
    return model.directory / rebuilt_name(fp32_encoder(model).name, form)


def fp32_encoder(model: InstalledModel) -> Path:
    """Where the FP32 encoder is or would be."""
    [name] = (file.name for file in model.spec.files if int8_names(file.name))
    return model.directory / name


def foreign_encoder(model: InstalledModel, device: str) -> EncoderChoice | None:
    """The INT8 encoder of another maker, where there is one."""
    candidates = (model.directory / name for name in int8_names(fp32_encoder(model).name))
    path = next((path for path in candidates if path.exists()), None)
    if path is None:
        return None
    return EncoderChoice(path, "int8", saturates=device == "cpu" and not has_wide_accumulation())


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
