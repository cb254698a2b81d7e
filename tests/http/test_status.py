"""`/v1/status`: how things stand."""

import shutil
from pathlib import Path
from typing import Any

import httpx2
from websockets.sync.client import connect

from molva import __version__
from molva.engines.fake import FakeEngine
from molva.http.status import Status
from molva.models.store import ModelStore
from tests.conftest import TINY
from tests.http.conftest import Gate, Running, serving
from tests.http.jobs.conftest import serving_jobs
from tests.http.openai.conftest import SPEECH


def status(server: Running) -> dict[str, Any]:
    answer = server.client.get("/v1/status")
    assert answer.status_code == 200
    return Status.model_validate_json(answer.content, strict=True).model_dump()


def test_a_server_at_rest(fake_server: Running) -> None:
    told = status(fake_server)
    assert told["version"] == __version__
    assert told["stopping"] is False
    assert told["sessions"] == told["requests"] == {"total": 2, "taken": 0, "waiting": 0}
    assert told["queue"] == {"live_final": 0, "live_partial": 0, "request": 0, "job": 0}
    assert told["jobs"] is None
    [model] = told["models"]
    assert (model["id"], model["main"], model["state"], model["precision"]) == ("fake", True, "ready", "fp32")


def test_time_and_work_go_forward(fake_server: Running) -> None:
    before = status(fake_server)
    fake_server.client.post("/v1/transcribe", content=SPEECH).raise_for_status()
    after = status(fake_server)
    assert after["uptime_s"] >= before["uptime_s"]
    assert after["cpu_s"] > before["cpu_s"]


def test_those_who_are_served_and_those_who_wait(gate: Gate) -> None:
    with serving(FakeEngine(script=gate), pool_size=1) as server, connect(server.ws_url) as first:
        first.recv()
        assert status(server)["sessions"] == {"total": 1, "taken": 1, "waiting": 0}
        with connect(server.ws_url):
            server.wait_until(lambda state: state.recognizer.admission.sessions.waiting == 1)  # type: ignore[union-attr]
            assert status(server)["sessions"] == {"total": 1, "taken": 1, "waiting": 1}
        assert status(server)["models"][0]["users"] == 1


def test_models_on_the_disk_are_told_with_the_main_one_first(tmp_path: Path) -> None:
    models = tmp_path / "models"
    shutil.copytree(TINY, models)
    with serving(FakeEngine(), store=ModelStore(models)) as server:
        told = status(server)["models"]
        assert [(model["id"], model["main"], model["state"]) for model in told] == [
            ("fake", True, "ready"),
            ("gigaam-v3-rnnt", False, "unloaded"),
        ]


def test_jobs_by_where_they_are() -> None:
    with serving_jobs() as server:
        server.done()
        server.queued()
        told = status(server.server)["jobs"]
        assert told == {"queued": 1, "running": 0, "done": 1, "failed": 0, "cancelled": 0}


def test_it_answers_before_the_model_is_there() -> None:
    with serving(None) as server:
        told = status(server)
        assert (told["sessions"], told["requests"]) == (None, None)
        assert told["models"][0]["state"] == "loading"


def test_it_answers_while_the_server_stops() -> None:
    with serving(FakeEngine()) as server:
        server.drain()
        assert status(server)["stopping"] is True


def test_a_browser_may_ask_first(fake_server: Running) -> None:
    assert httpx2.options(f"{fake_server.url}/v1/status").status_code == 204
