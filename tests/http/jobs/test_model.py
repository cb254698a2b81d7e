"""The life of the model over HTTP, for clients of whisper-server. Numbers are those of the contract's scenarios.

Rules of jobs are with the jobs.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import httpx2
import pytest

from molva.engines.fake import FakeEngine
from molva.errors import ModelError
from molva.http.jobs.model import BUFFER
from molva.http.origin import OriginPolicy
from molva.keys import KeyRing
from molva.runtime.gpu import GpuPatience
from molva.runtime.loading import sample_speech
from molva.runtime.model_state import LOADING, ModelEvent
from molva.runtime.scheduler import Scheduler
from tests.conftest import fake_nvidia_smi
from tests.http.conftest import Gate, Loading, Running, serving, wav
from tests.http.openai.conftest import store_of
from tests.listener import Listener
from tests.listener import listening as listening_to

SPEECH = wav(sample_speech())
FULL = ModelError("CUDA failed with error out of memory")
ROUTES = [("GET", "/model/status"), ("POST", "/model/load"), ("POST", "/model/unload"), ("GET", "/model/events")]


def state(server: Running) -> str:
    return str(server.client.get("/model/status").json()["state"])


@contextmanager
def listening(server: Running) -> Iterator[Listener]:
    """To the events of the model, from the beginning of the block on."""
    with listening_to(f"{server.url}/model/events") as listener:
        yield listener


@pytest.fixture
def lazy() -> Iterator[Running]:
    """A server whose model is not loaded."""
    with serving(FakeEngine(), lazy=True) as server:
        yield server


class TestStatus:
    def test_1_at_start_it_is_unloaded(self, lazy: Running) -> None:
        answer = lazy.client.get("/model/status")
        assert answer.status_code == 200
        assert answer.json() == {"state": "unloaded", "model": "fake", "models": []}

    def test_4_ready_tells_since_when(self, lazy: Running) -> None:
        lazy.load()
        status = lazy.client.get("/model/status").json()
        assert status["state"] == "ready"
        assert datetime.fromisoformat(status["loaded_at"]).tzinfo is not None

    def test_it_tells_what_is_in_memory_and_who_uses_it(self, gate: Gate) -> None:
        with serving(FakeEngine(gate)) as server, ThreadPoolExecutor() as threads:
            threads.submit(httpx2.post, f"{server.url}/v1/transcribe", content=SPEECH)
            assert gate.entered.wait(10)
            models = server.client.get("/model/status").json()["models"]
            gate.opened.set()
        assert models == [{"id": "fake", "state": "ready", "users": 1}]

    def test_before_the_files_are_here_it_is_loading(self) -> None:
        with serving(None) as server:
            assert server.client.get("/model/status").json()["state"] == "loading"

    def test_waiting_for_the_gpu_tells_what_is_missing(self) -> None:
        loading = Loading([FULL])
        with serving(FakeEngine(), lazy=True, loading=loading, gpu=GpuPatience(60, lambda _: 2048)) as server:
            server.client.post("/model/load")
            server.wait_for_model("waiting_for_gpu")
            status = server.client.get("/model/status").json()
        assert status["vram_needed_mb"] == 2048
        assert status["retry_in_secs"] == 60

    def test_the_gpus_memory_is_told_where_there_is_one(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", fake_nvidia_smi(tmp_path, "Card, 24576, 1024, 23552"))
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        with serving(FakeEngine()) as server:
            assert "vram_used_mb" not in server.client.get("/model/status").json()
            server.state.device = "cuda"
            status = server.client.get("/model/status").json()
        assert (status["vram_used_mb"], status["vram_total_mb"]) == (1024, 24576)


class TestLoad:
    def test_2_when_unloaded_it_is_202(self, lazy: Running) -> None:
        answer = lazy.client.post("/model/load")
        assert (answer.status_code, answer.json()) == (202, {"status": "load_initiated"})

    def test_3_it_does_not_wait(self) -> None:
        loading = Loading()
        loading.gate.clear()
        with serving(FakeEngine(), lazy=True, loading=loading) as server:
            server.client.post("/model/load")
            assert state(server) == "loading"
            loading.gate.set()
            server.wait_for_model("ready")

    def test_5_when_ready_it_is_200_and_stays_ready(self, fake_server: Running) -> None:
        answer = fake_server.client.post("/model/load")
        assert (answer.status_code, answer.json()) == (200, {"status": "already_ready"})
        assert state(fake_server) == "ready"

    def test_17_several_at_once_are_one_load(self) -> None:
        loading = Loading()
        with serving(FakeEngine(), lazy=True, loading=loading) as server, ThreadPoolExecutor(3) as threads:
            answers = list(threads.map(lambda _: httpx2.post(f"{server.url}/model/load").status_code, range(3)))
            server.wait_for_model("ready")
            assert set(answers) <= {200, 202}
            assert loading.attempts == 1

    def test_a_failure_leaves_it_unloaded_and_the_next_load_tries_again(self) -> None:
        loading = Loading([ModelError("the file is damaged")])
        with serving(FakeEngine(), lazy=True, loading=loading) as server:
            with listening(server) as listener:
                server.client.post("/model/load")
                listener.wait_for(lambda names: names == ["model_loading", "model_unloaded"])
            server.client.post("/model/load")
            server.wait_for_model("ready")

    def test_a_full_gpu_is_tried_again_until_it_has_room(self) -> None:
        loading = Loading([FULL, FULL])
        with serving(FakeEngine(), lazy=True, loading=loading, gpu=GpuPatience(0.01, lambda _: None)) as server:
            server.client.post("/model/load")
            server.wait_for_model("ready")
            assert loading.attempts == 3

    def test_before_the_files_are_here_it_is_remembered(self) -> None:
        with serving(None) as server:
            server.state.load_at_start = False
            assert server.client.post("/model/load").status_code == 202
            assert server.state.load_at_start

    def test_another_model_is_loaded_by_its_name(self, tmp_path: Path) -> None:
        store, scheduler = store_of(tmp_path, "whisper-tiny"), Scheduler(1)
        with serving(FakeEngine(), lazy=True, store=store, load=lambda _: scheduler.lane(FakeEngine())) as server:
            assert server.client.post("/model/load?model=whisper-tiny").status_code == 202
            server.wait_until(lambda server: server.recognizer.model_state("whisper-tiny").state == "ready")  # type: ignore[union-attr]
            assert state(server) == "unloaded"
            server.client.post("/model/unload?model=whisper-tiny")
            server.wait_until(lambda server: not server.recognizer.in_memory)  # type: ignore[union-attr]
        scheduler.close()

    @pytest.mark.parametrize(
        ("name", "status", "code"),
        [
            ("nothing", 404, "unknown_model"),
            ("whisper-small", 404, "model_not_installed"),
            ("x" * 65, 400, "invalid_option"),
        ],
    )
    @pytest.mark.parametrize("command", ["load", "unload"])
    def test_a_model_that_is_not_here_is_told(
        self, lazy: Running, command: str, name: str, status: int, code: str
    ) -> None:
        answer = lazy.client.post(f"/model/{command}", params={"model": name})
        assert (answer.status_code, answer.json()["code"]) == (status, code)


class TestUnload:
    def test_7_it_is_unloaded_then(self) -> None:
        with serving(FakeEngine()) as server:
            answer = server.client.post("/model/unload")
            assert (answer.status_code, answer.json()) == (200, {"status": "unload_requested"})
            server.wait_for_model("unloaded")

    def test_of_what_is_unloaded_leaves_the_next_load_alone(self, lazy: Running) -> None:
        assert lazy.client.post("/model/unload").json() == {"status": "unload_requested"}
        lazy.client.post("/model/load")
        lazy.wait_for_model("ready")
        assert state(lazy) == "ready"

    def test_a_request_that_runs_is_finished_first(self, gate: Gate) -> None:
        with serving(FakeEngine(gate)) as server, ThreadPoolExecutor() as threads:
            request = threads.submit(httpx2.post, f"{server.url}/v1/transcribe", content=SPEECH, timeout=20)
            assert gate.entered.wait(10)
            server.client.post("/model/unload")
            assert state(server) == "ready"
            gate.opened.set()
            assert request.result(20).status_code == 200
            server.wait_for_model("unloaded")

    def test_18_during_loading_it_ends_unloaded(self) -> None:
        loading = Loading()
        loading.gate.clear()
        with serving(FakeEngine(), lazy=True, loading=loading) as server:
            server.client.post("/model/load")
            server.client.post("/model/unload")
            loading.gate.set()
            server.wait_for_model("unloaded")

    def test_it_ends_the_wait_for_the_gpu(self) -> None:
        loading = Loading([FULL])
        with serving(FakeEngine(), lazy=True, loading=loading, gpu=GpuPatience(60, lambda _: None)) as server:
            server.client.post("/model/load")
            server.wait_for_model("waiting_for_gpu")
            server.client.post("/model/unload")
            assert state(server) == "unloaded"


class TestIdle:
    def test_1_it_is_unloaded_when_nobody_needs_it(self) -> None:
        with serving(FakeEngine(), lazy=True, idle_timeout_s=0.05) as server:
            server.load()
            server.wait_for_model("unloaded")

    def test_asking_how_it_is_neither_loads_it_nor_keeps_it(self) -> None:
        with serving(FakeEngine(), lazy=True, idle_timeout_s=0.05) as server:
            server.load()
            server.wait_until(lambda _: server.client.get("/health").json()["model_state"] == "unloaded")
            for path in ("/model/status", "/health", "/ready", "/v1/models"):
                server.client.get(path)
            assert state(server) == "unloaded"


class TestEvents:
    def test_14_every_transition_is_told_with_its_name(self, lazy: Running) -> None:
        with listening(lazy) as listener:
            lazy.load()
            lazy.client.post("/model/unload")
            listener.wait_for(lambda names: len(names) == 3)
        assert listener.names == ["model_loading", "model_ready", "model_unloaded"]
        assert [event["type"] for _, event in listener.events] == listener.names
        assert listener.events[0][1].keys() == {"type"}
        assert listener.events[1][1].keys() == {"type", "loaded_at"}

    def test_waiting_for_the_gpu_is_told_with_what_is_missing(self) -> None:
        loading = Loading([FULL])
        with (
            serving(FakeEngine(), lazy=True, loading=loading, gpu=GpuPatience(60, lambda _: 2048)) as server,
            listening(server) as listener,
        ):
            server.client.post("/model/load")
            listener.wait_for(lambda names: len(names) == 2)
        name, event = listener.events[1]
        assert name == event["type"] == "model_waiting_for_gpu"
        assert event["vram_needed_mb"] == 2048
        assert event["retry_in_secs"] == 60

    def test_what_was_before_is_not_told(self, fake_server: Running) -> None:
        with listening(fake_server) as listener:
            fake_server.client.post("/model/load")
            fake_server.client.get("/health")
        assert listener.events == []

    def test_a_slow_reader_loses_the_oldest(self, lazy: Running) -> None:
        with lazy.client.stream("GET", "/model/events") as answer:
            lazy.wait_until(lambda server: bool(server.model_listeners))

            def flood() -> None:
                for put in list(lazy.state.model_listeners):
                    for _ in range(BUFFER):
                        put(ModelEvent(LOADING))
                    put(ModelEvent(lazy.state.model_state))

            lazy.loop.call_soon_threadsafe(flood)
            names = [line for line in (next(lines) for lines in [answer.iter_lines()] * 3 * BUFFER) if "event" in line]
        assert len(names) == BUFFER
        assert names[-1] == "event: model_unloaded"

    def test_it_ends_when_the_server_drains(self, lazy: Running) -> None:
        with listening(lazy) as listener:
            lazy.drain()
            assert listener.ended.wait(10)
            assert listener.problems == []

    def test_a_reader_that_leaves_is_forgotten_without_a_word(
        self, lazy: Running, caplog: pytest.LogCaptureFixture
    ) -> None:
        with lazy.client.stream("GET", "/model/events"):
            lazy.wait_until(lambda server: len(server.model_listeners) == 1)
        lazy.wait_until(lambda server: not server.model_listeners)
        lazy.client.get("/health")
        assert [record for record in caplog.records if record.name.startswith("uvicorn")] == []


class TestManners:
    @pytest.mark.parametrize(("method", "path"), ROUTES)
    def test_they_ask_for_keys(self, tmp_path: Path, method: str, path: str) -> None:
        keys = KeyRing(tmp_path / "keys.json", {"env": "secret"})
        with serving(FakeEngine(), keys=keys) as server:
            answer = server.client.request(method, path)
            assert (answer.status_code, answer.json().keys()) == (401, {"error", "code"})
            assert answer.json()["code"] == "invalid_api_key"

    @pytest.mark.parametrize(("method", "path"), ROUTES)
    def test_foreign_pages_are_refused(self, fake_server: Running, method: str, path: str) -> None:
        answer = fake_server.client.request(method, path, headers={"origin": "https://evil.example"})
        assert (answer.status_code, answer.json().keys()) == (403, {"error", "code"})
        assert answer.json()["code"] == "origin_denied"

    @pytest.mark.parametrize(("method", "path"), ROUTES)
    def test_a_preflight_is_204_and_permits_what_these_clients_send(self, method: str, path: str) -> None:
        with serving(FakeEngine(), origins=OriginPolicy(["https://app.example"])) as server:
            answer = server.client.options(path, headers={"origin": "https://app.example"})
        assert answer.status_code == 204
        assert answer.headers["access-control-allow-methods"] == "GET, POST, DELETE, OPTIONS"
        assert answer.headers["access-control-allow-headers"] == "*, Authorization, Content-Type"

    @pytest.mark.parametrize(
        ("method", "path", "status", "code"),
        [
            ("GET", "/model/nothing", 404, "not_found"),
            ("GET", "/jobs/1/nothing", 404, "not_found"),
            ("GET", "/model/load", 405, "method_not_allowed"),
        ],
    )
    def test_what_is_not_there_is_told_in_their_words(
        self, fake_server: Running, method: str, path: str, status: int, code: str
    ) -> None:
        answer = fake_server.client.request(method, path)
        assert answer.status_code == status
        assert answer.json().keys() == {"error", "code"}
        assert answer.json()["code"] == code

    @pytest.mark.parametrize(("method", "path"), [("POST", "/model/load"), ("GET", "/model/events")])
    def test_while_draining_nothing_new_is_begun(self, method: str, path: str) -> None:
        with serving(FakeEngine(), lazy=True) as server:
            server.drain()
            answer = server.client.request(method, path)
        assert (answer.status_code, answer.json()["code"]) == (503, "pool_closed")
