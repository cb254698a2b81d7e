"""Keys of a real server: made, used and revoked by commands beside it."""

from pathlib import Path

import httpx2
import pytest

from tests.conftest import SEEN
from tests.e2e.conftest import molva_serve, run_molva

OPEN = ("--port", "0", "--host", "0.0.0.0", "--bind-all")


@pytest.mark.slow
def test_commands_beside_a_running_server_lock_it_and_its_log_has_no_key(tmp_path: Path, tiny_dir: Path) -> None:
    with molva_serve(*OPEN, "--model-dir", tiny_dir, "--log-level", "debug", home=tmp_path) as process:
        url = process.url().replace("0.0.0.0", "127.0.0.1") + "/v1/models"
        [warning] = [line for line in process.errors if "WARNING" in line]
        assert f"molva keys create NAME --data-dir {tmp_path / '.molva'}" in warning
        assert httpx2.get(url).status_code == 200

        key = run_molva("keys", "create", "laptop", home=tmp_path).stdout.decode().strip()
        headers = {"authorization": f"Bearer {key}"}
        assert httpx2.get(url).status_code == 401
        assert httpx2.get(url, headers=headers).status_code == 200

        assert run_molva("keys", "revoke", "laptop", home=tmp_path).returncode == 0
        assert httpx2.get(url, headers=headers).status_code == 401
        assert httpx2.get(url).status_code == 401
        assert process.stop() == 0
    assert key not in process.text + "".join(process.errors)


@pytest.mark.slow
def test_a_key_out_of_the_environment_is_asked_for_and_needs_no_warning(tmp_path: Path, tiny_dir: Path) -> None:
    with molva_serve(*OPEN, "--model-dir", tiny_dir, home=tmp_path, MOLVA_API_KEY="sesame") as process:
        url = process.url().replace("0.0.0.0", "127.0.0.1") + "/v1/models"
        assert httpx2.get(url).status_code == 401
        assert httpx2.get(url, headers={"authorization": "Bearer sesame"}).status_code == 200
        assert process.stop() == 0
    assert "WARNING" not in "".join(process.errors)


def test_errors_are_one_line(tmp_path: Path) -> None:
    result = run_molva("keys", "revoke", "nobody", home=tmp_path)
    assert (result.returncode, result.stdout) == (1, b"")
    assert result.stderr.decode().splitlines() == [
        "molva: There is no key 'nobody'. `molva keys list` shows what there is."
    ]


@pytest.mark.slow
def test_listening_takes_the_key_out_of_the_environment(tmp_path: Path, tiny_dir: Path) -> None:
    with molva_serve("--port", "0", "--model-dir", tiny_dir, home=tmp_path, MOLVA_API_KEY="sesame") as process:
        listen = ("listen", SEEN[3].path, "--fast", "--url", process.url())
        heard = run_molva(*listen, home=tmp_path, MOLVA_API_KEY="sesame")
        assert heard.returncode == 0
        assert heard.stdout.decode().strip()
        refused = run_molva(*listen, home=tmp_path)
        assert refused.returncode == 1
        assert b"Incorrect API key" in refused.stderr
        assert process.stop() == 0
    assert "completing handshake" not in "".join(process.errors)
