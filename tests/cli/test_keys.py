"""`molva keys`, as a person or a script meets it."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from molva.cli import keys as cli
from molva.errors import OptionError, SettingsError
from molva.keys import KeyFile, KeyRing


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MOLVA_DATA_DIR", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ".molva" / "keys.json"


def molva_keys(*args: str) -> Result:
    return CliRunner().invoke(cli.app, args)


def succeed(*args: str) -> Result:
    result = molva_keys(*args)
    assert result.exit_code == 0, result.output
    return result


def test_create_prints_the_key_alone_and_the_advice_beside_it(path: Path) -> None:
    result = succeed("create", "laptop")
    key = result.stdout.removesuffix("\n")
    assert KeyRing(path).check(key) == "laptop"
    assert "Bearer" in result.stderr
    assert key not in result.stderr


def test_a_name_is_given_once() -> None:
    succeed("create", "laptop")
    result = molva_keys("create", "laptop")
    assert isinstance(result.exception, OptionError)
    assert result.stdout == ""


def test_list_shows_names_and_times_and_nothing_of_the_keys(path: Path) -> None:
    made = [succeed("create", name).stdout.strip() for name in ("laptop", "a" * 64)]
    result = succeed("list")
    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["NAME", "laptop", "a" * 64]
    created = [f"{key.created:%Y-%m-%d %H:%M:%S} UTC" for key in KeyFile(path).read()]
    assert [line.split(maxsplit=1)[1] for line in lines[1:]] == created
    assert not any(key in result.output for key in made)
    assert not any(key.sha256 in result.output for key in KeyFile(path).read())


def test_a_key_may_have_limits_and_the_list_shows_them() -> None:
    succeed("create", "tight", "--requests-per-minute", "60", "--audio-seconds-per-day", "3600", "--concurrent", "2")
    assert (
        succeed("list").stdout.splitlines()[1].endswith("UTC  60 requests a minute, 3600 s of audio a day, 2 at once")
    )
    assert molva_keys("create", "none", "--concurrent", "0").exit_code == 2


def test_without_keys_the_list_is_empty_and_says_how_to_make_one() -> None:
    result = succeed("list")
    assert result.stdout == ""
    assert "molva keys create" in result.stderr


def test_revoke_forgets_one_key(path: Path) -> None:
    first, second = (succeed("create", name).stdout.strip() for name in ("first", "second"))
    assert succeed("revoke", "first").output == ""
    ring = KeyRing(path)
    assert (ring.check(first), ring.check(second)) == (None, "second")


def test_revoking_the_last_key_tells_what_that_means() -> None:
    succeed("create", "only")
    assert "No key is left" in succeed("revoke", "only").stderr


def test_revoking_what_is_not_there_fails() -> None:
    assert isinstance(molva_keys("revoke", "nobody").exception, OptionError)


def test_a_damaged_file_is_an_error_that_names_it(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("damaged")
    for command in (["list"], ["create", "new"], ["revoke", "old"]):
        result = molva_keys(*command)
        assert isinstance(result.exception, SettingsError)
        assert str(path) in str(result.exception)


def test_the_data_folder_is_that_of_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    succeed("create", "flag", "--data-dir", str(tmp_path / "one"))
    monkeypatch.setenv("MOLVA_DATA_DIR", str(tmp_path / "two"))
    succeed("create", "variable")
    for folder, name in (("one", "flag"), ("two", "variable")):
        assert [key.name for key in KeyFile(tmp_path / folder / "keys.json").read()] == [name]
