"""GET /jobs/{id}/stream: the events of a job, over a real socket."""

import threading
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from molva.http import sse
from molva.http.jobs import stream
from molva.http.sse import with_heartbeats
from molva.jobs.job import Job
from tests.http.jobs.conftest import TRANSCRIPT, JobServer, frames, serving_jobs

Event = tuple[str, dict[str, Any]]


@pytest.fixture(scope="module")
def server() -> Iterator[JobServer]:
    with serving_jobs() as server:
        yield server


class Watcher:
    """One who watches a job from a thread."""

    def __init__(self, server: JobServer, job: Job) -> None:
        self.text = ""
        self.status = 0
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._watch, args=(f"{server.server.url}/jobs/{job.id}/stream",))
        self._thread.start()

    def _watch(self, url: str) -> None:
        with httpx2.stream("GET", url, timeout=30) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            for text in answer.iter_text():
                with self._changed:
                    self.text += text
                    self._changed.notify_all()

    def wait_for(self, text: str) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: text in self.text, 10), self.text

    def events(self) -> list[Event]:
        """All of them, to the end of the stream."""
        self._thread.join(10)
        assert not self._thread.is_alive()
        return frames(self.text)


def progress(percent: int, chunk: int, total: int, status: str = "running") -> Event:
    event = {"type": "progress", "percent": percent, "chunk": chunk, "chunks_total": total, "status": status}
    return "progress", event


def test_a_job_is_watched_from_the_queue_to_its_end(server: JobServer) -> None:
    job = server.queued()
    watcher = Watcher(server, job)
    watcher.wait_for('"queued"')
    claim = server.claim()
    watcher.wait_for('"running"')
    server.store.failed(claim, "broken")
    assert watcher.events() == [
        progress(0, 0, 0, "queued"),
        progress(0, 0, 0),
        ("error", {"type": "error", "message": "broken"}),
    ]


def test_progress_is_told_by_windows_and_done_with_the_whole_job(server: JobServer) -> None:
    job, claim = server.planned(3)
    watcher = Watcher(server, job)
    for i in range(3):
        watcher.wait_for(f'"chunk":{i}')
        server.advance(claim, i)
    watcher.wait_for('"chunk":3')
    server.store.done(claim, TRANSCRIPT)
    *told, done = watcher.events()
    assert told == [progress(0, 0, 3), progress(33, 1, 3), progress(66, 2, 3), progress(99, 3, 3)]
    assert done == ("done", {"type": "done", "job": server.client.get(f"/jobs/{job.id}").json()})
    assert done[1]["job"]["segments"][0]["text"] == "Раз два."


def test_who_comes_late_is_told_where_it_stands(server: JobServer) -> None:
    job, claim = server.planned(2)
    server.advance(claim, 0)
    watcher = Watcher(server, job)
    watcher.wait_for("progress")
    server.store.cancel(job.id)
    first, last = watcher.events()
    assert first == progress(50, 1, 2)
    assert (last[0], last[1]["job"]["status"]) == ("done", "cancelled")


def test_of_an_ended_job_there_is_one_done_event(server: JobServer) -> None:
    cancelled = server.store.cancel(server.queued().id)
    for job, status in ((server.done(), "done"), (server.failed(), "failed"), (cancelled, "cancelled")):
        [(name, event)] = Watcher(server, job).events()
        assert (name, event["job"]["status"]) == ("done", status)
        assert event["job"] == server.client.get(f"/jobs/{job.id}").json()


def test_percent_never_goes_back(server: JobServer) -> None:
    """Another server may take the job up from its beginning, with another plan."""
    job, claim = server.planned(4)
    server.advance(claim, 0)
    server.advance(claim, 1)
    watcher = Watcher(server, job)
    watcher.wait_for('"percent":50')
    plan = claim.plan
    server.store.hand_back(claim)
    watcher.wait_for('"queued"')
    again = server.claim()
    assert plan is None
    assert again.plan is not None
    server.store.planned(again, again.plan, "another recipe")
    watcher.wait_for('"chunk":0')
    server.store.failed(again, "enough")
    percents = [event["percent"] for name, event in watcher.events() if name == "progress"]
    assert percents == sorted(percents)
    assert percents[-1] == 50


def test_several_may_watch(server: JobServer) -> None:
    job, claim = server.planned(1)
    watchers = [Watcher(server, job) for _ in range(5)]
    for watcher in watchers:
        watcher.wait_for("progress")
    server.store.failed(claim, "broken")
    for watcher in watchers:
        assert watcher.events() == [progress(0, 0, 1), ("error", {"type": "error", "message": "broken"})]


def test_silence_is_filled_with_comments(server: JobServer, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sse.HEARTBEAT_S == 15
    monkeypatch.setattr(stream, "with_heartbeats", lambda frames: with_heartbeats(frames, 0.05))
    job, claim = server.planned(1)
    watcher = Watcher(server, job)
    watcher.wait_for("\n\n:\n\n:\n\n")
    server.store.failed(claim, "enough")
    assert len(watcher.events()) == 2


def test_a_job_that_is_purged_ends_the_stream(server: JobServer) -> None:
    job, _ = server.planned(1)
    watcher = Watcher(server, job)
    watcher.wait_for("progress")
    server.client.delete(f"/jobs/{job.id}?purge=true")
    assert watcher.events() == [progress(0, 0, 1)]


def test_who_leaves_disturbs_nobody(server: JobServer) -> None:
    job, claim = server.planned(1)
    with httpx2.stream("GET", f"{server.server.url}/jobs/{job.id}/stream") as answer:
        next(answer.iter_raw())
    watcher = Watcher(server, job)
    watcher.wait_for("progress")
    server.store.failed(claim, "broken")
    assert len(watcher.events()) == 2


def test_a_server_that_stops_ends_the_stream() -> None:
    with serving_jobs() as server:
        watcher = Watcher(server, server.queued())
        watcher.wait_for("queued")
        server.stop()
        closing = ("closing", {"type": "closing", "message": "Server is shutting down"})
        assert watcher.events() == [progress(0, 0, 0, "queued"), closing]
