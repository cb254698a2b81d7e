"""Defaults < environment < flags; loopback unless said otherwise; every setting has a flag and a line in the docs."""

import inspect
from pathlib import Path

import pytest

from molva.cli.serve import serve
from molva.errors import SettingsError
from molva.settings import Settings, is_loopback, read_settings

VARIABLES_ONLY = {"api_key"}
"""Secrets: every user of a machine can read the flags of its processes."""


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"MOLVA_{name.upper()}", raising=False)


def test_flags_win_over_the_environment_and_the_environment_over_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOLVA_PORT", "1234")
    monkeypatch.setenv("MOLVA_POOL_SIZE", "7")
    settings = read_settings(port=4321, host=None)
    assert (settings.port, settings.pool_size, settings.host) == (4321, 7, "127.0.0.1")


def test_an_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOLVA_PORT", "")
    assert read_settings().port == 9876


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ({"port": 70_000}, "port"),
        ({"device": "tpu"}, "device"),
        ({"pool_size": 0}, "pool_size"),
        ({"precision": "int4"}, "precision"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_wrong_value_is_named(flags: dict[str, object], named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        read_settings(**flags)


@pytest.mark.parametrize("host", ["localhost", "LocalHost", "127.0.0.1", "127.9.9.9", "::1", "[::1]"])
def test_loopback_needs_no_permission(host: str) -> None:
    assert is_loopback(host)
    assert read_settings(host=host).host == host


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org", "", "1270.0.0.1"])
def test_other_addresses_need_bind_all(host: str) -> None:
    with pytest.raises(SettingsError, match="--bind-all"):
        read_settings(host=host)
    assert read_settings(host=host, bind_all=True).host == host


def test_models_live_in_the_data_folder_unless_said_otherwise() -> None:
    assert read_settings().models == Path.home() / ".molva" / "models"
    assert read_settings(data_dir="/srv/molva").models == Path("/srv/molva/models")
    assert read_settings(data_dir="/srv/molva", model_dir="/models").models == Path("/models")


def test_without_a_home_models_live_in_the_working_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless(_: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", homeless)
    assert read_settings().models == Path(".molva/models")


def test_zero_means_one_or_no_limit_as_the_contract_has_it() -> None:
    settings = read_settings(pool_checkout_timeout_secs=0, shutdown_drain_secs=0, inference_timeout_secs=0)
    assert (settings.checkout_timeout_s, settings.drain_s, settings.inference_timeout_s) == (1, 1, None)


def test_a_key_is_shown_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOLVA_API_KEY", "secret")
    assert "secret" not in repr(read_settings())
    for bad in ("secret word", "secret\n", "секретsecret"):
        monkeypatch.setenv("MOLVA_API_KEY", bad)
        with pytest.raises(SettingsError, match="api_key") as caught:
            read_settings()
        assert "secret" not in str(caught.value)


def test_an_empty_key_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOLVA_API_KEY", "")
    assert read_settings().api_key is None


def test_keys_live_in_the_data_folder() -> None:
    assert read_settings().key_file == Path.home() / ".molva" / "keys.json"
    assert read_settings(data_dir="/srv/molva", model_dir="/models").key_file == Path("/srv/molva/keys.json")


def test_every_setting_but_secrets_is_a_flag_of_serve() -> None:
    assert set(inspect.signature(serve).parameters) == set(Settings.model_fields) - VARIABLES_ONLY


def test_every_setting_is_documented_with_its_default() -> None:
    page = (Path(__file__).parent.parent / "docs" / "settings.md").read_text(encoding="utf-8")
    for name, field in Settings.model_fields.items():
        flag = "none" if name in VARIABLES_ONLY else f"`--{name.replace('_', '-')}`"
        [row] = [line for line in page.splitlines() if line.startswith(f"| {flag} ")]
        assert f"`MOLVA_{name.upper()}`" in row
        default = "" if field.default in (None, (), False) else f"`{field.default}`"
        assert default in row


def test_an_unused_model_goes_after_five_minutes_if_lazy_and_never_if_eager_unless_said_otherwise() -> None:
    assert read_settings().model_idle_timeout_s is None
    assert read_settings(lifecycle="lazy").model_idle_timeout_s == 300
    for lifecycle in ("eager", "lazy"):
        assert read_settings(lifecycle=lifecycle, model_idle_timeout_secs=7).model_idle_timeout_s == 7
        assert read_settings(lifecycle=lifecycle, model_idle_timeout_secs=0).model_idle_timeout_s is None
