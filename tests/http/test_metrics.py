"""/metrics over HTTP, and the numbers that only failures move."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import httpx2
from prometheus_client.parser import text_string_to_metric_families

from molva.engines.fake import FakeEngine
from molva.errors import StoreError
from molva.http.state import Limits
from molva.keys import KeyFile, KeyRing
from molva.metrics.counters import Counters
from molva.metrics.exposition import Metrics
from molva.runtime.loading import sample_speech
from tests.http.conftest import Gate, Running, serving, wav
from tests.http.jobs.conftest import serving_jobs
from tests.http.wsclient import connected

SPEECH = wav(sample_speech())


@contextmanager
def measured(engine: FakeEngine | None, folder: Path, **options: object) -> Iterator[Running]:
    """A server with metrics on its main port."""
    counters = Counters()
    with serving(engine, observer=counters, **options) as server:  # type: ignore[arg-type]
        server.state.scrape = Metrics(counters, server.state, folder).scrape
        yield server


def value(server: Running, name: str, **labels: str) -> float | None:
    """A sample; None where there is none."""
    for family in text_string_to_metric_families(server.client.get("/metrics").text):
        for sample in family.samples:
            if sample.name == name and labels.items() <= sample.labels.items():
                return sample.value
    return None


def test_without_metrics_it_says_so(fake_server: Running) -> None:
    answer = fake_server.client.get("/metrics")
    assert answer.status_code == 404
    assert answer.json()["code"] == "metrics_disabled"
    assert answer.json()["error"] == "metrics endpoint disabled"
    assert fake_server.client.options("/metrics").status_code == 204


def test_keys_and_origins_count_on_the_main_port(tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "keys.json")
    key = file.create("prometheus")
    with measured(FakeEngine(), tmp_path, keys=KeyRing(file.path)) as server:
        assert server.client.get("/metrics").status_code == 401
        answer = server.client.get("/metrics", headers={"authorization": f"Bearer {key}"})
        assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        foreign = {"authorization": f"Bearer {key}", "origin": "https://foreign.example"}
        assert server.client.get("/metrics", headers=foreign).status_code == 403


def test_two_servers_in_a_process_do_not_mix(tmp_path: Path) -> None:
    with measured(FakeEngine(), tmp_path) as one, measured(FakeEngine(), tmp_path) as other:
        assert one.client.post("/v1/transcribe", content=SPEECH).status_code == 200
        assert value(one, "gigastt_inference_duration_seconds_count") == 1
        assert value(other, "gigastt_inference_duration_seconds_count") == 0


def test_before_the_model_there_are_families_without_values(tmp_path: Path) -> None:
    with measured(None, tmp_path) as server:
        text = server.client.get("/metrics").text
        assert "# TYPE gigastt_pool_available gauge\n" in text
        assert value(server, "gigastt_pool_available") is None
        assert value(server, "molva_model_state", state="loading") == 1


def test_a_place_is_counted_while_it_is_taken_and_who_gets_none(tmp_path: Path, gate: Gate) -> None:
    options = {"pool_size": 1, "max_waiting": 0, "workers": 1}
    with measured(FakeEngine(gate), tmp_path, **options) as server:
        assert value(server, "gigastt_pool_available") == 1
        thread = threading.Thread(target=lambda: httpx2.post(f"{server.url}/v1/transcribe", content=SPEECH, timeout=60))
        thread.start()
        assert gate.entered.wait(20)
        assert value(server, "gigastt_pool_available") == 0
        assert server.client.post("/v1/transcribe", content=SPEECH).status_code == 503
        gate.opened.set()
        thread.join(20)
        assert value(server, "gigastt_pool_timeouts_total") == 1
        assert value(server, "gigastt_pool_checkout_duration_seconds_count") == 2
        assert value(server, "molva_admissions_total", places="requests", outcome="full") == 1
        assert value(server, "molva_admissions_total", places="requests", outcome="granted") == 1
        assert value(server, "gigastt_http_requests_total", path="/v1/transcribe", status="503") == 1


def test_a_wait_that_was_too_long_is_a_timeout(tmp_path: Path, gate: Gate) -> None:
    options = {"pool_size": 1, "checkout_timeout_s": 0.05}
    with measured(FakeEngine(gate), tmp_path, **options) as server:
        thread = threading.Thread(target=lambda: httpx2.post(f"{server.url}/v1/transcribe", content=SPEECH, timeout=60))
        thread.start()
        assert gate.entered.wait(20)
        assert server.client.post("/v1/transcribe", content=SPEECH).status_code == 503
        gate.opened.set()
        thread.join(20)
        assert value(server, "molva_admissions_total", places="requests", outcome="timeout") == 1


def test_an_engine_that_hangs_is_counted(tmp_path: Path, gate: Gate) -> None:
    limits = Limits(body_bytes=5_000_000, max_audio_s=7200, inference_timeout_s=0.2)
    with measured(FakeEngine(gate), tmp_path, limits=limits) as server:
        assert server.client.post("/v1/transcribe", content=SPEECH).status_code == 504
        gate.opened.set()
        assert value(server, "gigastt_inference_timeouts_total") == 1
        assert value(server, "gigastt_inference_duration_seconds_count") == 0


def test_a_refusal_of_the_limiter_is_counted_there_alone() -> None:
    counters = Counters()
    counters.rate_limited()
    counters.answered("GET", "/v1/models", 429, 0.1)
    samples = {sample.name: sample.value for family in counters.registry.collect() for sample in family.samples}
    assert samples["gigastt_rate_limit_rejections_total"] == 1
    assert "gigastt_http_requests_total" not in samples


def test_open_sockets_are_those_that_are_open(tmp_path: Path) -> None:
    with measured(FakeEngine(), tmp_path, pool_size=4) as server:
        with connected(server):
            server.wait_until(lambda state: state.open_sockets == 1)
            assert value(server, "gigastt_ws_active_connections") == 1
        server.wait_until(lambda state: state.open_sockets == 0)
        assert value(server, "gigastt_ws_active_connections") == 0


def test_a_database_that_does_not_answer_costs_its_own_numbers_only(tmp_path: Path) -> None:
    with serving_jobs(FakeEngine()) as house:
        counters = Counters()
        house.server.state.scrape = Metrics(counters, house.server.state, tmp_path).scrape
        assert value(house.server, "molva_jobs", status="queued") == 0
        assert house.submit().status_code == 202
        assert value(house.server, "molva_jobs", status="queued") == 1
        with patch.object(house.store, "counts", side_effect=StoreError):
            assert value(house.server, "molva_jobs", status="queued") is None
            assert value(house.server, "molva_info") == 1
