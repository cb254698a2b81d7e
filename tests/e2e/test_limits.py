"""Limits of a real server, by its flags."""

from pathlib import Path

import httpx2
import pytest

from tests.e2e.conftest import molva_serve, run_molva
from tests.http.raw import answers_to, statuses


@pytest.mark.slow
def test_flags_limit_clients_behind_a_proxy_and_names(tmp_path: Path, tiny_dir: Path) -> None:
    limits = ("--rate-limit-per-minute", "1", "--rate-limit-burst", "2", "--trust-proxy", "127.0.0.1")
    with molva_serve("--port", "0", "--model-dir", tiny_dir, *limits, home=tmp_path) as process:
        url = process.url() + "/v1/models"
        for client in ("192.0.2.1", "192.0.2.2"):
            headers = {"x-forwarded-for": client, "host": "speech.example"}
            assert [httpx2.get(url, headers=headers).status_code for _ in range(3)] == [200, 200, 429]
        assert process.stop() == 0
    assert "192.0.2" not in process.text + "".join(process.errors)


@pytest.mark.slow
def test_on_loopback_only_its_own_names_are_answered(tmp_path: Path, tiny_dir: Path) -> None:
    flags = ("--allow-host", "speech.example", "--header-timeout-secs", "0.5")
    with molva_serve("--port", "0", "--model-dir", tiny_dir, *flags, home=tmp_path) as process:
        url = process.url() + "/v1/models"
        told = [httpx2.get(url, headers={"host": host}).status_code for host in ("evil.example", "speech.example:9")]
        assert told == [403, 200]
        assert statuses(answers_to(url, b"GET /health HTTP/1.1\r\nHo")) == [408]
        assert process.stop() == 0


@pytest.mark.slow
def test_where_others_can_reach_it_it_has_any_name(tmp_path: Path, tiny_dir: Path) -> None:
    with molva_serve(
        "--port", "0", "--host", "0.0.0.0", "--bind-all", "--model-dir", tiny_dir, home=tmp_path
    ) as process:
        url = process.url().replace("0.0.0.0", "127.0.0.1") + "/v1/models"
        assert httpx2.get(url, headers={"host": "speech.example"}).status_code == 200
        assert process.stop() == 0


def test_a_rate_that_nobody_can_keep_is_an_error_at_start(tmp_path: Path) -> None:
    result = run_molva("serve", "--rate-limit-per-minute", "10", "--rate-limit-burst", "0", home=tmp_path)
    assert result.returncode == 1
    assert b"rate_limit_burst" in result.stderr
