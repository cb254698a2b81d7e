"""Uploads on the disk: whose they are, and that they go."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import pytest

from molva.errors import SettingsError, SpoolError, SpoolFull
from molva.spool import Spool, SpoolFile

CHILD = """
import sys
from pathlib import Path
from molva.spool import Spool
spool = Spool(Path(sys.argv[1]))
file = spool.file()
file.write(b"half of an upload")
print(file.path, flush=True)
sys.stdin.read()
"""


@contextmanager
def another_process(folder: Path) -> Iterator[tuple["subprocess.Popen[str]", Path]]:
    """A living process with an upload under way, and the path of that."""
    command = [sys.executable, "-c", CHILD, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, Path(process.stdout.readline().strip())
        finally:
            process.kill()


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {".lock"}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    spool = Spool(tmp_path / "data" / "spool")
    yield spool
    spool.close()


def test_what_is_written_is_there_for_other_readers_at_once(spool: Spool) -> None:
    with spool.file() as file:
        file.write(b"one ")
        file.write(bytearray(b"two"))
        assert file.path.read_bytes() == b"one two"


def test_only_this_user_may_look(spool: Spool) -> None:
    with spool.file() as file:
        assert (mode(spool.folder.parent), mode(spool.folder), mode(file.path)) == (0o700, 0o700, 0o600)


def test_a_file_goes_on_every_way_out(spool: Spool) -> None:
    with spool.file() as left:
        pass
    with pytest.raises(RuntimeError), spool.file() as failed:
        raise RuntimeError
    moved = spool.file()
    moved.path.unlink()
    moved.close()
    moved.close()
    assert not left.path.exists()
    assert not failed.path.exists()
    assert names(spool.folder) == set()


def test_no_two_files_have_one_name(spool: Spool) -> None:
    with ExitStack() as files:
        assert len({files.enter_context(spool.file()).path for _ in range(50)}) == 50


def test_closing_removes_everything_of_this_process(spool: Spool) -> None:
    with spool.file():
        closing = Thread(target=spool.close)  # the server may close it in another thread than the one that made it
        closing.start()
        closing.join()
        assert names(spool.folder.parent) == set()
        assert names_with_a_new_spool(spool.folder.parent) == set()


def names_with_a_new_spool(folder: Path) -> set[str]:
    """What lies in `folder` beside the folder of a spool that is made now."""
    spool = Spool(folder)
    try:
        return names(folder) - {spool.folder.name}
    finally:
        spool.close()


def test_two_living_processes_do_not_disturb_each_other(spool: Spool) -> None:
    folder = spool.folder.parent
    with spool.file() as mine, another_process(folder) as (process, theirs):
        assert names_with_a_new_spool(folder) == {spool.folder.name, theirs.parent.name}
        assert theirs.read_bytes() == b"half of an upload"
        mine.write(b"still here")
        process.communicate()
        assert mine.path.read_bytes() == b"still here"


def test_two_spools_of_one_process_do_not_disturb_each_other(spool: Spool) -> None:
    with spool.file() as file:
        assert names_with_a_new_spool(spool.folder.parent) == {spool.folder.name}
        assert file.path.exists()


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path: Path) -> None:
    with another_process(tmp_path) as (process, theirs):
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert theirs.exists()
        assert names_with_a_new_spool(tmp_path) == set()
        assert not theirs.parent.exists()


def test_a_process_that_died_before_it_had_a_lock_leaves_nothing_either(tmp_path: Path) -> None:
    (tmp_path / "uploads-half-made").mkdir()
    assert names_with_a_new_spool(tmp_path) == set()


def test_nothing_else_in_the_folder_is_touched(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept").touch()
    folder = tmp_path / "spool"
    (folder / "notes").mkdir(parents=True)
    (folder / "uploads-link").symlink_to(elsewhere)
    (folder / "uploads-file").touch()
    assert names_with_a_new_spool(folder) == {"notes", "uploads-link", "uploads-file"}
    assert (elsewhere / "kept").exists()


def test_many_processes_starting_at_once_keep_their_folders(tmp_path: Path) -> None:
    command = [sys.executable, "-c", CHILD, str(tmp_path)]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(6)]
    try:
        files = [Path(process.stdout.readline().strip()) for process in processes if process.stdout]
        assert len(files) == 6
        assert all(file.exists() for file in files)
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def test_closing_waits_for_a_write_in_another_thread(tmp_path: Path) -> None:
    reader, writer = os.pipe()

    class Slow(SpoolFile):
        """Takes bytes only as fast as they are read at the other end."""

        def __init__(self) -> None:
            super().__init__(tmp_path)
            self._file.close()
            self._file = os.fdopen(writer, "wb", buffering=0)

    file = Slow()
    writing = Thread(target=file.write, args=(b"x" * 1_000_000,))
    writing.start()
    received = len(os.read(reader, 1))
    closing = Thread(target=file.close)
    closing.start()
    while file.path.exists():
        time.sleep(0.001)
    while block := os.read(reader, 65536):
        received += len(block)
    os.close(reader)
    writing.join()
    closing.join()
    assert received == 1_000_000
    with pytest.raises(ValueError, match="closed"):
        file.write(b"x")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_told(tmp_path: Path) -> None:
    class Full(SpoolFile):
        def __init__(self) -> None:
            super().__init__(tmp_path)
            self._file.close()
            self._file = Path("/dev/full").open("wb", buffering=0)  # noqa: SIM115

    with Full() as file, pytest.raises(SpoolFull):
        file.write(b"x")
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_takes_no_file_is_told_too(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    with spool.file() as file:
        shutil.rmtree(spool.folder)
        for attempt in (spool.file, lambda: file.expect(1), lambda: file.move_to(tmp_path / "a")):
            with pytest.raises(SpoolError) as refusal:
                attempt()
            assert not isinstance(refusal.value, SpoolFull)


def test_a_folder_that_cannot_be_had_is_a_wrong_setting(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="--data-dir"):
        Spool(tmp_path / "file" / "spool")


def test_a_file_leaves_what_others_need_of_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _folder: SimpleNamespace(free=1000))
    with SpoolFile(tmp_path, keep_free=900) as file:
        file.expect(100)
        file.write(b"x" * 100)
        with pytest.raises(SpoolFull):
            file.expect(101)
        with pytest.raises(SpoolFull):
            file.write(b"x" * 101)
        assert file.path.stat().st_size == 100
    with SpoolFile(tmp_path) as file:
        file.write(b"x" * 2000)
