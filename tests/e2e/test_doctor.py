"""`molva doctor` as its user runs it."""

import json
import socket
from contextlib import closing
from pathlib import Path

import pytest

from tests.e2e.conftest import molva_serve, run_molva


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_settings_that_serve_refuses_are_the_problem(tmp_path: Path) -> None:
    done = run_molva("doctor", "--json", "--host", "0.0.0.0", home=tmp_path)
    document = json.loads(done.stdout)
    assert (done.returncode, document["sound"]) == (1, False)
    [finding] = document["findings"]
    assert (finding["check"], finding["status"]) == ("settings", "problem")
    assert "--bind-all" in finding["message"]


def test_people_get_a_line_for_each_check_and_what_to_change(tmp_path: Path) -> None:
    done = run_molva("doctor", "--quick", "--device", "coreml", "--port", str(free_port()), home=tmp_path)
    lines = done.stdout.decode().splitlines()
    assert done.returncode == 1
    [problem] = [number for number, line in enumerate(lines) if line.startswith("problem ")]
    assert lines[problem].split()[1] == "device"
    assert lines[problem + 1].strip().startswith("→")
    assert len(lines) > 15


@pytest.mark.slow
def test_a_running_server_is_recognised_and_not_disturbed(tmp_path: Path, tiny_dir: Path) -> None:
    port = str(free_port())
    args = ("--model", "gigaam-v3-rnnt", "--model-dir", tiny_dir, "--precision", "fp32", "--port", port)
    with molva_serve(*args, home=tmp_path) as server:
        server.url()
        done = run_molva("doctor", "--json", *args, home=tmp_path)
        document = json.loads(done.stdout)
        assert (done.returncode, document["sound"]) == (0, True), document
        told = {finding["check"]: finding["message"] for finding in document["findings"]}
        assert "gigaam-v3-rnnt" in told["port"]
        assert "not measured" in told["speed"]
        assert server.stop() == 0
