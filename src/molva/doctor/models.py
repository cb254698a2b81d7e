"""The model that would be served: whether it is here, whole, in the right precision, and how fast it is."""

from collections.abc import Iterator

from rich.filesize import decimal

from molva.doctor.finding import Finding, ok, problem, warning
from molva.engines.cpu import usable_cores
from molva.engines.gigaam.rebuild import find_rebuilt
from molva.engines.gigaam.weights import Format
from molva.errors import DiarizationUnavailable, ModelError
from molva.models import packages
from molva.models.catalog import DEFAULT_MODEL, SPEAKERS, ModelSpec, find
from molva.models.store import InstalledModel, ModelStore
from molva.runtime.capacity import SESSION_OVERHEAD, sustained_sessions
from molva.runtime.loading import (
    damaged_rebuilt,
    foreign_encoder,
    fp32_encoder,
    load_engine,
    measure,
    rebuilt_folder,
    size_mb,
    wanted_format,
)
from molva.runtime.provision import AUTO, choose_here
from molva.runtime.speakers import Speakers

SHARES: dict[Format, float] = {"fp32": 1.0, "fp16": 0.5, "s8": 0.26, "s7": 0.26, "u8": 0.26}
"""What weights take of the FP32 encoder's size."""


def locate(name: str, store: ModelStore) -> tuple[ModelSpec, InstalledModel | None]:
    """What a start would serve, and where it is; None where it would have to be brought. Raises UnknownModel."""
    if name != AUTO:
        return find(name), store.locate(find(name))
    if choice := choose_here(store):
        return choice.model.spec, choice.model
    return find(DEFAULT_MODEL), None


def check_model(spec: ModelSpec, model: InstalledModel | None, store: ModelStore) -> Finding:
    """Whether it is here."""
    if model:
        return ok("model", f"{spec.name} in {model.directory}, {decimal(size_mb(model) * 2**20)}")
    if packages.whisper_base_packages() and spec == packages.SPEC:
        return ok("model", f"{spec.name} will be put together out of its data packages at the first start")
    size = "its size is not known" if spec.size_bytes is None else decimal(spec.size_bytes)
    return warning(
        "model",
        f"{spec.name} is not in {store.directory}; the first start downloads it ({size})",
        f"molva models pull {spec.name}, or carry it over: docs/deploy.md",
    )


def check_files(model: InstalledModel, store: ModelStore) -> Finding:
    """Hash its files. Reads all of them."""
    checks = store.verify(model.spec)
    bad = [check.name for check in checks if check.outcome in ("mismatch", "missing")]
    if bad:
        name = model.spec.name
        return problem(
            "files", f"{', '.join(bad)}: damaged", f"molva models remove {name} --yes && molva models pull {name}"
        )
    if folders := [str(folder) for folder in damaged_rebuilt(model)]:
        return problem("files", f"{', '.join(folders)}: damaged", "Remove it; what is needed is made anew.")
    unknown = sum(check.outcome == "unknown" for check in checks)
    return ok(
        "files", f"{len(checks)} hashed" + (f", {unknown} of them made here or without a known hash" * (unknown > 0))
    )


def check_precision(model: InstalledModel, *, device: str, precision: str) -> Finding | None:
    """Whether the weights that will be loaded are here, and right for this processor. None where that is no matter."""
    if model.spec.family != "gigaam":
        return None
    full, foreign = fp32_encoder(model), foreign_encoder(model, device)
    form = wanted_format(model, device=device, precision=precision)
    if form == "fp32":
        if full.exists():
            return ok("precision", "fp32")
        return problem("precision", f"{full.name} is not here; only its INT8 form is", "Use --precision int8.")
    if form == "fp16" and device != "cuda":
        return problem("precision", "FP16 is for GPUs", "Use --device cuda, or --precision auto.")
    if full.exists() and (device == "cpu" or form == "fp16"):
        folder = rebuilt_folder(model, form)
        if find_rebuilt(full, folder, form):
            return ok("precision", f"{'fp16' if form == 'fp16' else 'int8'}: {folder.name}")
        option = "" if precision == "auto" else f" --precision {precision}"
        return warning(
            "precision",
            "the encoder will be rebuilt at the first start, which takes a minute and 2 GB of memory",
            f"molva quantize {model.spec.name}{option}",
        )
    if form == "fp16":
        return problem("precision", f"FP16 is made of {full.name}, which is not here", "Use --precision int8.")
    if foreign is None:
        return problem("precision", "INT8 is made on a CPU, and there is none here", "Use --precision fp32.")
    if foreign.saturates:
        return problem(
            "precision",
            f"{foreign.path.name} was made for processors with VNNI, which this one lacks: recognition suffers",
            f"molva models pull {model.spec.name}, which gets {full.name}.",
        )
    return ok("precision", f"int8: {foreign.path.name}")


def check_speakers(store: ModelStore, *, wanted: bool) -> Finding:
    """Whether speakers can be told apart; no matter where nobody wants it by default."""
    try:
        Speakers(store).load()
    except DiarizationUnavailable as error:
        if wanted:
            return problem("speakers", "--diarization is on, and cannot be served", str(error))
        if store.locate(SPEAKERS):
            return warning("speakers", "their models are here and cannot be used", str(error))
        return ok("speakers", "not told apart: their models are not here")
    return ok("speakers", "can be told apart")


def weights_bytes(spec: ModelSpec, model: InstalledModel | None, *, device: str, precision: str) -> int:
    """About what the weights take in memory."""
    if model is None:
        return spec.size_bytes or 0
    total = size_mb(model) * 2**20
    if spec.family == "gigaam" and (full := fp32_encoder(model)).exists():
        share = SHARES[wanted_format(model, device=device, precision=precision)]
        total -= round(full.stat().st_size * (1 - share))
    return total


def measure_speed(
    model: InstalledModel, *, device: str, precision: str, workers: int, pool_size: int | None
) -> Iterator[Finding]:
    """Load the model, have it recognise the shipped clip, and say how many live sessions that sustains."""
    workers = workers or usable_cores()
    try:
        engine = load_engine(model, device=device, precision=precision, workers=workers)
    except ModelError as error:
        yield problem(
            "speed", f"{model.spec.name} cannot be loaded: {error}", "Mend what that says, and run this again."
        )
        return
    factor = measure(engine)
    told = f"{factor:.3f} s of one worker for a second of speech"
    sessions = sustained_sessions(factor, workers)
    if factor + SESSION_OVERHEAD > 1:
        yield warning("speed", f"{told}: live captions fall behind", "Choose a smaller --model or another --device.")
    else:
        yield ok("speed", told)
    if pool_size is not None and pool_size > sessions:
        yield warning(
            "sessions",
            f"--pool-size {pool_size}, but {sessions} at once are sustained with {workers} workers",
            "Leave --pool-size out, or expect finals to be late when all speak at once.",
        )
    else:
        yield ok("sessions", f"{sessions} live at once are sustained, with {workers} workers")
