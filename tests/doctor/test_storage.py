"""What is kept is private and whole; looking at it changes nothing."""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from molva.database import Database
from molva.doctor.storage import check_data_dir, check_database, check_secrets, check_spool
from molva.spool import Spool

TABLE = "CREATE TABLE IF NOT EXISTS words (word TEXT)"


def statuses(*files: Path) -> list[str]:
    return [finding.status for finding in check_secrets(files)]


def test_secrets_are_for_their_owner_only(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    assert statuses(file) == []
    file.touch()
    for mode, status in ((0o600, "ok"), (0o640, "problem"), (0o604, "problem"), (0o620, "problem")):
        file.chmod(mode)
        assert statuses(file) == [status], oct(mode)


def test_a_data_folder_that_others_write_to_is_a_problem(tmp_path: Path) -> None:
    assert check_data_dir(tmp_path / "new" / "folder").status == "ok"
    tmp_path.chmod(0o755)
    assert check_data_dir(tmp_path).status == "ok"
    tmp_path.chmod(0o777)
    assert check_data_dir(tmp_path).status == "problem"


def test_a_file_in_the_place_of_the_data_folder_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert check_data_dir(tmp_path / "file").status == "problem"
    assert check_data_dir(tmp_path / "file" / "below").status == "problem"


def test_a_database_that_is_written_to_meanwhile_is_checked_and_not_disturbed(tmp_path: Path) -> None:
    path = tmp_path / "molva.db"
    assert check_database(path).status == "ok"
    assert not path.exists()
    database = Database(path, [TABLE])
    try:
        database.write(lambda connection: connection.execute("INSERT INTO words VALUES ('one')"))
        assert check_database(path).status == "ok"
        database.write(lambda connection: connection.execute("INSERT INTO words VALUES ('two')"))
        assert database.read(lambda connection: connection.execute("SELECT count(*) FROM words").fetchone()[0]) == 2
    finally:
        database.close()
    assert check_database(path).status == "ok"


def test_a_damaged_database_is_a_problem(tmp_path: Path) -> None:
    path = tmp_path / "molva.db"
    with sqlite3.connect(path) as connection:
        connection.execute(TABLE)
        connection.executemany("INSERT INTO words VALUES (?)", [(f"{n:0500}",) for n in range(2000)])
    connection.close()
    with path.open("r+b") as file:
        file.seek(4096 * 10)
        file.write(os.urandom(4096 * 20))
    assert check_database(path).status == "problem"
    path.write_bytes(b"no database at all" * 100)
    assert check_database(path).status == "problem"


def test_a_database_of_a_newer_molva_is_a_problem(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "molva.db")
    connection.execute("PRAGMA user_version = 999")
    connection.close()
    assert "newer" in check_database(tmp_path / "molva.db").message


def test_uploads_of_a_killed_process_are_told_of_and_those_of_a_living_one_are_not(tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    assert check_spool(folder).status == "ok"
    assert not folder.exists()
    code = f"""
import os, pathlib
from molva.spool import Spool
spool = Spool(pathlib.Path({str(folder)!r}))
file = spool.file()
file.write(b"speech")
os._exit(9)
"""
    subprocess.run([sys.executable, "-c", code], check=False)
    alive = Spool(tmp_path / "other")
    assert check_spool(tmp_path / "other").status == "ok"
    finding = check_spool(folder)
    assert (finding.status, "1 dead process" in finding.message) == ("warning", True)
    assert check_spool(folder) == finding, "looking has changed something"
    alive.close()
    Spool(folder).close()
    assert check_spool(folder).status == "ok"


def test_a_folder_of_another_user_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # os.access says yes to root whatever the rights are.
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert check_data_dir(tmp_path).status == "problem"
