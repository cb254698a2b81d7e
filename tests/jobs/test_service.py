"""Jobs from submission to their end, with a real store and scripted engines."""

import asyncio
import errno
import io
import itertools
import os
import threading
import time
import wave
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from molva.database import Database
from molva.engines.base import Engine, Options
from molva.engines.fake import FakeEngine
from molva.engines.silero import load_vad
from molva.errors import (
    InferenceError,
    JobFinished,
    JobNotDone,
    JobNotFound,
    ModelNotInstalled,
    ShuttingDown,
    SpoolError,
    StoreFull,
)
from molva.jobs import sqlite as jobs_sqlite
from molva.jobs.job import Job, Status, Submission
from molva.jobs.service import JobRules, Jobs, no_speakers
from molva.jobs.shelf import AudioShelf
from molva.jobs.sqlite import SqliteJobStore
from molva.jobs.store import Claim, Idempotency
from molva.logs import Lines
from molva.models.store import ModelStore
from molva.observer import NOBODY, Door, Observer
from molva.runtime.fleet import Fleet, Lease
from molva.runtime.metering import METER
from molva.runtime.plan import plan
from molva.runtime.scheduler import Scheduler
from molva.runtime.speakers import SpeakerModels, Speakers
from molva.runtime.transcription import transcribe_all
from molva.samples import SAMPLE_RATE, Samples, seconds
from molva.speech.clustering import Embedding, SpeakerCount
from molva.spool import Spool
from molva.transcript import Hypothesis, Transcript
from molva.webhooks import sqlite as webhooks_sqlite
from tests.conftest import TINY, read_flac
from tests.media import encode_channels

TABLES = [webhooks_sqlite.TABLES, jobs_sqlite.TABLES]
SPEECH = read_flac(TINY / "unseen" / "long.flac")


def recording(audio: Samples = SPEECH) -> bytes:
    with io.BytesIO() as buffer:
        with wave.open(buffer, "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(SAMPLE_RATE)
            file.writeframes((audio * 32767).astype("<i2").tobytes())
        return buffer.getvalue()


class Gate:
    """An engine that decodes windows only as they are let through."""

    def __init__(self) -> None:
        self.free = threading.Event()
        self._passes = threading.Semaphore(0)
        self.begun = threading.Semaphore(0)
        self.engine = FakeEngine(self._script)

    def _script(self, samples: Samples, _options: Options) -> str:
        self.begun.release()
        deadline = time.monotonic() + 20
        while not self.free.is_set() and not self._passes.acquire(timeout=0.02):
            assert time.monotonic() < deadline, "nobody let this window through"
        return f"окно{samples.size}"

    def let(self, windows: int) -> None:
        self._passes.release(windows)


@dataclass
class House:
    """A server's part in jobs; several may share a folder, as processes do."""

    jobs: Jobs
    store: SqliteJobStore
    folder: Path
    spool: Spool

    async def submit(
        self, data: bytes | None = None, submission: Submission | None = None, idempotency: Idempotency | None = None
    ) -> Job:
        with self.spool.file() as file:
            file.write(recording() if data is None else data)
            job, _ = await self.jobs.submit(submission or Submission("fake"), file, idempotency)
            return job

    async def end_of(self, job_id: str) -> Job:
        last = None
        async with asyncio.timeout(60):
            async for job in self.jobs.watch(job_id):
                last = job
        assert last is not None
        return last

    @property
    def audio(self) -> set[str]:
        return {path.name for path in (self.folder / "jobs").iterdir()}


@asynccontextmanager
async def house(
    folder: Path,
    engine: Engine | None = None,
    *,
    rules: JobRules | None = None,
    lend: Callable[[str], Awaitable[Lease]] | None = None,
    store: Callable[[Database], SqliteJobStore] = SqliteJobStore,
    ended: Callable[[], None] = lambda: None,
    observer: Observer = NOBODY,
    load_speakers: Callable[[], Awaitable[SpeakerModels]] = no_speakers,
) -> AsyncIterator[House]:
    scheduler = Scheduler(1)
    engine = engine or FakeEngine()
    fleet = Fleet(lambda name: scheduler.lane(engine), max_loaded=1)
    database = Database(folder / "molva.db", TABLES)
    spool = Spool(folder / "spool")
    kept = store(database)
    jobs = Jobs(
        kept,
        AudioShelf(folder / "jobs"),
        lend or partial(fleet.lease, timeout_s=None),
        load_vad(),
        rules=rules,
        ended=ended,
        observer=observer,
        load_speakers=load_speakers,
    )
    jobs.start()
    try:
        yield House(jobs, kept, folder, spool)
    finally:
        await jobs.stop(10)
        await asyncio.to_thread(scheduler.close)
        database.close()
        spool.close()


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(test())


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - what other threads and processes do rings no bell
            await asyncio.sleep(0.01)


def undisturbed(engine: Engine | None = None) -> Transcript:
    scheduler = Scheduler(1)
    transcript = transcribe_all(recording(), scheduler.lane(engine or FakeEngine()), load_vad(), Options())
    scheduler.close()
    return transcript


def free_gate() -> FakeEngine:
    gate = Gate()
    gate.free.set()
    return gate.engine


def test_a_job_gives_what_the_file_gives_and_its_recording_is_gone(tmp_path: Path) -> None:
    async def test() -> None:
        async with house(tmp_path) as server:
            job = await server.submit()
            assert job.status == Status.QUEUED
            ended = await server.end_of(job.id)
            assert (ended.status, ended.percent, ended.attempts) == (Status.DONE, 100, 1)
            assert await server.jobs.transcript(job.id) == undisturbed()
            await until(lambda: not server.audio)
            document = await server.jobs.document(job.id)
            assert [part["text"] for part in document["segments"]] == [s.text for s in undisturbed().segments]

    run(test)


def test_recordings_are_kept_where_the_operator_wants_it(tmp_path: Path) -> None:
    async def test() -> None:
        async with house(tmp_path, rules=JobRules(keep_audio=True)) as server:
            done, cancelled = await server.submit(), await server.submit(b"later")
            await server.jobs.cancel(cancelled.id)
            await server.end_of(done.id)
            assert server.audio == {done.id, cancelled.id}
            await server.jobs.purge(done.id)
            assert server.audio == {cancelled.id}

    run(test)


def test_the_operator_may_want_it_otherwise_while_the_server_runs(tmp_path: Path) -> None:
    gate = Gate()

    async def test() -> None:
        async with house(tmp_path, gate.engine) as server:
            running, kept, dropped = [await server.submit() for _ in range(3)]
            server.jobs.change(JobRules(keep_audio=True))
            await server.jobs.cancel(kept.id)
            server.jobs.change(JobRules())
            await server.jobs.cancel(dropped.id)
            assert server.audio == {running.id, kept.id}
            gate.free.set()

    run(test)


def test_jobs_run_one_at_a_time_as_they_came(tmp_path: Path) -> None:
    async def test() -> None:
        async with house(tmp_path) as server:
            ids = [(await server.submit()).id for _ in range(3)]
            jobs = [await server.end_of(job_id) for job_id in ids]
            ends = [job.completed_at or 0 for job in jobs]
            assert ends == sorted(ends)

    run(test)


def test_a_watcher_gets_the_present_state_then_each_step_to_the_end(tmp_path: Path) -> None:
    async def test() -> None:
        gate = Gate()
        async with house(tmp_path, gate.engine) as server:
            job = await server.submit()
            await until(lambda: server.store.get(job.id).windows_planned)
            planned = server.store.get(job.id).windows_planned
            assert planned is not None
            assert planned > 3
            watchers = [server.jobs.watch(job.id) for _ in range(3)]
            for watcher in watchers:
                first = await anext(watcher)
                assert (first.status, first.windows_done, first.windows_planned) == (Status.RUNNING, 0, planned)
            for done in range(1, planned):
                gate.let(1)
                for watcher in watchers:
                    assert (await anext(watcher)).windows_done == done
            gate.free.set()
            for watcher in watchers:
                assert [told.status async for told in watcher][-1] == Status.DONE
            assert [told.status async for told in server.jobs.watch(job.id)] == [Status.DONE]

    run(test)


def test_cancelling_a_running_job_stops_it_at_the_next_window(tmp_path: Path) -> None:
    async def test() -> None:
        gate = Gate()
        async with house(tmp_path, gate.engine) as server:
            job, following = await server.submit(), await server.submit()
            await asyncio.to_thread(gate.begun.acquire)
            assert (await server.jobs.cancel(job.id)).status == Status.CANCELLED
            gate.let(1)
            await until(lambda: server.store.get(following.id).status == Status.RUNNING)
            begun = len(gate.engine.calls)
            gate.free.set()
            assert begun <= 3  # the window in hand, the one behind it, and the first of the next job
            assert (await server.end_of(following.id)).status == Status.DONE
            assert (await server.jobs.get(job.id)).status == Status.CANCELLED
            await until(lambda: not server.audio)
            with pytest.raises(JobFinished):
                await server.jobs.cancel(job.id)
            with pytest.raises(JobNotDone, match="it is cancelled"):
                await server.jobs.transcript(job.id)

    run(test)


def test_a_cancelled_job_that_waited_never_runs(tmp_path: Path) -> None:
    async def test() -> None:
        gate = Gate()
        async with house(tmp_path, gate.engine) as server:
            first, second = await server.submit(), await server.submit()
            await server.jobs.cancel(second.id)
            gate.free.set()
            await server.end_of(first.id)
            job = server.store.get(second.id)
            assert (job.status, job.attempts) == (Status.CANCELLED, 0)
            await until(lambda: not server.audio)

    run(test)


def fail(samples: Samples, _options: Options) -> str:
    raise InferenceError("The engine does not like this.")


def crash(samples: Samples, _options: Options) -> str:
    raise RuntimeError("secret of the inside")


@pytest.mark.parametrize(
    ("engine", "data", "message"),
    [
        (FakeEngine(fail), None, "The engine does not like this."),
        (FakeEngine(crash), None, "Inference failed unexpectedly."),
        (FakeEngine(), b"not audio", "Failed to decode audio"),
    ],
)
def test_a_job_that_fails_says_why_and_the_next_one_runs(
    tmp_path: Path, engine: FakeEngine, data: bytes | None, message: str
) -> None:
    async def test() -> None:
        async with house(tmp_path, engine) as server:
            failing, silent = await server.submit(data), await server.submit(recording(np.zeros(16_000, np.float32)))
            ended = await server.end_of(failing.id)
            assert ended.status == Status.FAILED
            assert message in (ended.error or "")
            assert (await server.end_of(silent.id)).status == Status.DONE
            await until(lambda: not server.audio)

    run(test)


def test_a_recording_that_is_gone_fails_its_job(tmp_path: Path) -> None:
    async def test() -> None:
        gate = Gate()
        async with house(tmp_path, gate.engine) as server:
            first, second = await server.submit(), await server.submit()
            (tmp_path / "jobs" / second.id).unlink()
            gate.free.set()
            await server.end_of(first.id)
            assert "no longer on the server" in ((await server.end_of(second.id)).error or "")

    run(test)


def test_a_model_that_cannot_be_loaded_fails_its_job(tmp_path: Path) -> None:
    async def nothing(name: str) -> Lease:
        raise ModelNotInstalled("There is no such model here.")

    async def test() -> None:
        async with house(tmp_path, lend=nothing) as server:
            ended = await server.end_of((await server.submit()).id)
            assert (ended.status, ended.error) == (Status.FAILED, "There is no such model here.")

    run(test)


def test_a_server_that_stops_hands_its_job_back_and_the_next_goes_on_there(tmp_path: Path) -> None:
    async def test() -> None:
        gate = Gate()
        async with house(tmp_path, gate.engine) as server:
            job = await server.submit()
            gate.let(2)
            await until(lambda: server.store.get(job.id).windows_done == 2)
            stopping = asyncio.create_task(server.jobs.stop(10))
            gate.let(2)
            await stopping
            gate.free.set()
            handed_back, painted = server.store.get(job.id), server.store.waveform(job.id)
            assert painted is not None
            assert (painted.duration_s, bool(painted.speech)) == (handed_back.duration_s, True)
            assert (handed_back.status, handed_back.attempts) == (Status.QUEUED, 0)
            assert handed_back.windows_done >= 2
        second = free_gate()
        async with house(tmp_path, second) as server:
            ended = await server.end_of(job.id)
            assert ended.status == Status.DONE
            assert len(second.calls) == (ended.windows_planned or 0) - handed_back.windows_done
            assert await server.jobs.transcript(job.id) == undisturbed(free_gate())
            assert await server.jobs.waveform(job.id) == painted

    run(test)


def test_a_job_of_two_channels_is_handed_back_and_taken_up_within_both(tmp_path: Path) -> None:
    call = encode_channels([SPEECH, SPEECH[::-1]], "wav", "pcm_s16le")
    scheduler = Scheduler(1)
    expected = transcribe_all(call, scheduler.lane(free_gate()), load_vad(), Options(), channels="split")
    scheduler.close()

    async def test() -> None:
        gate = Gate()
        async with house(tmp_path, gate.engine) as server:
            job = await server.submit(call, Submission("fake", channels="split"))
            gate.let(3)
            await until(lambda: server.store.get(job.id).windows_done == 3)
            stopping = asyncio.create_task(server.jobs.stop(10))
            gate.let(2)
            await stopping
            gate.free.set()
            handed_back = server.store.get(job.id)
        second = free_gate()
        async with house(tmp_path, second) as server:
            ended = await server.end_of(job.id)
            assert len(second.calls) == (ended.windows_planned or 0) - handed_back.windows_done
            assert await server.jobs.transcript(job.id) == expected
            document = await server.jobs.document(job.id)
        told = [word["speaker"] for part in document["segments"] for word in part["words"]]
        assert set(told) == {0, 1}

    run(test)


OFFSET = 0.05
"""What the samples of the second speaker are shifted by."""
TWO_SPEAKERS = np.concatenate([SPEECH, SPEECH + np.float32(OFFSET)])


def embed(pieces: Sequence[Samples]) -> Embedding:
    """Voices are told by their shift: real speech shifts by nothing."""
    shifted = np.concatenate(pieces).mean() > OFFSET / 2
    return np.array([shifted, not shifted], np.float32)


def test_a_job_that_is_taken_up_again_ends_with_the_same_speakers(tmp_path: Path, speaker_dir: Path) -> None:
    segment = Speakers(ModelStore(speaker_dir)).load().segment
    submission = Submission("fake", speakers=SpeakerCount())

    async def load() -> SpeakerModels:
        return SpeakerModels(segment, embed)

    async def test() -> None:
        gate = Gate()
        async with house(tmp_path, gate.engine, load_speakers=load) as server:
            job = await server.submit(recording(TWO_SPEAKERS), submission)
            gate.let(2)
            await until(lambda: server.store.get(job.id).windows_done == 2)
            stopping = asyncio.create_task(server.jobs.stop(10))
            gate.let(2)
            await stopping
            gate.free.set()
            assert server.store.get(job.id).status == Status.QUEUED
        async with house(tmp_path, free_gate(), load_speakers=load) as server:
            await server.end_of(job.id)
            resumed = await server.jobs.transcript(job.id)
            other = await server.submit(recording(TWO_SPEAKERS), submission)
            await server.end_of(other.id)
            assert await server.jobs.transcript(other.id) == resumed
            words = (await server.jobs.document(job.id))["segments"]
        assert resumed.diarization == "done"
        middle = seconds(SPEECH.size)
        for segment in words:
            for word in segment["words"]:
                if abs((word["start"] + word["end"]) / 2 - middle) > 2:
                    assert word["speaker"] == ((word["start"] + word["end"]) / 2 > middle)

    run(test)


def test_a_job_whose_speakers_cannot_be_told_any_more_says_why(tmp_path: Path) -> None:
    async def test() -> None:
        async with house(tmp_path) as server:
            job = await server.submit(submission=Submission("fake", speakers=SpeakerCount()))
            ended = await server.end_of(job.id)
            assert ended.status == Status.FAILED
            assert ended.error is not None
            assert "This server has no models for it." in ended.error

    run(test)


def test_a_draining_server_hands_back_ends_streams_and_takes_what_is_on_its_way(tmp_path: Path) -> None:
    async def test() -> None:
        gate = Gate()
        async with house(tmp_path, gate.engine) as server:
            job = await server.submit()
            await asyncio.to_thread(gate.begun.acquire)
            watching = asyncio.create_task(server.end_of(job.id))
            server.jobs.drain()
            assert (await watching).status == Status.RUNNING
            late = await server.submit()
            gate.free.set()
            await until(lambda: server.store.get(job.id).status == Status.QUEUED)
            assert (await server.jobs.get(late.id)).status == Status.QUEUED
            await server.jobs.stop(10)
            with pytest.raises(ShuttingDown):
                await server.submit()

    run(test)


class OnceBroken(SqliteJobStore):
    """Its first claim fails in a way that nobody has thought of."""

    broken = True
    kind: type[BaseException] = RuntimeError

    def claim(self, lease_s: float) -> Claim | None:
        if self.broken:
            self.broken = False
            raise self.kind("a bug")
        return super().claim(lease_s)


class OnceEnded(OnceBroken):
    """It would end the thread, and the event loop that waits for it."""

    kind = SystemExit


@pytest.mark.parametrize("store", [OnceBroken, OnceEnded])
def test_a_bug_costs_one_try_and_not_the_worker(tmp_path: Path, store: type[OnceBroken]) -> None:
    async def test() -> None:
        async with house(tmp_path, free_gate(), store=store) as server:
            assert (await server.end_of((await server.submit()).id)).status == Status.DONE

    run(test)


def test_a_job_of_a_dead_server_is_taken_up_again(tmp_path: Path) -> None:
    async def test() -> None:
        async with house(tmp_path, lend=never, rules=JobRules(lease_s=0.5)) as dying:
            job = await dying.submit()
            await until(lambda: dying.store.get(job.id).status == Status.RUNNING)
            async with house(tmp_path, rules=JobRules(lease_s=0.5)) as other:
                dying.jobs._tasks[0].cancel()
                async with asyncio.timeout(30):
                    assert (await other.end_of(job.id)).status == Status.DONE

    async def never(name: str) -> Lease:
        await asyncio.Event().wait()
        raise AssertionError

    run(test)


def test_a_job_cancelled_by_another_process_stops_here_too(tmp_path: Path) -> None:
    async def test() -> None:
        gate = Gate()
        async with house(tmp_path, gate.engine, rules=JobRules(lease_s=0.3)) as server:
            job = await server.submit()
            await asyncio.to_thread(gate.begun.acquire)
            async with house(tmp_path) as other:
                await other.jobs.cancel(job.id)
            gate.let(1)
            await until(lambda: not server.jobs._running)
            assert len(gate.engine.calls) <= 2
            gate.free.set()

    run(test)


def test_a_full_disk_loses_no_window_and_no_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(SqliteJobStore):
        refused = 0

        def finished(self, claim: Claim, index: int, hypothesis: Hypothesis, language: str | None) -> Job:
            if index == 1 and Full.refused < 2:
                Full.refused += 1
                raise StoreFull
            return super().finished(claim, index, hypothesis, language)

    async def test() -> None:
        monkeypatch.setattr("molva.jobs.run.STORE_RETRY_S", 0.01)
        engine = FakeEngine()
        async with house(tmp_path, engine, store=Full) as server:
            ended = await server.end_of((await server.submit()).id)
            assert (ended.status, ended.attempts, Full.refused) == (Status.DONE, 1, 2)
            assert len(engine.calls) == ended.windows_planned

    run(test)


def test_a_job_waits_for_descriptors_that_the_system_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lacking = [OSError(errno.EMFILE, "too many open files"), OSError(errno.ENFILE, "too many open files")]

    def plan_with_luck(*arguments: Any, **options: Any) -> Any:
        if lacking:
            raise lacking.pop()
        return plan(*arguments, **options)

    async def test() -> None:
        monkeypatch.setattr("molva.jobs.run.STORE_RETRY_S", 0.01)
        monkeypatch.setattr("molva.jobs.run.plan", plan_with_luck)
        async with house(tmp_path) as server:
            ended = await server.end_of((await server.submit()).id)
            assert (ended.status, ended.attempts, lacking) == (Status.DONE, 1, [])

    run(test)


def test_a_submission_that_the_disk_does_not_take_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    really_open = os.open

    def fail_to_open(path: Any, *arguments: Any, **options: Any) -> int:
        if path == tmp_path / "jobs":
            raise OSError(errno.EMFILE, "too many open files")
        return really_open(path, *arguments, **options)

    async def test() -> None:
        async with house(tmp_path) as server:
            with monkeypatch.context() as patch:
                patch.setattr(os, "open", fail_to_open)
                with pytest.raises(SpoolError):
                    await server.submit()
            assert server.audio == set()

    run(test)


def test_a_repeated_submission_leaves_one_job_and_one_recording(tmp_path: Path) -> None:
    async def test() -> None:
        gate = Gate()
        async with house(tmp_path, gate.engine) as server:
            once = Idempotency("", "key", "digest")
            jobs = await asyncio.gather(*(server.submit(idempotency=once) for _ in range(5)))
            assert len({job.id for job in jobs}) == 1
            assert server.audio == {jobs[0].id}
            gate.free.set()

    run(test)


def test_a_purged_job_is_gone_while_it_runs(tmp_path: Path) -> None:
    async def test() -> None:
        gate = Gate()
        async with house(tmp_path, gate.engine) as server:
            job = await server.submit()
            await asyncio.to_thread(gate.begun.acquire)
            watcher = server.jobs.watch(job.id)
            await anext(watcher)
            assert (await server.jobs.purge(job.id)).status == Status.RUNNING
            assert [told async for told in watcher] == []
            gate.let(2)
            await until(lambda: not server.jobs._running)
            await until(lambda: not server.audio)
            for call in (server.jobs.get, server.jobs.document, server.jobs.transcript, server.jobs.cancel):
                with pytest.raises(JobNotFound):
                    await call(job.id)

    run(test)


def test_old_jobs_are_forgotten_where_the_operator_wants_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("molva.jobs.service.HOUSEKEEPING_S", 0.05)

    async def test() -> None:
        async with house(tmp_path, rules=JobRules(retention_s=0.2, keep_audio=True)) as server:
            job = await server.submit(recording(np.zeros(16_000, np.float32)))
            await until(lambda: server.store.page().jobs == [])
            await until(lambda: not server.audio)
            with pytest.raises(JobNotFound):
                await server.jobs.get(job.id)

    run(test)


def test_a_clock_that_jumps_ahead_destroys_no_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("molva.jobs.service.HOUSEKEEPING_S", 0.01)
    looked: list[float] = []

    class Watched(SqliteJobStore):
        def forget(self, before: float) -> Sequence[str]:
            looked.append(before)
            return super().forget(before)

    async def test() -> None:
        async with house(tmp_path, rules=JobRules(retention_s=3600), store=Watched) as server:
            job = await server.end_of((await server.submit(recording(np.zeros(16_000, np.float32)))).id)
            now = time.time()
            monkeypatch.setattr(time, "time", lambda: now + 86_400)
            looked.clear()
            await until(lambda: len(looked) >= 3)
            assert (await server.jobs.get(job.id)).status == Status.DONE

    run(test)


def test_the_end_of_each_job_is_told_to_those_who_deliver_webhooks(tmp_path: Path) -> None:
    ended: list[float] = []

    async def test() -> None:
        async with house(tmp_path, ended=lambda: ended.append(time.monotonic())) as server:
            done = await server.submit()
            await server.end_of(done.id)
            await until(lambda: len(ended) == 1)
            cancelled = await server.submit()
            await server.jobs.cancel(cancelled.id)
            await until(lambda: len(ended) >= 2)

    run(test)


class Ends(Observer):
    """What is told of jobs."""

    def __init__(self) -> None:
        self.taken_up = 0
        self.ends: list[str] = []
        self.audio_s = 0.0

    def job_taken_up(self) -> None:
        self.taken_up += 1

    def job_ended(self, status: str, took_s: float) -> None:
        assert took_s >= 0, "the clock may be put back, and a counter never goes back"
        self.ends.append(status)

    def audio_taken(self, door: Door, audio_s: float) -> None:
        assert door == "jobs"
        self.audio_s += audio_s


def test_every_end_of_a_job_is_told_once(tmp_path: Path) -> None:
    async def test() -> None:
        observer, gate = Ends(), Gate()
        async with house(tmp_path, gate.engine, observer=observer) as server:
            running, queued, third = [await server.submit() for _ in range(3)]
            await until(lambda: gate.begun.acquire(blocking=False))
            await server.jobs.cancel(running.id)
            await server.jobs.cancel(queued.id)
            gate.free.set()
            done = await server.end_of(third.id)
            assert done.duration_s
            broken = await server.submit(b"no audio")
            await server.end_of(broken.id)
            assert observer.ends == ["cancelled", "cancelled", "done", "failed"]
            assert observer.taken_up == 3
            assert observer.audio_s == done.duration_s
            assert await server.jobs.counts() == {Status.CANCELLED: 2, Status.DONE: 1, Status.FAILED: 1}

    run(test)


def test_a_job_that_ends_before_it_came_took_no_time(tmp_path: Path) -> None:
    class PutBack(SqliteJobStore):
        """Whose clock is put back each time that somebody looks."""

        def __init__(self, database: Database) -> None:
            times = itertools.count(1_700_000_000, -100)
            super().__init__(database, clock=lambda: next(times))

    async def test() -> None:
        observer = Ends()
        async with house(tmp_path, observer=observer, store=PutBack) as server:
            await server.end_of((await server.submit()).id)
            await until(lambda: observer.ends == ["done"])

    run(test)


def test_what_is_logged_of_a_job_names_it_also_in_its_thread(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "molva")
    caplog.handler.setFormatter(Lines())

    async def test() -> None:
        async with house(tmp_path) as server:
            job = await server.submit()
            await server.end_of(job.id)
            await until(lambda: f"job {job.id} is done job_id={job.id}" in caplog.text)

    run(test)


class TestCharges:
    """Who submits a job is charged for its audio, whatever becomes of it after it was decoded."""

    def test_once_and_when_it_has_ended(self, tmp_path: Path) -> None:
        async def test() -> None:
            charged: list[float] = []
            METER.set(charged.append)
            key = Idempotency("laptop", "once", "digest")
            async with house(tmp_path) as here:
                job = await here.submit(idempotency=key)
                assert (await here.end_of(job.id)).status is Status.DONE
                await until(lambda: charged)
                assert (await here.submit(idempotency=key)).id == job.id
                nothing = await here.submit(b"no audio at all")
                assert (await here.end_of(nothing.id)).status is Status.FAILED
                await until(lambda: len(charged) == 2)
            assert charged == [pytest.approx(len(SPEECH) / SAMPLE_RATE, abs=0.01), 0]

        run(test)

    def test_also_if_it_is_purged_before(self, tmp_path: Path) -> None:
        async def test() -> None:
            charged: list[float] = []
            METER.set(charged.append)
            gate = Gate()
            async with house(tmp_path, gate.engine) as here:
                job = await here.submit()
                await asyncio.to_thread(gate.begun.acquire)
                await here.jobs.purge(job.id)
                gate.free.set()
            assert charged == [pytest.approx(len(SPEECH) / SAMPLE_RATE, abs=0.01)]

        run(test)
