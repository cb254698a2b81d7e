"""What each door does while the model is not in memory: it has it loaded, and waits as for a place."""

import json

import httpx2
import pytest

from molva.engines.fake import FakeEngine
from molva.errors import ModelError
from molva.http.state import SessionLimits
from molva.runtime.gpu import GpuPatience
from tests.http.conftest import Loading, Running, serving
from tests.http.openai.conftest import SPEECH, TRANSCRIPTIONS
from tests.http.wsclient import connected

FILE_ROUTES = ["/v1/transcribe", "/v1/transcribe/stream"]


@pytest.fixture
def held() -> Loading:
    """A load that does not end before the test does."""
    loading = Loading()
    loading.gate.clear()
    return loading


def post(server: Running, path: str) -> httpx2.Response:
    """The shipped clip, as the door wants it."""
    if path == TRANSCRIPTIONS:
        return server.client.post(path, files={"file": ("a.wav", SPEECH)}, data={"model": "whisper-1"})
    return server.client.post(path, content=SPEECH)


@pytest.mark.parametrize("path", [*FILE_ROUTES, TRANSCRIPTIONS])
def test_a_file_has_the_model_loaded_and_is_served(path: str) -> None:
    with serving(FakeEngine(), lazy=True) as server:
        answer = post(server, path)
        assert answer.status_code == 200
        assert "слово4" in answer.text
        assert server.state.model_state.state == "ready"


@pytest.mark.parametrize("path", [*FILE_ROUTES, TRANSCRIPTIONS])
def test_after_an_unload_a_file_has_it_loaded_again(path: str) -> None:
    with serving(FakeEngine()) as server:
        server.client.post("/model/unload")
        server.wait_for_model("unloaded")
        assert post(server, path).status_code == 200


@pytest.mark.parametrize("path", FILE_ROUTES)
def test_a_load_that_takes_too_long_is_the_native_timeout(held: Loading, path: str) -> None:
    with serving(FakeEngine(), lazy=True, loading=held, checkout_timeout_s=0.1) as server:
        answer = post(server, path)
        held.gate.set()
    assert (answer.status_code, answer.json()["code"]) == (503, "timeout")
    assert answer.headers["retry-after"] == "1"


def test_a_load_that_takes_too_long_is_openais_server_error(held: Loading) -> None:
    with serving(FakeEngine(), lazy=True, loading=held, checkout_timeout_s=0.1) as server:
        answer = post(server, TRANSCRIPTIONS)
        held.gate.set()
    assert (answer.status_code, answer.json()["error"]["type"]) == (503, "server_error")
    assert answer.headers["retry-after"] == "1"


def test_a_model_that_cannot_be_loaded_is_told(held: Loading) -> None:
    loading = Loading([ModelError("the file is damaged")])
    with serving(FakeEngine(), lazy=True, loading=loading) as server:
        answer = post(server, "/v1/transcribe")
    assert (answer.status_code, answer.json()["error"]) == (503, "the file is damaged")


def test_who_waits_while_it_is_unloaded_is_told_when_to_come_again() -> None:
    loading = Loading([ModelError("CUDA out of memory")])
    with serving(FakeEngine(), lazy=True, loading=loading, gpu=GpuPatience(60, lambda _: None)) as server:
        recognizer = server.state.recognizer
        assert recognizer is not None
        recognizer.on_model_event(lambda event: recognizer.unload() if event.state.state == "waiting_for_gpu" else None)
        answer = post(server, "/v1/transcribe")
    assert (answer.status_code, answer.json()["code"]) == (503, "model_not_ready")
    assert answer.headers["retry-after"] == "30"


def test_a_live_session_has_it_loaded_and_begins() -> None:
    with serving(FakeEngine(), lazy=True) as server, connected(server) as client:
        assert client.read()["type"] == "ready"


def test_a_live_session_that_waits_too_long_gets_its_timeout(held: Loading) -> None:
    limits = SessionLimits(checkout_timeout_s=0.1)
    with (
        serving(FakeEngine(), lazy=True, loading=held, checkout_timeout_s=0.1, sessions=limits) as server,
        connected(server) as client,
    ):
        message = client.read()
        held.gate.set()
    assert (message["type"], message["code"], message["retry_after_ms"]) == ("error", "timeout", 100)


def test_a_live_session_keeps_the_model() -> None:
    with serving(FakeEngine(), lazy=True, idle_timeout_s=0.05) as server:
        with connected(server) as client:
            client.read()
            server.client.post("/model/unload")
            assert server.state.model_state.state == "ready"
        server.wait_for_model("unloaded")


def test_ready_is_503_and_says_that_it_is_not_in_memory() -> None:
    with serving(FakeEngine(), lazy=True) as server:
        answer = server.client.get("/ready")
    assert (answer.status_code, answer.json()) == (503, {"status": "not_ready", "reason": "initializing"})


def test_the_list_of_models_works_and_has_no_free_place() -> None:
    with serving(FakeEngine(), lazy=True) as server:
        answer = server.client.get("/v1/models")
        assert server.state.model_state.state == "unloaded"
    assert answer.status_code == 200
    assert (answer.json()["id"], answer.json()["pool_available"]) == ("fake", 0)


@pytest.mark.parametrize("state", ["unloaded", "loading", "waiting_for_gpu", "ready"])
def test_health_tells_the_state(held: Loading, state: str) -> None:
    if state != "loading":
        held.gate.set()
    if state == "waiting_for_gpu":
        held.errors.append(ModelError("CUDA out of memory"))
    with serving(FakeEngine(), lazy=True, loading=held, gpu=GpuPatience(60, lambda _: None)) as server:
        if state != "unloaded":
            server.client.post("/model/load")
        server.wait_until(lambda server: server.model_state.state == state)
        health = server.client.get("/health").json()
        held.gate.set()
    assert (health["model_state"], health["loaded"]) == (state, state == "ready")
    assert json.dumps(health["gpu_name"]) == json.dumps(health["vram_total_mb"]) == "null"
