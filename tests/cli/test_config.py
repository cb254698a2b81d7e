"""`molva config`, as a person or a script meets it."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from molva.cli import app
from molva.configuration import FOREIGN
from molva.errors import MolvaError, SettingsError
from molva.settings import Settings, is_reloadable


@pytest.fixture(autouse=True)
def _newcomer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith("MOLVA_") or name in FOREIGN:
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "a.toml"
    file.write_text('max_waiting = 3\nbind_all = true\napi_key = "sesame"\nallow_origin = ["https://a.example"]\n')
    file.chmod(0o600)
    return file


def config(*args: str | Path) -> Result:
    return CliRunner().invoke(app, ["config", *map(str, args)])


def shown(*args: str | Path) -> dict[str, Any]:
    result = config("show", "--json", *args)
    assert result.exit_code == 0, result.output
    assert "sesame" not in result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def table(*args: str | Path) -> dict[str, list[str]]:
    result = config("show", *args)
    assert result.exit_code == 0, result.output
    assert "sesame" not in result.output
    rows = [re.split(" {2,}", line) for line in result.stdout.splitlines()]
    assert rows[0] == ["SETTING", "VALUE", "FROM", "SIGHUP"]
    return {row[0]: row[1:] for row in rows[1:]}


def test_every_setting_is_shown_with_its_value_its_origin_and_whether_it_can_change(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOLVA_WORKERS", "7")
    args = ("--config", file, "-p", "8000", "--no-bind-all", "--alias", "a=auto", "--alias", "b=auto")
    rows = table(*args)
    assert list(rows) == list(Settings.model_fields)
    for name, row in rows.items():
        assert (row[2:] == ["yes"]) == is_reloadable(name), name
    assert rows["max_waiting"] == ["3", str(file), "yes"]
    assert rows["workers"] == ["7", "MOLVA_WORKERS"]
    assert rows["port"] == ["8000", "--port"]
    assert rows["bind_all"] == ["false", "--bind-all"]
    assert rows["host"] == ["127.0.0.1", "default"]
    assert rows["pool_size"] == ["-", "default"]
    assert rows["api_key"] == ["********", str(file), "yes"]
    document = shown(*args)
    assert document["file"] == str(file)
    settings = document["settings"]
    assert list(settings) == list(Settings.model_fields)
    assert settings["max_waiting"] == {"value": 3, "origin": "file", "from": str(file), "reloadable": True}
    assert settings["alias"] == {
        "value": ["a=auto", "b=auto"],
        "origin": "flag",
        "from": "--alias",
        "reloadable": True,
    }
    assert settings["api_key"]["value"] == "********"
    assert settings["data_dir"] == {"value": "~/.molva", "origin": "default", "from": "default", "reloadable": False}


def test_without_anything_all_are_defaults() -> None:
    document = shown()
    assert document["file"] is None
    assert {entry["origin"] for entry in document["settings"].values()} == {"default"}


def test_warnings_are_beside_what_is_shown(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOLVA_PRT", "1")
    file.chmod(0o644)
    result = config("show", "--config", file)
    assert "MOLVA_PRT" not in result.stdout
    assert "Did you mean MOLVA_PORT?" in result.stderr
    assert "chmod 600" in result.stderr


def test_a_right_file_is_ok(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert config("check", file).stdout == f"{file}: ok\n"
    monkeypatch.setenv("MOLVA_CONFIG", str(file))
    assert config("check").stdout == f"{file}: ok\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prt = 1", "Did you mean port?"),
        ('port = "1"', "not a string"),
        ("port =", "is not TOML"),
        ('alias = ["a=none"]', "alias"),
        ('model = "gigaam-v3-e2e-rnt"', "Did you mean"),
        ('host = "0.0.0.0"', "--bind-all"),
    ],
)
def test_a_wrong_one_is_an_error_that_says_why(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text(text)
    result = config("check", file)
    assert isinstance(result.exception, MolvaError)
    assert message in str(result.exception)
    assert result.stdout == ""


def test_there_has_to_be_one_to_check() -> None:
    assert isinstance(config("check").exception, SettingsError)
