"""The published integration scenarios of whisper-server's clients, against the real process.

Numbers are those of the scenarios: 18 of the model's life, 5 of its idle time, and the suite from end to end. Idle 4 is
`test_4_idle_…` in test_model_life.py. Where the published scripts upload without an end, these send a short file.
"""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import httpx2
import pytest

from tests.e2e.conftest import molva_serve
from tests.e2e.jobs import LOOPBACK, Door, door, flags, heard, long_speech, settled
from tests.listener import listening
from tests.outbound.receiver import Receiver, answer, receiver, until

IDLE_S = 3


@dataclass
class House(Door):
    """A server, and somebody who takes its webhooks."""

    hooks: Receiver

    def hook(self, name: str) -> str:
        """An address of that receiver."""
        return f"http://127.0.0.1:{self.hooks.port}/{name}"

    def told(self, name: str) -> list[str | None]:
        """Kinds of what has come to that address."""
        return [message.get("type") for message in heard(self.hooks, f"/{name}")]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, tiny_dir: Path) -> Iterator[House]:
    """A lazy server, in whatever state the test before has left it."""
    home = tmp_path_factory.mktemp("lazy")
    with (
        receiver(answer()) as hooks,
        molva_serve(*flags(tiny_dir, "--lifecycle", "lazy", *LOOPBACK), home=home) as process,
        door(process) as found,
    ):
        yield House(found.url, found.client, hooks)


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory, tiny_dir: Path) -> Iterator[House]:
    """One that unloads after IDLE_S."""
    home = tmp_path_factory.mktemp("idle")
    timeout = ("--model-idle-timeout-secs", str(IDLE_S))
    with (
        receiver(answer()) as hooks,
        molva_serve(*flags(tiny_dir, "--lifecycle", "lazy", *timeout, *LOOPBACK), home=home) as process,
        door(process) as found,
    ):
        yield House(found.url, found.client, hooks)


class TestLifecycle:
    def test_1_after_start_and_after_unload_it_is_unloaded(self, tmp_path: Path, tiny_dir: Path) -> None:
        with molva_serve(*flags(tiny_dir, "--lifecycle", "lazy"), home=tmp_path) as process, door(process) as house:
            assert house.state == "unloaded"
            house.load()
            house.unload()
            assert settled(lambda: house.state == "unloaded", 0.5)

    def test_2_load_when_unloaded_is_202(self, house: House) -> None:
        house.unload()
        assert house.client.post("/model/load").status_code == 202

    def test_3_then_it_is_loading_or_ready(self, house: House) -> None:
        house.unload()
        house.client.post("/model/load")
        assert house.state in ("loading", "ready")

    def test_4_ready_comes_with_the_time(self, house: House) -> None:
        house.load()
        assert datetime.fromisoformat(house.get("/model/status")["loaded_at"]).tzinfo is not None

    def test_5_load_when_ready_is_200_and_it_stays_ready(self, house: House) -> None:
        house.load()
        assert house.client.post("/model/load").status_code == 200
        assert house.state == "ready"

    def test_6_a_job_is_accepted_when_ready_and_done_with_segments(self, house: House) -> None:
        house.load()
        job = house.wait_for_job(house.accepted())
        assert job["status"] == "done"
        assert job["segments"]

    def test_7_unload_leads_to_unloaded(self, house: House) -> None:
        house.load()
        assert house.client.post("/model/unload").status_code == 200
        house.wait_for_model("unloaded")

    def test_8_a_job_when_unloaded_is_503_with_all_there_is_to_know(self, house: House) -> None:
        house.unload()
        refusal = house.submit()
        assert refusal.status_code == 503
        assert refusal.json()["state"] == "unloaded"
        assert str(refusal.json()["retry_after_secs"]) == refusal.headers["retry-after"]

    def test_9_that_refusal_begins_a_load(self, house: House) -> None:
        house.unload()
        house.submit()
        assert house.state in ("loading", "ready")

    def test_10_when_unloaded_it_asks_for_30_seconds(self, house: House) -> None:
        house.unload()
        assert house.submit().headers["retry-after"] == "30"

    def test_11_while_loading_it_asks_for_10_seconds(self, house: House) -> None:
        refusal = None
        while refusal is None or refusal.status_code == 202:  # the small model may be quicker than the request
            house.unload()
            house.client.post("/model/load")
            refusal = house.submit()
        assert (refusal.json()["state"], refusal.headers["retry-after"]) == ("loading", "10")

    def test_12_the_body_of_a_503_is_model_not_ready_with_whole_seconds(self, house: House) -> None:
        house.unload()
        body = house.submit().json()
        assert body["error"] == "model_not_ready"
        assert type(body["retry_after_secs"]) is int

    def test_13_health_tells_the_state(self, house: House) -> None:
        house.unload()
        assert house.get("/health")["model_state"] == "unloaded"
        house.load()
        assert house.get("/health")["model_state"] == "ready"

    def test_14_events_tell_of_loading_ready_and_unloaded(self, house: House) -> None:
        house.unload()
        with listening(f"{house.url}/model/events") as listener:
            house.load()
            house.unload()
            listener.wait_for(lambda names: len(names) == 3)
        assert listener.names == ["model_loading", "model_ready", "model_unloaded"]

    def test_15_and_16_a_refused_submission_has_its_webhook_told_of_ready_and_unloaded(self, house: House) -> None:
        house.unload()
        assert house.submit(webhook_url=house.hook("refused")).status_code == 503
        until(lambda: house.told("refused") == ["model_ready"])
        assert heard(house.hooks, "/refused")[0]["loaded_at"]
        house.unload()
        until(lambda: house.told("refused") == ["model_ready", "model_unloaded"])

    def test_17_three_loads_at_once_end_in_a_stable_ready(self, house: House) -> None:
        house.unload()
        with ThreadPoolExecutor(3) as threads:
            answers = list(threads.map(lambda _: httpx2.post(f"{house.url}/model/load").status_code, range(3)))
        assert set(answers) <= {200, 202}
        house.wait_for_model("ready")
        assert settled(lambda: house.state == "ready", 0.5)

    def test_18_unload_during_loading_ends_unloaded(self, house: House) -> None:
        house.unload()
        house.client.post("/model/load")
        house.client.post("/model/unload")
        house.wait_for_model("unloaded")
        assert settled(lambda: house.state == "unloaded", 0.5)


class TestIdle:
    @pytest.mark.slow
    def test_1_2_and_3_idle_it_unloads_tells_the_webhook_and_loads_for_the_next(self, idle: House) -> None:
        idle.load()
        idle.accepted(webhook_url=idle.hook("idle"))
        until(lambda: idle.told("idle")[-1:] == ["model_unloaded"], 60)
        assert idle.state == "unloaded"
        assert idle.submit().status_code == 503
        assert idle.state in ("loading", "ready")

    @pytest.mark.slow
    def test_5_a_job_that_ends_starts_the_clock_again(self, idle: House) -> None:
        idle.load()
        time.sleep(IDLE_S / 3)
        idle.wait_for_job(idle.accepted())
        ended = time.monotonic()
        idle.wait_for_model("unloaded")
        assert time.monotonic() - ended > IDLE_S - 0.5  # the end is seen up to some polls late


@pytest.mark.slow
def test_the_suite_from_end_to_end(house: House) -> None:
    assert house.get("/health")["status"] == "ok"
    assert house.get("/health")["model_state"] in ("unloaded", "loading", "ready")
    assert "swagger" in house.client.get("/docs").text.lower()
    assert "state" in house.get("/model/status")
    house.load()
    assert house.client.delete("/jobs/00000000-0000-4000-8000-000000000000").status_code == 404

    job_id = house.accepted(long_speech(1), webhook_url=house.hook("suite"))
    assert house.job(job_id)["status"] in ("queued", "running")
    with listening(f"{house.url}/jobs/{job_id}/stream") as listener:
        assert listener.ended.wait(60)
    assert set(listener.names[:-1]) == {"progress"}
    assert listener.names[-1] == "done"
    percents = [event["percent"] for _, event in listener.events[:-1]]
    assert percents == sorted(percents)
    job = house.job(job_id)
    assert job["status"] == "done"
    assert_clean(job["segments"])
    assert house.client.delete(f"/jobs/{job_id}").status_code == 409

    cancelled = house.accepted(long_speech())
    assert house.client.delete(f"/jobs/{cancelled}").json()["status"] == "cancelled"
    assert settled(lambda: house.job(cancelled)["status"] == "cancelled", 0.5)
    house.unload()
    until(lambda: len(heard(house.hooks, "/suite")) >= 2)
    assert heard(house.hooks, "/suite")[0] == job


def assert_clean(segments: list[dict[str, object]]) -> None:
    """The quality checks of the published suite."""
    assert segments
    for segment in segments:
        words = str(segment["text"]).split()
        assert words
        assert len(words) < 6 or words[: len(words) // 2] != words[len(words) // 2 :]
