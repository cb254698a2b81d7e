"""`molva doctor` as its user runs it."""

import json
import socket
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.e2e.conftest import molva_serve, run_molva


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def doctor(*args: str | Path, home: Path, api_key: str = "") -> tuple[int, dict[str, list[dict[str, str]]]]:
    """Exit status, and findings by their checks."""
    port = () if "--port" in args else ("--port", str(free_port()))
    done = run_molva("doctor", "--json", *port, *args, home=home, MOLVA_API_KEY=api_key)
    document: dict[str, Any] = json.loads(done.stdout)
    checks: dict[str, list[dict[str, str]]] = {}
    for finding in document["findings"]:
        checks.setdefault(finding["check"], []).append(finding)
        assert finding["status"] == "ok" or finding["advice"], finding
    assert document["sound"] == (done.returncode == 0)
    return done.returncode, checks


def status(checks: dict[str, list[dict[str, str]]], name: str) -> set[str]:
    return {finding["status"] for finding in checks[name]}


def test_a_new_machine_has_no_problem_and_is_left_as_it_was(tmp_path: Path) -> None:
    code, checks = doctor(home=tmp_path)
    assert code == 0, checks
    assert status(checks, "speed") == {"warning"}
    assert not (tmp_path / ".molva").exists()


def test_a_model_that_is_here_is_measured_unless_it_shall_be_quick(tmp_path: Path, tiny_dir: Path) -> None:
    args = ("--model", "gigaam-v3-rnnt", "--model-dir", tiny_dir, "--precision", "fp32")
    code, checks = doctor(*args, home=tmp_path)
    assert code == 0, checks
    assert "live at once" in checks["sessions"][0]["message"]
    code, checks = doctor(*args, "--quick", home=tmp_path)
    assert (code, "sessions" in checks) == (0, False)


def test_settings_that_serve_refuses_are_a_problem(tmp_path: Path) -> None:
    code, checks = doctor("--host", "0.0.0.0", home=tmp_path)
    assert (code, status(checks, "settings")) == (1, {"problem"})
    code, checks = doctor("--host", "0.0.0.0", "--bind-all", home=tmp_path)
    assert (code, status(checks, "exposure")) == (0, {"warning"})


def test_keys_that_others_can_read_and_a_damaged_file_of_them_are_problems(tmp_path: Path) -> None:
    folder = tmp_path / ".molva"
    assert run_molva("keys", "create", "someone", home=tmp_path).returncode == 0
    code, checks = doctor("--quick", home=tmp_path, api_key="short")
    assert (code, status(checks, "keys")) == (0, {"warning", "ok"})
    (folder / "keys.json").chmod(0o644)
    code, checks = doctor("--quick", home=tmp_path)
    assert (code, status(checks, "rights")) == (1, {"problem"})
    (folder / "keys.json").write_text("{")
    code, checks = doctor("--quick", home=tmp_path)
    assert (code, status(checks, "keys")) == (1, {"problem"})


def test_people_get_a_line_for_each_check(tmp_path: Path) -> None:
    done = run_molva("doctor", "--quick", "--device", "coreml", "--port", str(free_port()), home=tmp_path)
    lines = done.stdout.decode().splitlines()
    assert done.returncode == 1
    assert sum(line.startswith("problem ") for line in lines) == 1
    assert lines[[line.startswith("problem  device") for line in lines].index(True) + 1].strip().startswith("→")


def test_a_running_server_is_recognised_and_not_disturbed(tmp_path: Path, tiny_dir: Path) -> None:
    args = ("--model", "gigaam-v3-rnnt", "--model-dir", tiny_dir, "--precision", "fp32")
    port = free_port()
    with molva_serve(*args, "--port", str(port), home=tmp_path) as server:
        server.url()
        code, checks = doctor(*args, "--port", str(port), home=tmp_path)
        assert code == 0, checks
        assert "gigaam-v3-rnnt" in checks["port"][0]["message"]
        assert status(checks, "database") == {"ok"}
        assert "not measured" in checks["speed"][0]["message"]
        assert server.stop() == 0
