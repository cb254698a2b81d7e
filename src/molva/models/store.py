"""Which models are on this machine, and where. Knows nothing of networks."""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal, Self

from filelock import FileLock, Timeout

from molva.errors import ModelError, ModelNotInstalled
from molva.models.catalog import CATALOG, ModelSpec, int8_names, rebuilt_names
from molva.models.disk import plain_errors, sha256_of, write_json

RECORD_NAME = ".molva.json"

Outcome = Literal["ok", "mismatch", "missing", "unknown"]


@dataclass(frozen=True, slots=True)
class InstalledModel:
    """A model all of whose files are in `directory`."""

    spec: ModelSpec
    directory: Path


@dataclass(frozen=True, slots=True)
class FileCheck:
    """What re-hashing said about one file; `unknown` when there is no hash to hold it to."""

    name: str
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class RecordedFile:
    """What a file was when it arrived."""

    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Record:
    """The content of `.molva.json`: where a folder's files came from and what they were."""

    revision: str | None = None
    files: Mapping[str, RecordedFile] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """The record of `folder`; an empty one when there is none that can be read."""
        try:
            content = json.loads((folder / RECORD_NAME).read_text(encoding="utf-8"))
            return cls(content["revision"], {name: RecordedFile(**entry) for name, entry in content["files"].items()})
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return cls()

    def write(self, folder: Path) -> None:
        write_json(folder / RECORD_NAME, asdict(self))


def default_model_dir() -> Path:
    """Where models are kept unless somebody says otherwise."""
    try:
        home = Path.home()
    except RuntimeError:  # a user id without a name and without HOME, as containers have
        home = Path()
    return home / ".molva" / "models"


class ModelStore:
    """The models under one directory, each in `<directory>/<model name>/`.

    Files of GigaAM and of speakers may also lie in `<directory>` itself, as gigastt keeps them: their names tell the
    models apart. Whisper's files have the same names in every size, so they do not count there.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory.expanduser()

    def folder(self, spec: ModelSpec) -> Path:
        """Where molva itself puts the files of `spec`."""
        return self.directory / spec.name

    def locate(self, spec: ModelSpec) -> InstalledModel | None:
        """Where the files of `spec` are; None unless all that an engine needs are there."""
        folders = [self.folder(spec)]
        if spec.family in ("gigaam", "speakers"):
            folders.append(self.directory)
        for folder in folders:
            if not _missing(spec, _file_names(folder)):
                return InstalledModel(spec, folder)
        return None

    def require(self, spec: ModelSpec) -> InstalledModel:
        """Like `locate`; raises ModelNotInstalled, which says how to get the model."""
        if installed := self.locate(spec):
            return installed
        raise ModelNotInstalled(f"Model '{spec.name}' is not installed. Get it with `molva models pull {spec.name}`.")

    def installed(self) -> list[InstalledModel]:
        """Every model of the catalog that is here and recognises speech, in the catalog's order."""
        return [installed for spec in CATALOG.values() if (installed := self.locate(spec))]

    def remove(self, spec: ModelSpec) -> None:
        """Deletes a model.

        Its own folder goes as a whole, with what an unfinished download left in it. Of files that lie beside those of
        other models, the ones that another installed model needs stay. Raises ModelNotInstalled when there is
        nothing, ModelError when a download of it is under way.
        """
        folder = self.folder(spec)
        if not folder.is_dir():
            self.require(spec)
        with plain_errors(self.directory), self.exclusive(spec, on_wait=_refuse_while_busy):
            if folder.is_symlink():
                folder.unlink()
            elif folder.is_dir():
                shutil.rmtree(folder)
            else:
                self._remove_files(spec)

    def _remove_files(self, spec: ModelSpec) -> None:
        neighbours = [model.spec for model in self.installed() if model.directory == self.directory]
        needed = {name for other in neighbours if other.name != spec.name for name in _all_names(other)}
        for name in _all_names(spec):
            if name not in needed:
                (self.directory / name).unlink(missing_ok=True)
                for rebuilt in rebuilt_names(name):
                    shutil.rmtree(self.directory / rebuilt, ignore_errors=True)

    def verify(self, spec: ModelSpec) -> tuple[FileCheck, ...]:
        """Hashes the files of `spec` again and compares with what was pinned, else with what was recorded."""
        installed = self.locate(spec)
        folder = installed.directory if installed else self.folder(spec)
        present = _file_names(folder)
        missing = _missing(spec, present)
        recorded = {name: entry.sha256 for name, entry in Record.read(folder).files.items()}
        expected = recorded | {file.name: file.sha256 for file in spec.files if file.sha256}
        checks = []
        with plain_errors(folder):
            for name in _all_names(spec):
                if name in present:
                    checks.append(FileCheck(name, _compare(folder / name, expected.get(name))))
                elif name in missing:
                    checks.append(FileCheck(name, "missing"))
        return tuple(checks)

    @contextmanager
    def exclusive(self, spec: ModelSpec, *, on_wait: Callable[[], None]) -> Iterator[None]:
        """Keeps other processes from changing the files of `spec`; `on_wait` is called when one is at it already."""
        self.directory.mkdir(parents=True, exist_ok=True)
        # Beside the model's folder, not in it: the folder may be removed while the lock is held.
        lock = FileLock(self.directory / f".{spec.name}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            on_wait()
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def record(self, spec: ModelSpec, revision: str | None, name: str, file: RecordedFile) -> None:
        """Notes in the model's own folder what `name` was when it arrived."""
        folder = self.folder(spec)
        known = Record.read(folder)
        Record(revision, {**known.files, name: file}).write(folder)


def _refuse_while_busy() -> None:
    raise ModelError("Another process is downloading this model. Stop it first.")


def _file_names(folder: Path) -> frozenset[str]:
    with plain_errors(folder):
        try:
            with os.scandir(folder) as entries:
                return frozenset(entry.name for entry in entries if entry.is_file())
        except (FileNotFoundError, NotADirectoryError):
            return frozenset()


def _all_names(spec: ModelSpec) -> Iterator[str]:
    """Every name a file of `spec` may have, INT8 siblings included."""
    for file in spec.files:
        yield file.name
        yield from int8_names(file.name)


def _missing(spec: ModelSpec, present: frozenset[str]) -> frozenset[str]:
    """Names of required files that are not present and that no INT8 sibling stands in for."""
    replaced = {file.name for file in spec.files if not present.isdisjoint(int8_names(file.name))}
    # An INT8 file holds its weights itself, so it stands in for the graph's external data too.
    replaced |= {f"{name}.data" for name in replaced}
    return frozenset(file.name for file in spec.files if not file.optional) - present - replaced


def _compare(path: Path, expected: str | None) -> Outcome:
    if expected is None:
        return "unknown"
    return "ok" if sha256_of(path) == expected else "mismatch"
