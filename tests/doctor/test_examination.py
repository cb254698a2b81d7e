"""All checks together: whatever is wrong becomes a finding, with what to change."""

import socket
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from molva.configuration import read_settings
from molva.doctor.examination import examine
from molva.doctor.finding import Finding
from molva.keys import KeyFile
from molva.settings import Settings


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"MOLVA_{name.upper()}", raising=False)


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def look(data_dir: Path, *, verify: bool = False, quick: bool = True, **flags: Any) -> dict[str, list[Finding]]:
    """Findings by their checks."""
    settings = read_settings(**{"data_dir": data_dir, "port": free_port(), **flags})
    checks: dict[str, list[Finding]] = {}
    for finding in examine(settings, verify=verify, quick=quick):
        assert finding.status == "ok" or finding.advice, finding
        checks.setdefault(finding.check, []).append(finding)
    return checks


def bad(checks: dict[str, list[Finding]]) -> set[str]:
    return {name for name, findings in checks.items() if any(finding.status == "problem" for finding in findings)}


def test_a_new_machine_has_no_problem_and_is_left_as_it_was(tmp_path: Path) -> None:
    checks = look(tmp_path / "data")
    assert bad(checks) == set()
    assert [finding.status for finding in checks["speed"]] == ["warning"]
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_is_here_is_hashed_if_asked_and_measured_unless_it_shall_be_quick(
    tmp_path: Path, tiny_dir: Path
) -> None:
    tiny: dict[str, Any] = {"model": "gigaam-v3-rnnt", "model_dir": tiny_dir, "precision": "fp32"}
    checks = look(tmp_path, quick=False, **tiny)
    assert bad(checks) == set()
    assert "live at once" in checks["sessions"][0].message
    checks = look(tmp_path, verify=True, **tiny)
    assert bad(checks) == {"files"}, "the tiny model's files are not the catalog's"
    assert "speed" not in checks


def test_an_unknown_model_and_a_missing_device_are_problems(tmp_path: Path) -> None:
    assert bad(look(tmp_path, model="gigaam-v9")) == {"access"}
    assert bad(look(tmp_path, device="coreml")) == {"device"}


def test_keys_that_others_can_read_and_a_damaged_file_of_them_are_problems(tmp_path: Path) -> None:
    keys = KeyFile(tmp_path / "keys.json")
    keys.create("someone")
    assert bad(look(tmp_path)) == set()
    keys.path.chmod(0o644)
    assert bad(look(tmp_path)) == {"rights"}
    keys.path.chmod(0o600)
    keys.path.write_text("{")
    checks = look(tmp_path, host="0.0.0.0", bind_all=True)
    assert bad(checks) == {"keys"}
    assert checks["exposure"][0].status == "ok", "nobody gets in"


def test_every_look_that_is_refused_is_a_finding_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Path) -> list[Path]:
        raise PermissionError(13, "Permission denied", "spool")

    monkeypatch.setattr("molva.doctor.storage.abandoned", refuse)
    checks = look(tmp_path)
    assert bad(checks) == {"access"}
    assert {"spool", "model"} & checks.keys() == {"model"}
