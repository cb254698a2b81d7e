"""Where settings come from: which source wins, what is told of it, and what each source may not say."""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from molva.configuration import FOREIGN, Configuration, Origin, read_configuration, read_settings, reload, shown
from molva.errors import SettingsError
from molva.settings import Settings, is_reloadable, is_secret

VALUES = {
    "port": (1, 2, 3),
    "body_limit_bytes": (10, 20, 30),
    "max_audio_secs": (1.5, 2.5, 3.5),
    "cors_allow_any": (True, False, True),
    "log_level": ("debug", "warning", "error"),
    "model": ("one", "two", "three"),
    "allow_origin": (["https://a.example"], ["https://b.example"], ["https://c.example"]),
}
"""Of some settings of every kind: what the file, the environment and the flag say."""
SOURCES = st.sets(st.sampled_from(["file", "environment", "flag"]))


@pytest.fixture(autouse=True)
def _newcomer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith("MOLVA_") or name in FOREIGN:
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))


def toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value).replace("'", '"')


def variable(value: object) -> str:
    return toml(value) if isinstance(value, list) else str(value)


def write(path: Path, **values: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{name} = {toml(value)}\n" for name, value in values.items()), encoding="utf-8")
    return path


def problems(file: Path, **flags: Any) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        read_configuration(file, **flags)
    return [line.removeprefix(f"{file}: ") for line in str(caught.value).splitlines()]


class TestPrecedence:
    @given(sources=st.fixed_dictionaries(dict.fromkeys(VALUES, SOURCES)))
    def test_the_highest_source_wins_and_is_told(
        self, sources: dict[str, set[str]], tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        said = {
            source: {name: VALUES[name][level] for name, used in sources.items() if source in used}
            for level, source in enumerate(("file", "environment", "flag"))
        }
        file = write(tmp_path_factory.mktemp("config") / "molva.toml", **said["file"])
        with pytest.MonkeyPatch.context() as patch:
            for name, value in said["environment"].items():
                patch.setenv(f"MOLVA_{name.upper()}", variable(value))
            configuration = read_configuration(file, **said["flag"])
        for name in VALUES:
            expected, origin = Settings.model_fields[name].default, Origin("default")
            if name in said["flag"]:
                expected, origin = said["flag"][name], Origin("flag", f"--{name.replace('_', '-')}")
            elif name in said["environment"]:
                expected, origin = said["environment"][name], Origin("environment", f"MOLVA_{name.upper()}")
            elif name in said["file"]:
                expected, origin = said["file"][name], Origin("file", str(file))
            got = getattr(configuration.settings, name)
            assert (list(got) if isinstance(expected, list) else got) == expected
            assert configuration.origins[name] == origin

    def test_every_setting_has_an_origin(self) -> None:
        assert set(read_configuration().origins) == set(Settings.model_fields)

    def test_a_flag_that_was_not_given_hides_nothing(self, tmp_path: Path) -> None:
        assert read_settings(write(tmp_path / "a.toml", port=7), port=None).port == 7

    def test_variables_and_flags_win_again_when_the_file_is_read_again(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MOLVA_MAX_WAITING", "5")
        file = write(tmp_path / "a.toml", body_limit_bytes=10, max_waiting=1, port=1)
        first = read_configuration(file, port=9)
        monkeypatch.delenv("MOLVA_MAX_WAITING")
        write(file, body_limit_bytes=20, max_waiting=2, port=2)
        again = first.reread()
        settings = again.settings
        assert (settings.body_limit_bytes, settings.max_waiting, settings.port) == (20, 5, 9)
        assert (again.origins["port"].kind, again.origins["max_waiting"].kind) == ("flag", "environment")


class TestWhichFile:
    def test_a_flag_before_a_variable_before_the_data_folder(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert read_configuration().file is None
        beside = write(tmp_path / ".molva" / "molva.toml", port=1)
        assert (read_configuration().file, read_settings().port) == (beside, 1)
        named = write(tmp_path / "variable.toml", port=2)
        monkeypatch.setenv("MOLVA_CONFIG", str(named))
        assert (read_configuration().file, read_settings().port) == (named, 2)
        given = write(tmp_path / "flag.toml", port=3)
        assert (read_configuration(given).file, read_settings(given).port) == (given, 3)

    def test_the_data_folder_is_the_one_that_flags_and_variables_name(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for port, folder in enumerate(("one", "two")):
            write(tmp_path / folder / "molva.toml", port=port)
        monkeypatch.setenv("MOLVA_DATA_DIR", str(tmp_path / "one"))
        assert read_settings().port == 0
        assert read_settings(data_dir=tmp_path / "two").port == 1

    def test_a_file_in_the_data_folder_cannot_name_another_one_but_a_named_file_can(self, tmp_path: Path) -> None:
        file = write(tmp_path / ".molva" / "molva.toml", data_dir="/srv/molva")
        with pytest.raises(SettingsError, match="data_dir: a file in the data folder cannot name another"):
            read_configuration()
        assert read_settings(file).data_dir == Path("/srv/molva")

    def test_a_home_is_found_in_its_path(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write(tmp_path / "mine.toml", port=5)
        monkeypatch.setenv("MOLVA_CONFIG", "~/mine.toml")
        assert read_settings().port == 5

    def test_one_that_is_named_has_to_be_there(self, tmp_path: Path) -> None:
        assert problems(tmp_path / "none.toml") == ["cannot be read: No such file or directory"]
        assert problems(tmp_path) == ["cannot be read: Is a directory"]

    def test_one_that_goes_away_is_an_error_and_not_a_return_to_defaults(self, tmp_path: Path) -> None:
        file = write(tmp_path / ".molva" / "molva.toml", port=1)
        configuration = read_configuration()
        file.unlink()
        with pytest.raises(SettingsError, match="cannot be read"):
            configuration.reread()

    def test_one_that_comes_later_is_found_when_it_is_read_again(self, tmp_path: Path) -> None:
        configuration = read_configuration()
        write(tmp_path / ".molva" / "molva.toml", port=1)
        assert configuration.reread().settings.port == 1


class TestWhatIsWrongWithAFile:
    def test_each_problem_has_a_line_that_names_file_key_and_kind(self, tmp_path: Path) -> None:
        file = tmp_path / "a.toml"
        file.write_text(
            'body-limit-bytes = 1\nprot = 1\ncolour = "red"\nallow_origin = "x"\nport = true\nbind_all = 1\n'
            'host = 2024-01-01\nmax_models = 99\nmodel = 1.5\nworkers = "two"\nalias = ["a", 1]\ndevice = "tpu"\n'
            'allow_network = ["10.0.0.1/8"]\n[min_silence_ms]\nx = 1\n',
            encoding="utf-8",
        )
        found = problems(file)
        assert "body-limit-bytes: there is no such setting. Did you mean body_limit_bytes?" in found
        assert "prot: there is no such setting. Did you mean port?" in found
        assert "colour: there is no such setting" in found
        for name, kind in {
            "allow_origin": "a string",
            "port": "a boolean",
            "bind_all": "an integer",
            "host": "a date or time",
            "model": "a float",
            "workers": "a string",
            "min_silence_ms": "a table",
        }.items():
            [line] = [line for line in found if line.startswith(f"{name}: ")]
            assert line.endswith(f", not {kind}")
        for start in ("max_models: ", "alias.1: ", "device: Input should be 'cpu'"):
            assert any(line.startswith(start) for line in found), start
        assert len(found) == 13

    def test_rules_of_single_values_hold_too(self, tmp_path: Path) -> None:
        file = write(tmp_path / "a.toml", allow_network=["10.0.0.1/8"], job_url_host=["a/b"])
        assert [line.partition(":")[0] for line in problems(file)] == ["job_url_host", "allow_network"]

    def test_also_where_a_flag_would_win(self, tmp_path: Path) -> None:
        assert problems(write(tmp_path / "a.toml", port=70_000), port=1)[0].startswith("port: ")

    def test_what_a_flag_makes_right_is_right(self, tmp_path: Path) -> None:
        file = write(tmp_path / "a.toml", host="0.0.0.0")
        assert problems(file) == ["host 0.0.0.0 can be reached by other machines; add --bind-all if that is meant"]
        assert read_settings(file, bind_all=True).host == "0.0.0.0"

    @pytest.mark.parametrize(
        "text",
        [
            b"port =",
            b"port = 1\nport = 2",
            b"\xff\xfe",
            b"port = 1 # \xff",
            pytest.param(b"port = " + b"9" * 5000, id="digits"),
            pytest.param(b"alias = " + b"[" * 5000, id="arrays"),
            pytest.param(b"a = " + b"{a = " * 5000, id="tables"),
        ],
    )
    def test_what_is_no_toml(self, tmp_path: Path, text: bytes) -> None:
        file = tmp_path / "a.toml"
        file.write_bytes(text)
        [line] = problems(file)
        assert line.startswith("is not TOML: ")

    def test_no_value_of_a_secret_is_repeated(self, tmp_path: Path) -> None:
        file = write(tmp_path / "a.toml", api_key="open sesame", webhook_secret="opensesame")
        assert "sesame" not in "".join(problems(file))
        assert len(problems(file)) == 2

    @given(
        name=st.sampled_from(list(Settings.model_fields)),
        value=st.recursive(
            st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text(max_size=5), st.lists, max_leaves=3
        ),
    )
    def test_any_value_is_taken_or_refused_in_one_line(
        self, name: str, value: object, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        folder = tmp_path_factory.mktemp("any")
        text = json.dumps(value).replace("NaN", "nan").replace("Infinity", "inf").replace("\\u007f", "")
        (folder / "a.toml").write_text(f"{name} = {text}\n", encoding="utf-8")
        with suppress(SettingsError):
            assert read_configuration(folder / "a.toml").origins[name].kind == "file"
            return
        assert len(problems(folder / "a.toml")) == 1


class TestSecretsInAFile:
    def test_others_who_can_read_it_are_warned_of(self, tmp_path: Path) -> None:
        file = write(tmp_path / "a.toml", api_key="sesame")
        file.chmod(0o640)
        [warning] = read_configuration(file).warnings
        assert warning == f"{file} holds api_key, and other users can read it: chmod 600 {file}"
        file.chmod(0o600)
        assert read_configuration(file).warnings == ()

    def test_a_file_without_secrets_may_be_read_by_all(self, tmp_path: Path) -> None:
        file = write(tmp_path / "a.toml", port=1)
        file.chmod(0o644)
        assert read_configuration(file).warnings == ()

    def test_they_are_shown_masked(self, tmp_path: Path) -> None:
        configuration = read_configuration(write(tmp_path / "a.toml", api_key="sesame"))
        assert shown("api_key", configuration.settings.api_key) == "********"
        assert "sesame" not in repr(configuration.settings)


class TestVariablesOfOurs:
    def test_one_that_is_none_is_warned_of_with_a_suggestion(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MOLVA_PRT", "1")
        monkeypatch.setenv("MOLVA_SOMETHING_ELSE", "1")
        assert read_configuration().warnings == (
            "MOLVA_PRT is ignored: there is no such setting. Did you mean MOLVA_PORT?",
            "MOLVA_SOMETHING_ELSE is ignored: there is no such setting",
        )

    def test_what_is_wrong_names_the_variable(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MOLVA_PORT", "many")
        with pytest.raises(SettingsError, match=r"^MOLVA_PORT: Input should be a valid integer"):
            read_configuration()

    @pytest.mark.parametrize("name", ["HOST", "DATA_DIR", "ALIAS"])
    def test_what_is_no_text_is_told_by_its_name(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        monkeypatch.setenv(f"MOLVA_{name}", os.fsdecode(b"\xff"))
        with pytest.raises(SettingsError, match=f"^MOLVA_{name}: is not UTF-8$"):
            read_configuration()

    @pytest.mark.parametrize("value", ["https://a.example", "[" * 5000])
    def test_a_list_that_is_no_json_says_how_to_write_it(self, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
        monkeypatch.setenv("MOLVA_ALLOW_ORIGIN", value)
        with pytest.raises(SettingsError, match="MOLVA_ALLOW_ORIGIN: a list is written as JSON"):
            read_configuration()


class TestVariablesOfOtherServers:
    @pytest.mark.parametrize(
        ("name", "value", "setting", "expected"),
        [
            ("PORT", "8000", "port", 8000),
            ("HOST", "127.0.0.1", "host", "127.0.0.1"),
            ("HOST", "[::1]", "host", "::1"),
            ("HOST", "localhost", "host", "localhost"),
            ("LOG_LEVEL", "DEBUG", "log_level", "debug"),
            ("MODELS_DIR", "/data/models", "model_dir", Path("/data/models")),
        ],
    )
    def test_they_are_heard_below_ours_and_above_the_file(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, value: str, setting: str, expected: object
    ) -> None:
        monkeypatch.setenv(name, value)
        own: dict[str, tuple[object, object]] = {
            "port": (1, 2),
            "host": ("::1", "127.9.9.9"),
            "log_level": ("error", "warning"),
            "model_dir": ("/file", "/own"),
        }
        file = write(tmp_path / "a.toml", **{setting: own[setting][0]})
        configuration = read_configuration(file)
        assert getattr(configuration.settings, setting) == expected
        assert configuration.origins[setting] == Origin("environment", name)
        monkeypatch.setenv(f"MOLVA_{setting.upper()}", str(own[setting][1]))
        assert str(getattr(read_settings(file), setting)) == str(own[setting][1])

    @pytest.mark.parametrize("host", ["workstation", "x86_64-conda-linux-gnu", "box.example.org"])
    def test_the_name_of_the_machine_in_host_changes_nothing(self, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
        monkeypatch.setenv("HOST", host)
        configuration = read_configuration()
        assert (configuration.settings.host, configuration.warnings) == ("127.0.0.1", ())

    @pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5"])
    def test_an_open_address_in_host_needs_the_same_permission(
        self, monkeypatch: pytest.MonkeyPatch, host: str
    ) -> None:
        monkeypatch.setenv("HOST", host)
        with pytest.raises(SettingsError, match=f"^HOST: host {host} can be reached by other machines"):
            read_configuration()
        assert read_settings(host="127.0.0.1").host == "127.0.0.1"
        monkeypatch.setenv("MOLVA_BIND_ALL", "1")
        assert read_settings().host == host

    @pytest.mark.parametrize(
        ("name", "value"),
        [("PORT", "tcp://10.0.0.1:80"), ("PORT", "70000"), ("LOG_LEVEL", "trace"), ("MODELS_DIR", "models")],
    )
    def test_what_was_meant_for_others_is_ignored_with_a_word(
        self, monkeypatch: pytest.MonkeyPatch, name: str, value: str
    ) -> None:
        monkeypatch.setenv(name, value)
        configuration = read_configuration()
        assert configuration.settings == Settings.model_validate({})
        [warning] = configuration.warnings
        assert warning.startswith(f"{name} is ignored: it is not ")
        assert value not in warning


class TestReload:
    def read(self, tmp_path: Path, **values: object) -> Configuration:
        return read_configuration(write(tmp_path / "a.toml", **values))

    def test_what_can_change_does_and_the_rest_is_named(self, tmp_path: Path) -> None:
        running = self.read(tmp_path, body_limit_bytes=1, port=1, workers=2).settings
        wanted = self.read(tmp_path, body_limit_bytes=2, port=3, api_key="sesame").settings
        settings, changed, fixed = reload(running, wanted)
        assert (settings.body_limit_bytes, settings.port, settings.workers) == (2, 1, 2)
        assert settings.api_key is not None
        assert (changed, fixed) == (("api_key", "body_limit_bytes"), ("port", "workers"))

    def test_a_key_that_is_gone_from_the_file_has_its_default_again(self, tmp_path: Path) -> None:
        running = self.read(tmp_path, max_waiting=1).settings
        assert reload(running, self.read(tmp_path).settings).settings == Settings.model_validate({})

    def test_limits_keys_origins_and_the_log_level_can_change_and_addresses_and_folders_cannot(self) -> None:
        for name in ("body_limit_bytes", "max_session_secs", "api_key", "allow_origin", "cors_allow_any", "log_level"):
            assert is_reloadable(name), name
        for name in ("host", "port", "bind_all", "data_dir", "model", "model_dir", "device", "workers", "pool_size"):
            assert not is_reloadable(name), name

    def test_secrets_are_known_by_their_type(self) -> None:
        assert {name for name in Settings.model_fields if is_secret(name)} == {"api_key", "webhook_secret"}
