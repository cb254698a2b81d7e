"""Two servers over one data folder are one server to their clients."""

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.conftest import Process, molva_serve
from tests.e2e.jobs import LOOPBACK, SPEECH, Door, door, flags, heard, long_call, long_speech, taken_up
from tests.listener import listening
from tests.outbound.receiver import Receiver, answer, receiver, until

pytestmark = pytest.mark.slow


@dataclass
class Pair:
    processes: list[Process]
    doors: list[Door]
    hooks: Receiver

    def runner_of(self, job_id: str) -> int:
        """Which of them has taken a job up."""
        until(lambda: any(job_id in taken_up(process) for process in self.processes), 60)
        return next(i for i, process in enumerate(self.processes) if job_id in taken_up(process))


@contextmanager
def two_servers(tiny_dir: Path, home: Path) -> Iterator[Pair]:
    """They start at the same moment, on a folder that is not there yet."""
    with ExitStack() as stack:
        hooks = stack.enter_context(receiver(answer()))
        lease = ("--job-lease-secs", "1")
        starts = [molva_serve(*flags(tiny_dir, *lease, *LOOPBACK), home=home) for _ in range(2)]
        processes = [stack.enter_context(start) for start in starts]
        yield Pair(processes, [stack.enter_context(door(process)) for process in processes], hooks)


@pytest.fixture(scope="module")
def pair(tiny_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with two_servers(tiny_dir, tmp_path_factory.mktemp("pair")) as pair:
        yield pair


def test_each_job_runs_once_and_both_tell_the_same(pair: Pair) -> None:
    with ThreadPoolExecutor(4) as threads:
        jobs = list(threads.map(lambda i: pair.doors[i % 2].accepted(webhook_url=pair.hooks.url), range(32)))
    for job_id in jobs:
        told = [door.wait_for_job(job_id) for door in pair.doors]
        assert told[0] == told[1]
        assert told[0]["status"] == "done"
        results = [door.client.get(f"/jobs/{job_id}/result?format=srt") for door in pair.doors]
        assert results[0].text == results[1].text != ""
    runs = Counter(job_id for process in pair.processes for job_id in taken_up(process) if job_id in jobs)
    assert runs == dict.fromkeys(jobs, 1)
    lists = [door.get("/jobs?limit=32&status=done") for door in pair.doors]
    assert lists[0] == lists[1]
    assert {job["id"] for job in lists[0]["jobs"]} == set(jobs)
    until(lambda: {message["id"] for message in heard(pair.hooks)} >= set(jobs), 60)
    assert Counter(message["id"] for message in heard(pair.hooks) if message["id"] in jobs) == dict.fromkeys(jobs, 1)


def test_a_job_is_watched_and_cancelled_through_the_server_that_does_not_run_it(pair: Pair) -> None:
    watched = pair.doors[0].accepted(long_speech())
    other = pair.doors[1 - pair.runner_of(watched)]
    with listening(f"{other.url}/jobs/{watched}/stream") as listener:
        assert listener.ended.wait(60)
    assert set(listener.names[:-1]) == {"progress"}
    assert listener.events[-1] == ("done", {"type": "done", "job": other.job(watched)})

    cancelled = pair.doors[0].accepted(long_speech(6))
    runner = pair.runner_of(cancelled)
    other = pair.doors[1 - runner]
    assert other.client.delete(f"/jobs/{cancelled}").json()["status"] == "cancelled"
    # Whoever ran it takes up others again.
    until(lambda: pair.runner_of(pair.doors[runner].accepted(SPEECH)) == runner, 60)
    assert [door.job(cancelled)["status"] for door in pair.doors] == ["cancelled", "cancelled"]


@pytest.mark.parametrize(("audio", "fields"), [(long_speech, {}), (long_call, {"channels": "split"})])
def test_what_a_killed_server_ran_is_finished_by_the_other_as_if_nothing_had_been(
    tiny_dir: Path, tmp_path: Path, audio: Callable[[], bytes], fields: dict[str, str]
) -> None:
    speech = audio()
    with two_servers(tiny_dir, tmp_path) as pair:
        undisturbed = pair.doors[0].wait_for_job(pair.doors[0].accepted(speech, **fields))
        job_id = pair.doors[0].accepted(speech, **fields)
        runner = pair.runner_of(job_id)
        other = pair.doors[1 - runner]
        other.wait_until_under_way(job_id)
        pair.processes[runner].popen.kill()
        assert pair.processes[runner].popen.wait(10) != 0
        job = other.wait_for_job(job_id)
        assert job["status"] == "done"
        assert job["segments"] == undisturbed["segments"]
        assert job_id in taken_up(pair.processes[1 - runner])
