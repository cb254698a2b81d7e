"""Defaults < environment < flags; loopback unless said otherwise; every setting has a flag and a line in the docs."""

import base64
import inspect
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from molva.cli.serve import serve
from molva.configuration import FOREIGN, read_settings
from molva.errors import SettingsError
from molva.loopback import is_loopback
from molva.settings import Settings, is_reloadable

NO_FLAGS = {"api_key", "webhook_secret"}
"""Secrets: every user of a machine can read the flags of its processes."""


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MOLVA_CONFIG", *FOREIGN, *(f"MOLVA_{name.upper()}" for name in Settings.model_fields)):
        monkeypatch.delenv(name, raising=False)


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
        ({"pool_size": 0}, "--pool-size"),
        ({"precision": "int4"}, "precision"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_wrong_value_is_named(flags: dict[str, Any], named: str) -> None:
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


def test_metrics_have_an_address_of_their_own_where_one_is_given() -> None:
    assert read_settings().metrics_address is None
    assert read_settings(metrics_listen="127.0.0.1:9090").metrics_address == ("127.0.0.1", 9090)
    assert read_settings(metrics_listen="[::1]:0").metrics_address == ("[::1]", 0)
    with pytest.raises(SettingsError, match=r"metrics_listen 0\.0\.0\.0 .*--bind-all"):
        read_settings(metrics_listen="0.0.0.0:9090")
    assert read_settings(metrics_listen="0.0.0.0:9090", bind_all=True).metrics_address == ("0.0.0.0", 9090)
    for wrong in ("9090", ":9090", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:x", "a b:9090"):
        with pytest.raises(SettingsError, match="ADDRESS:PORT"):
            read_settings(metrics_listen=wrong)


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
    monkeypatch.setenv("MOLVA_API_KEY", "opensesame")
    assert "sesame" not in repr(read_settings())
    for bad in ("open sesame", "opensesame\n", "сезамsesame"):
        monkeypatch.setenv("MOLVA_API_KEY", bad)
        with pytest.raises(SettingsError, match="MOLVA_API_KEY") as caught:
            read_settings()
        assert "sesame" not in str(caught.value)


def test_a_secret_of_webhooks_is_checked_and_shown_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (f"whsec_{base64.b64encode(letter * 32).decode()}" for letter in (b"a", b"b"))
    monkeypatch.setenv("MOLVA_WEBHOOK_SECRET", f"{first} {second}")
    settings = read_settings()
    assert settings.webhook_secrets == (first, second)
    assert first not in repr(settings)
    for bad in (f"{first} whsec_c2VzYW1l", "opensesame", "  "):
        monkeypatch.setenv("MOLVA_WEBHOOK_SECRET", bad)
        with pytest.raises(SettingsError, match="MOLVA_WEBHOOK_SECRET: a secret of webhooks is whsec_") as caught:
            read_settings()
        assert not bad.strip() or bad not in str(caught.value)


def test_networks_and_hosts_are_checked_at_start() -> None:
    settings = read_settings(allow_network=["10.0.0.0/8", "fd00::/8", "192.168.1.5"], job_url_host=["Files.example"])
    assert [str(network) for network in settings.allowed_networks] == ["10.0.0.0/8", "fd00::/8", "192.168.1.5/32"]
    assert settings.job_url_hosts == frozenset({"files.example"})
    for network in ("10.0.0.1/8", "example.com", ""):
        with pytest.raises(SettingsError, match="--allow-network"):
            read_settings(allow_network=[network])
    for host in ("https://files.example", "files.example:80", "*.example", "", "a/b"):
        with pytest.raises(SettingsError, match="--job-url-host"):
            read_settings(job_url_host=[host])


def test_who_may_call_and_who_tells_for_whom_is_checked_at_start() -> None:
    settings = read_settings(trust_proxy=["127.0.0.1", "fd00::/8"], allow_host=["speech.example", "fd00::1", "*"])
    assert [str(network) for network in settings.trusted_proxies] == ["127.0.0.1/32", "fd00::/8"]
    for proxy in ("127.0.0.1/8", "proxy.example", ""):
        with pytest.raises(SettingsError, match="trust-proxy"):
            read_settings(trust_proxy=[proxy])
    for host in ("http://speech.example", "speech.example:80", "a b", ""):
        with pytest.raises(SettingsError, match="allow-host"):
            read_settings(allow_host=[host])


def test_a_rate_needs_a_burst() -> None:
    assert read_settings(rate_limit_burst=0).rate_limit_per_minute == 0
    with pytest.raises(SettingsError, match="rate_limit_burst"):
        read_settings(rate_limit_per_minute=60, rate_limit_burst=0)


def test_recordings_are_fetched_from_nowhere_or_from_anywhere_if_that_is_said() -> None:
    assert read_settings().job_url_hosts == frozenset()
    assert read_settings(job_url_host=["files.example", "*"]).job_url_hosts is None


def test_an_empty_key_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOLVA_API_KEY", "")
    assert read_settings().api_key is None


def test_jobs_and_webhooks_live_in_the_data_folder() -> None:
    assert read_settings(data_dir="/srv/molva").database == Path("/srv/molva/molva.db")


def test_keys_live_in_the_data_folder() -> None:
    assert read_settings().key_file == Path.home() / ".molva" / "keys.json"
    assert read_settings(data_dir="/srv/molva", model_dir="/models").key_file == Path("/srv/molva/keys.json")


def test_every_setting_but_secrets_is_a_flag_of_serve() -> None:
    assert set(inspect.signature(serve).parameters) == {"config", *Settings.model_fields} - NO_FLAGS


def test_every_setting_is_documented_with_its_default() -> None:
    page = (Path(__file__).parent.parent / "docs" / "settings.md").read_text(encoding="utf-8")
    for name, field in Settings.model_fields.items():
        flag = "none" if name in NO_FLAGS else f"`--{name.replace('_', '-')}`"
        [row] = [line for line in page.splitlines() if line.startswith(f"| {flag} | `MOLVA_{name.upper()}` |")]
        default = "" if field.default in (None, (), False) else f"`{field.default}`"
        assert default in row
        assert row.endswith(" ↻ |") == is_reloadable(name), name


def test_the_example_file_has_every_setting_with_its_default_and_says_which_can_change() -> None:
    text = (Path(__file__).parent.parent / "deploy" / "molva.toml").read_text(encoding="utf-8")
    assert tomllib.loads(text) == {}
    lines = text.splitlines()
    example = tomllib.loads("\n".join(line.removeprefix("#") for line in lines if re.match(r"#\w+ = ", line)))
    assert list(example) == list(Settings.model_fields)
    for secret in NO_FLAGS:
        with pytest.raises(ValidationError):  # nobody's server opens to a key that all can read here
            Settings(**{secret: example[secret]})
    Settings(**{name: value for name, value in example.items() if name not in NO_FLAGS})
    for name, field in Settings.model_fields.items():
        if field.default is not None:
            default = TypeAdapter(Any).dump_python(field.default, mode="json")
            assert (example[name], type(example[name])) == (default, type(default)), name
        [at] = [number for number, line in enumerate(lines) if line.startswith(f"#{name} = ")]
        mark = "↻ " if is_reloadable(name) else ""
        assert lines[at - 1] == f"# {mark}{field.description}"


def test_an_unused_model_goes_after_five_minutes_if_lazy_and_never_if_eager_unless_said_otherwise() -> None:
    assert read_settings().model_idle_timeout_s is None
    assert read_settings(lifecycle="lazy").model_idle_timeout_s == 300
    for lifecycle in ("eager", "lazy"):
        assert read_settings(lifecycle=lifecycle, model_idle_timeout_secs=7).model_idle_timeout_s == 7
        assert read_settings(lifecycle=lifecycle, model_idle_timeout_secs=0).model_idle_timeout_s is None
