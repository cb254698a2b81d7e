"""The client of the jobs door, against servers that behave and others."""

import json
import threading
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from molva.errors import OptionError
from molva.jobs_client import JobsClient, NotReady, Refused, base_url
from tests.http.jobs.conftest import JobServer, serving_jobs
from tests.http.openai.conftest import SPEECH

MIB = 2**20
JOB_ID = "0b2f2a3e-6c55-4c39-9d0c-5f0d4a5d9d11"


@pytest.fixture(scope="module")
def server() -> Iterator[JobServer]:
    with serving_jobs() as server:
        yield server


@pytest.fixture
def client(server: JobServer) -> Iterator[JobsClient]:
    with JobsClient(server.server.url) as client:
        yield client


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "запись.wav"
    path.write_bytes(SPEECH)
    return path


@contextmanager
def answering(
    status: int, body: bytes, kind: str = "application/json", **headers: str
) -> Iterator[tuple[str, list[str]]]:
    """A server that says the same to everybody, and what it was asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            asked.append(f"{self.command} {self.path}")
            self.rfile.read(int(self.headers.get("content-length", 0)))
            self.send_response(status)
            for name, value in {"content-type": kind, "content-length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_DELETE = _answer  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{http.server_address[1]}", asked
        finally:
            http.shutdown()
            thread.join(10)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("http://host:9876/", "http://host:9876"),
        ("host:9876", "http://host:9876"),
        ("ws://127.0.0.1:9876/v1/ws", "http://127.0.0.1:9876"),
        ("https://host/molva/?x=1#y", "https://host/molva"),
        ("http://[::1]:9876", "http://[::1]:9876"),
    ],
)
def test_addresses(given: str, expected: str) -> None:
    assert base_url(given) == expected


@pytest.mark.parametrize("given", ["", "ftp://host", "http://", "http://host:0", "http://host:x", "http://[a"])
def test_what_is_no_address(given: str) -> None:
    with pytest.raises(OptionError, match="no address"):
        base_url(given)


def test_a_recording_goes_out_and_comes_back_as_a_job(client: JobsClient, server: JobServer, recording: Path) -> None:
    sent: list[int] = []
    job_id = client.submit(recording, {"language": "ru", "priority": "low"}, on_sent=sent.append)
    job = client.get(job_id)
    assert (job["status"], job["filename"], job["priority"]) == ("queued", "запись.wav", "low")
    assert (server.recordings / job_id).read_bytes() == SPEECH
    assert sum(sent) == len(SPEECH)


def test_a_large_recording_is_never_in_memory(client: JobsClient, server: JobServer, tmp_path: Path) -> None:
    recording = tmp_path / "large.wav"
    with recording.open("wb") as file:
        file.truncate(64 * MIB)
    tracemalloc.start()
    try:
        job_id = client.submit(recording, {})
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (server.recordings / job_id).stat().st_size == 64 * MIB
    assert peak < 24 * MIB  # of the client and the server, which share this process


def test_a_key_makes_one_job(client: JobsClient, recording: Path) -> None:
    ids = {client.submit(recording, {}, idempotency_key="k") for _ in range(2)}
    assert len(ids) == 1


def test_a_list_goes_over_pages(client: JobsClient, server: JobServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("molva.jobs_client.PAGE", 2)
    ids = [server.queued().id for _ in range(5)]
    assert [job["id"] for job in client.jobs(limit=5)] == ids[::-1]
    assert [job["id"] for job in client.jobs(status="queued", limit=3)] == ids[:1:-1]
    assert list(client.jobs(status="failed", limit=3)) == []


def test_a_job_is_cancelled_and_forgotten(client: JobsClient, server: JobServer) -> None:
    job_id = server.queued().id
    assert client.cancel(job_id)["status"] == "cancelled"
    with pytest.raises(Refused, match="terminal state") as refused:
        client.cancel(job_id)
    assert refused.value.status == 409
    assert client.cancel(job_id, purge=True)["status"] == "cancelled"
    with pytest.raises(Refused, match=f"^job {job_id} not found$"):
        client.get(job_id)


def test_a_result_in_a_format(client: JobsClient, server: JobServer) -> None:
    assert client.result(server.done().id, "text") == "Раз два."


def test_a_job_is_watched_to_its_end(client: JobsClient, server: JobServer) -> None:
    job, claim = server.planned(2)
    events = client.watch(job.id)
    assert next(events)[1]["percent"] == 0
    server.advance(claim, 0)
    assert next(events)[1]["percent"] == 50
    server.store.failed(claim, "broken")
    assert list(events) == [("error", {"type": "error", "message": "broken"})]


def test_line_ends_within_a_text_end_no_line() -> None:
    done = {"type": "done", "job": {"text": "а\u2028б\x85в\x0bг"}}
    data = json.dumps(done, ensure_ascii=False)
    with (
        answering(200, f":\n\nevent: done\ndata: {data}\n\n".encode(), "text/event-stream") as (url, _),
        JobsClient(url) as client,
    ):
        assert list(client.watch(JOB_ID)) == [("done", done)]


def test_a_stream_that_ends_early_is_told() -> None:
    with answering(200, b"event: progress\ndata: {}\n\n", "text/event-stream") as (url, _), JobsClient(url) as client:
        events = client.watch(JOB_ID)
        next(events)
        with pytest.raises(ConnectionError, match="the job goes on"):
            next(events)


def test_no_server(recording: Path) -> None:
    with JobsClient("http://127.0.0.1:1") as client, pytest.raises(ConnectionError, match="molva serve"):
        client.submit(recording, {})


def test_a_missing_key() -> None:
    with answering(401, b'{"error":"Incorrect API key provided.","code":"invalid_api_key"}') as (url, _):  # noqa: SIM117
        with JobsClient(url) as client, pytest.raises(Refused, match="MOLVA_API_KEY"):
            list(client.jobs(limit=1))


@pytest.mark.parametrize("body", [b"", b'{"error":"Not Found"}', b"<html>"])
def test_a_server_without_jobs(body: bytes) -> None:
    with answering(404, body) as (url, _), JobsClient(url) as client, pytest.raises(Refused, match="has no jobs"):
        client.get(JOB_ID)


@pytest.mark.parametrize("body", [b"", b"[]", b'{"error":{"message":"x"}}'])
def test_an_error_of_another_kind_of_server(body: bytes) -> None:
    with answering(502, body) as (url, _), JobsClient(url) as client, pytest.raises(Refused, match="HTTP 502"):
        client.get(JOB_ID)


def test_something_else_than_a_server() -> None:
    with answering(200, b"hello") as (url, _), JobsClient(url) as client, pytest.raises(Refused, match="no speech"):
        client.get(JOB_ID)


@pytest.mark.parametrize(
    ("headers", "body", "wait_s"),
    [
        ({"retry-after": "30"}, {"error": "model_not_ready", "code": "model_not_ready", "state": "unloaded"}, 30),
        ({}, {"error": "loading", "code": "initializing"}, 5),
    ],
)
def test_a_model_that_is_not_ready(recording: Path, headers: dict[str, str], body: Any, wait_s: float) -> None:
    with answering(503, json.dumps(body).encode(), **headers) as (url, _), JobsClient(url) as client:
        with pytest.raises(NotReady) as refused:
            client.submit(recording, {})
        assert refused.value.retry_after_s == wait_s


def test_what_is_no_id_is_not_asked_for() -> None:
    with answering(200, b"{}") as (url, asked), JobsClient(url) as client:
        with pytest.raises(OptionError, match="no id"):
            client.cancel("../model")
        assert asked == []


def test_a_proxy_for_the_world_is_not_asked_for_this_machine(
    server: JobServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with JobsClient(server.server.url) as client:
        assert client.get(server.queued().id)["status"] == "queued"
