"""Threads that are ended by what is raised in them."""

import uuid

import httpx2

from tests.chaos.clients import LOST_AFTER_S, ask
from tests.chaos.faults.engine import trouble
from tests.chaos.load import result_of
from tests.chaos.scene import Fault, Scene
from tests.chaos.server import DIRECT, PATIENCE_S


def worker_dies(scene: Scene) -> None:
    with trouble(scene, "engine", "death"):
        scene.wait_until(lambda: scene.told("inference_panic"), "nobody was told inference_panic")


def database_dies(scene: Scene) -> None:
    for kind in ("death", "memory"):
        with trouble(scene, "database", kind):
            answer = httpx2.delete(f"{scene.server.url}/jobs/{uuid.uuid4()}", timeout=LOST_AFTER_S, **DIRECT)
            scene.expect("store_unavailable" in answer.text, f"a write that failed is told as {answer.text[:200]}")


def webhooks_die(scene: Scene) -> None:
    for point in ("webhooks", "webhook"):
        with trouble(scene, point, "death"):
            pass


def job_dies(scene: Scene) -> None:
    with trouble(scene, "job", "death"):
        pass


def executor_dies(scene: Scene) -> None:
    with trouble(scene, "executor", "death"):
        scene.wait_until(lambda: scene.told("internal"), "nobody was told internal")


def models_die(scene: Scene) -> None:
    """A model that goes and comes, in threads that do not survive it."""
    scene.load.stop()  # as long as it is in use it would not go, and jobs that wait would bring it back
    with httpx2.Client(base_url=scene.server.url, **DIRECT, timeout=LOST_AFTER_S) as client:
        for job_id in scene.load.submitter.jobs:
            result_of(client, job_id)
    with trouble(scene, "unloading", "death", 0):
        _model(scene, "unload")
        scene.wait_until(lambda: _state(scene) == "unloaded", "the model is unloaded")
        _expect_not_ready(scene)
    with trouble(scene, "loading", "death", 0):
        account, _ = ask(scene.server, 0)
        scene.expect(account.detail == "internal", f"a request without a model is told {account}")
        scene.expect(_state(scene) == "unloaded", f"a model that could not be loaded is {_state(scene)}")
        _expect_not_ready(scene)
    _model(scene, "load")


def provisioning_dies(scene: Scene) -> None:
    """Nothing can be served then, so the process must end, for whoever starts it again."""
    server = scene.server
    scene.expect(server.stop() == 0, "the server did not end well")
    with trouble(scene, "provisioning", "death", 0):
        server.start()
        assert server.popen is not None
        status = server.popen.wait(PATIENCE_S)
        scene.expect(status == 1, f"it ended with {status}")
        scene.expect("was raised in a thread" in server.log_tail(), "it ended without saying why")
    server.start()


def _model(scene: Scene, what: str) -> None:
    answer = httpx2.post(f"{scene.server.url}/model/{what}", timeout=LOST_AFTER_S, **DIRECT)
    scene.expect(answer.is_success, f"POST /model/{what} says {answer.text[:200]}")


def _state(scene: Scene) -> str:
    health = httpx2.get(f"{scene.server.url}/health", timeout=LOST_AFTER_S, **DIRECT).json()
    return str(health["model_state"])


def _expect_not_ready(scene: Scene) -> None:
    ready = httpx2.get(f"{scene.server.url}/ready", timeout=LOST_AFTER_S, **DIRECT)
    scene.expect(ready.status_code == 503, "a server without its model says that it is ready")


THREADS = (
    Fault("worker dies", "the engine ends the thread that runs it", worker_dies),
    Fault("database's thread dies", "the thread that writes is ended, then lacks memory", database_dies),
    Fault("webhooks' threads die", "the thread that begins attempts is ended, then those that make them", webhooks_die),
    Fault("job's thread dies", "the thread that runs jobs is ended", job_dies),
    Fault("executor's thread dies", "a thread of the event loop's own is ended", executor_dies),
    Fault("model's thread dies", "threads that unload and load the model are ended", models_die),
    Fault(
        "provisioning dies",
        "the thread that prepares the server is ended",
        provisioning_dies,
        cuts=True,
        threads_stay=False,
    ),
)
