"""Recordings on the disk."""

import stat
import time
from pathlib import Path

import pytest

from molva.errors import SettingsError
from molva.jobs import shelf as shelf_module
from molva.jobs.shelf import AudioShelf
from molva.spool import Spool


def shelve(tmp_path: Path, shelf: AudioShelf, job_id: str, data: bytes = b"audio") -> None:
    spool = Spool(tmp_path / "spool")
    with spool.file() as file:
        file.write(data)
        shelf.take(file, job_id)
    spool.close()


def test_a_kept_upload_outlives_its_spool_and_is_its_owners_alone(tmp_path: Path) -> None:
    shelf = AudioShelf(tmp_path / "jobs")
    shelve(tmp_path, shelf, "a", b"x" * 100_000)
    assert shelf.path("a").read_bytes() == b"x" * 100_000
    assert stat.S_IMODE(shelf.path("a").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "jobs").stat().st_mode) == 0o700
    shelf.remove("a")
    shelf.remove("a")
    assert not shelf.path("a").exists()


def test_recordings_that_nobody_needs_are_swept(tmp_path: Path) -> None:
    shelf = AudioShelf(tmp_path / "jobs")
    for job_id in ("needed", "left over", "arriving"):
        shelve(tmp_path, shelf, job_id)
    shelf.sweep({"needed": True, "left over": False}.get)
    assert {path.name for path in (tmp_path / "jobs").iterdir()} == {"needed", "arriving"}


def test_recordings_of_no_job_are_swept_once_they_cannot_be_arriving(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = AudioShelf(tmp_path / "jobs")
    shelve(tmp_path, shelf, "unknown")
    monkeypatch.setattr(shelf_module, "ABANDONED_S", 0.05)
    shelf.sweep(lambda job_id: None)
    assert shelf.path("unknown").exists()
    time.sleep(0.1)
    shelf.sweep(lambda job_id: None)
    assert not shelf.path("unknown").exists()


def test_a_clock_that_jumps_makes_no_recording_look_left_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = AudioShelf(tmp_path / "jobs")
    shelve(tmp_path, shelf, "arriving")
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 86_400)
    for _ in range(2):
        shelf.sweep(lambda job_id: None)
    assert shelf.path("arriving").exists()


def test_a_recording_that_the_disk_does_not_give_up_is_swept_later(tmp_path: Path) -> None:
    shelf = AudioShelf(tmp_path / "jobs")
    shelf.path("stubborn").mkdir()  # so that removing it as a file fails, also for root
    shelf.remove("stubborn")
    shelf.path("stubborn").rmdir()
    shelve(tmp_path, shelf, "stubborn")
    shelf.sweep(lambda job_id: False)
    assert not shelf.path("stubborn").exists()


def test_recordings_set_aside_are_kept_where_nobody_sweeps(tmp_path: Path) -> None:
    shelf = AudioShelf(tmp_path / "jobs")
    assert shelf.set_aside() is None
    shelve(tmp_path, shelf, "a", b"of another database")
    aside = shelf.set_aside()
    assert aside is not None
    assert ((aside / "a").read_bytes(), stat.S_IMODE(aside.stat().st_mode)) == (b"of another database", 0o700)
    shelf.sweep(lambda job_id: False)
    assert (aside / "a").exists()
    assert not shelf.path("a").exists()


def test_a_folder_that_cannot_be_made_is_told_with_advice(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SettingsError, match="--data-dir"):
        AudioShelf(tmp_path / "file" / "jobs")
