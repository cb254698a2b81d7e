"""A published encoder -> a folder with its fused graph for this very machine, and the proof that it hears the same.

The graph is saved as ONNX Runtime has optimised it, with weights packed for this processor's kernels. Sessions map
them into memory: the full size loads in 0.3 s instead of 2, and a second session takes 10 MB and not 220. Such a file
is right for one version of ONNX Runtime and one kind of processor, so a key beside it says what it was made from. What
is for a GPU is saved as it is written, and optimised there when it loads.
"""

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from filelock import FileLock
from numpy.typing import NDArray

from molva.engines.cpu import instruction_sets
from molva.engines.files import LARGEST_WEIGHTS, check_file, read_object, reading
from molva.engines.gigaam.encoder import run_encoder
from molva.engines.gigaam.features import SPECS, log_mel
from molva.engines.gigaam.fused import write_fused
from molva.engines.gigaam.published import PublishedEncoder
from molva.engines.gigaam.weights import Format
from molva.engines.onnx import open_session, save_packed
from molva.errors import DiskFull, ModelError, ModelFilesInvalid
from molva.samples import Samples

RECIPE = 1
"""Raised whenever another graph is written for the same source."""

MIN_AGREEMENT: Mapping[Format, float] = {"fp32": 0.9999, "fp16": 0.9999, "s8": 0.985, "u8": 0.985, "s7": 0.97}
"""Centred cosine to the published graph below which a rebuilt one is not used. Measured on speech: full size with
random weights 0.999998 (fp16), 0.998 (s8, u8) and 0.996 (s7), the small trained model above 0.999 in all formats;
saturated 0.64."""

PACKED: frozenset[Format] = frozenset({"fp32", "s8", "s7", "u8"})
"""Formats for CPUs."""

GRAPH, WEIGHTS, KEY = "encoder.onnx", "encoder.weights", "key.json"


def find_rebuilt(encoder: Path, folder: Path, form: Format) -> Path | None:
    """The graph in `folder`, if it was made from `encoder` as it is now, for this machine and by this recipe.

    Files with another time than noted are hashed, which takes a second for a source of full size.
    """
    key = _read_key(folder)
    try:
        if (
            key.get("machine") == _machine(form)
            and _are_as_noted([folder / GRAPH, folder / WEIGHTS], key.get("result"))
            and _are_as_noted(_files(encoder), key.get("source"))
            and isinstance(key.get("agreement"), float)
        ):
            return folder / GRAPH
    except (OSError, ModelFilesInvalid):
        pass  # something of it is missing, or no ordinary file
    return None


def is_sound(folder: Path) -> bool:
    """Whether the graph and the weights in `folder` still have the bytes that were checked. Reads all of them."""
    result = _read_key(folder).get("result")
    try:
        return isinstance(result, dict) and result == _describe([folder / GRAPH, folder / WEIGHTS])
    except (OSError, ModelFilesInvalid):
        return False


def rebuild(encoder: Path, folder: Path, form: Format, speech: Samples, version: str) -> float:
    """Write the rebuilt graph into `folder` and return its agreement with `encoder` on `speech`.

    The folder appears under its name only after it was checked. Processes that want the same wait for each other, and
    one of them makes it. Raises ModelFilesInvalid where the source is damaged, of another layout, or the result
    disagrees, DiskFull, ModelError when the folder cannot be written.
    """
    try:
        with FileLock(folder.with_name(f".{folder.name}.lock")):
            if find_rebuilt(encoder, folder, form) is None:
                _rebuild(encoder, folder, form, speech, version)
            return float(_read_key(folder)["agreement"])
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise DiskFull(f"No room for the rebuilt encoder beside '{encoder.name}'.") from error
        raise ModelError(f"No encoder can be written beside '{encoder.name}': {error.strerror}.") from error


def _rebuild(encoder: Path, folder: Path, form: Format, speech: Samples, version: str) -> None:
    prefix = f".{folder.name}-"
    for leftover in folder.parent.glob(f"{prefix}*"):  # of a process that was killed: we have the lock
        shutil.rmtree(leftover, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=prefix, dir=folder.parent) as staging:
        plain, result = Path(staging) / "plain.onnx", Path(staging) / folder.name
        result.mkdir()
        source = _describe(_files(encoder))
        if form in PACKED:
            write_plain(encoder, plain, form)
            save_packed(plain, result / GRAPH, WEIGHTS)
        else:
            write_plain(encoder, result / GRAPH, form, WEIGHTS)
        agreement = measure_agreement(encoder, result / GRAPH, speech, version, packed=form in PACKED)
        if not agreement >= MIN_AGREEMENT[form]:  # where it overflows, it is not a number
            raise ModelFilesInvalid(
                encoder.name, f"its rebuilt form ({form}) agrees with it only to {agreement:.3f}; use --precision fp32"
            )
        key = {
            "machine": _machine(form),
            "source": source,
            "result": _describe([result / GRAPH, result / WEIGHTS]),
            "agreement": agreement,
        }
        (result / KEY).write_text(json.dumps(key, indent=2) + "\n", encoding="utf-8")
        for path in result.iterdir():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        if folder.exists():
            folder.rename(Path(staging) / "stale")
        result.rename(folder)


def write_plain(encoder: Path, target: Path, form: Format, weights: str | None = None) -> None:
    """Write the fused graph as it is for every machine; its weights into a file `weights` beside it, where named."""
    with reading(encoder, "is not a GigaAM v3 export as molva knows it"):
        graph = write_fused(PublishedEncoder(encoder), form)
    onnx.save(graph, target, save_as_external_data=weights is not None, location=weights)


def measure_agreement(encoder: Path, rebuilt: Path, speech: Samples, version: str, *, packed: bool = True) -> float:
    """Centred cosine, -1..1, between the outputs of two graphs for the same speech, on the CPU.

    `packed`: the rebuilt one is of `save_packed`.
    """
    features = log_mel(speech, SPECS["v2" if version == "v2" else "v3"])

    def centred(session: onnxruntime.InferenceSession) -> NDArray[np.float64]:
        output = run_encoder(session, [features]).astype(np.float64)
        return np.asarray(output - output.mean())

    one, other = centred(open_session(encoder)), centred(open_session(rebuilt, as_saved=packed))
    if one.shape != other.shape:
        return 0.0
    return float((one * other).sum() / np.sqrt((one * one).sum() * (other * other).sum()))


def _machine(form: Format) -> dict[str, Any]:
    """What a rebuilt graph depends on besides its source."""
    return {
        "recipe": RECIPE,
        "format": form,
        "onnxruntime": onnxruntime.__version__,
        "processor": sorted(instruction_sets()),
    }


def _describe(paths: Sequence[Path]) -> dict[str, dict[str, Any]]:
    """Hash, size and time of files."""
    described = {}
    for path in paths:
        size = check_file(path, LARGEST_WEIGHTS)
        described[path.name] = {"sha256": _sha256(path), "size": size, "mtime_ns": path.stat().st_mtime_ns}
    return described


def _are_as_noted(paths: Sequence[Path], described: Any) -> bool:
    if not isinstance(described, dict) or described.keys() != {path.name for path in paths}:
        return False
    for path in paths:
        size, noted = check_file(path, LARGEST_WEIGHTS), described[path.name]
        if not isinstance(noted, dict) or size != noted.get("size"):
            return False
        if path.stat().st_mtime_ns != noted.get("mtime_ns") and _sha256(path) != noted.get("sha256"):
            return False
    return True


def _files(encoder: Path) -> list[Path]:
    """The files of a graph: itself and, where there is one, its external data."""
    return [path for path in (encoder, encoder.with_name(f"{encoder.name}.data")) if path.exists()]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_key(folder: Path) -> dict[str, Any]:
    """Empty where there is none that can be read. What lies behind a link was not made here."""
    try:
        return {} if folder.is_symlink() else read_object(folder / KEY)
    except ModelFilesInvalid:
        return {}
