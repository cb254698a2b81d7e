"""The embedded job store."""

import sqlite3
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from molva.database import Database
from molva.errors import (
    ClaimLost,
    IdempotencyMismatch,
    JobFinished,
    JobNotFound,
    MolvaError,
    OptionError,
)
from molva.jobs import sqlite as jobs_sqlite
from molva.jobs.job import TERMINAL, TRANSITIONS, Job, JobPriority, Status, Submission
from molva.jobs.sqlite import SqliteJobStore
from molva.jobs.store import Claim, Idempotency
from molva.runtime.plan import Plan, PlannedWindow
from molva.samples import Channels
from molva.speech.clustering import SpeakerCount
from molva.speech.waveform import Waveform
from molva.transcript import Coverage, Hypothesis, Segment, Transcript, Word
from molva.webhooks import sqlite as webhooks_sqlite

TABLES = [webhooks_sqlite.TABLES, jobs_sqlite.TABLES]
PLAN = Plan((PlannedWindow(0, 16_000, 8_000, 0), PlannedWindow(16_000, 8_000, 4_000, 160, side=1)), 1.5)
WORD = Word("слово", 0.1, 0.1 + 0.2, 0.987654321)
HEARD = Hypothesis("слово", (), (WORD,), "ru", avg_logprob=-0.1, no_speech_prob=None)
WAVEFORM = Waveform(1.5, 0.1, bytes([0, 7, 255]), ((0.1, 0.3), (0.5, 1.5)))
TRANSCRIPT = Transcript((Segment(0.1, 0.3, "слово", (WORD,), -0.1),), 1.5, "ru", Coverage(0.75, 0.75))


class Clock:
    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "molva.db", TABLES)
    yield database
    database.close()


@pytest.fixture
def store(database: Database, clock: Clock) -> SqliteJobStore:
    return SqliteJobStore(database, clock=clock)


def submit(store: SqliteJobStore, priority: JobPriority = JobPriority.NORMAL) -> str:
    return store.submit(str(uuid.uuid4()), Submission(model="fake", priority=priority)).id


def claimed(store: SqliteJobStore, lease_s: float = 10) -> Claim:
    claim = store.claim(lease_s)
    assert claim is not None
    return claim


def test_a_submitted_job_is_there_after_a_restart(tmp_path: Path, store: SqliteJobStore) -> None:
    submission = Submission("fake", "translate", "ru", JobPriority.HIGH, "https://a.example/x", "запись.ogg")
    job_id = str(uuid.uuid4())
    job = store.submit(job_id, submission)
    assert job == Job(job_id, submission, Status.QUEUED, created_at=1_700_000_000.0, language="ru")
    again = Database(tmp_path / "molva.db", TABLES)
    assert SqliteJobStore(again).get(job_id) == job
    again.close()


@pytest.mark.parametrize("channels", ["mix", "split"])
def test_what_becomes_of_the_channels_is_kept(store: SqliteJobStore, channels: Channels) -> None:
    job_id = store.submit(str(uuid.uuid4()), Submission("fake", channels=channels)).id
    assert store.get(job_id).submission.channels == channels
    assert store.page().jobs[0].submission.channels == channels
    assert claimed(store).job.submission.channels == channels
    assert store.purge(job_id).submission.channels == channels


def test_a_plan_from_before_channels_were_split_has_one_side(database: Database, store: SqliteJobStore) -> None:
    submit(store)
    store.planned(claimed(store), PLAN, "recipe")
    old = '{"windows": [{"start": 0, "size": 16000, "speech": 8000, "overlap": 0}], "duration_s": 1.0}'
    database.write(lambda connection: connection.execute("UPDATE plans SET plan = ?", (old,)).rowcount)
    database.write(lambda connection: connection.execute("UPDATE jobs SET claimed_until = 0").rowcount)
    assert claimed(store).plan == Plan((PlannedWindow(0, 16_000, 8_000, 0, side=0),), 1.0)


def test_how_many_speakers_there_may_be_is_kept_wherever_a_job_is_read(store: SqliteJobStore) -> None:
    submission = Submission("fake", speakers=SpeakerCount(2, 5))
    idempotency = Idempotency("", "k", "d")
    job = store.submit(str(uuid.uuid4()), submission, idempotency)
    assert job.submission == store.get(job.id).submission == submission
    [listed] = store.page().jobs
    assert listed == store.submitted_before(idempotency) == job
    assert claimed(store).job.submission == submission
    store.purge(job.id)
    assert store.submit(job.id, Submission("fake")).submission.speakers is None


def test_a_database_from_before_speakers_is_taken_over(tmp_path: Path) -> None:
    before = Database(tmp_path / "molva.db", TABLES)
    job = SqliteJobStore(before).submit(str(uuid.uuid4()), Submission("fake"))
    before.write(lambda connection: connection.execute("DROP TABLE speakers") and None)
    before.close()
    after = Database(tmp_path / "molva.db", TABLES)
    assert SqliteJobStore(after).get(job.id) == job
    after.close()


def test_an_unknown_job_is_told_so(store: SqliteJobStore) -> None:
    for call in (store.get, store.cancel, store.purge):
        with pytest.raises(JobNotFound, match="job nothing not found"):
            call("nothing")
    assert store.transcript("nothing") is None


def test_jobs_are_claimed_by_priority_and_then_as_they_came(store: SqliteJobStore) -> None:
    low, first, high, second = (
        submit(store, priority)
        for priority in (JobPriority.LOW, JobPriority.NORMAL, JobPriority.HIGH, JobPriority.NORMAL)
    )
    assert [claimed(store).job.id for _ in range(4)] == [high, first, second, low]
    assert store.claim(10) is None


def test_ten_thousand_that_wait_are_not_looked_at_one_by_one(database: Database, store: SqliteJobStore) -> None:
    def fill(connection: sqlite3.Connection) -> None:
        connection.execute(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000) "
            "INSERT INTO jobs (id, status, priority, model, task, created_at) "
            "SELECT 'job' || i, 'queued', i % 3 - 1, 'fake', 'transcribe', i FROM n"
        )

    def steps(work: Callable[[], object]) -> int:
        """Thousands of instructions of SQLite's machine: a measure that no busy machine changes."""
        count = 0

        def tick() -> int:
            nonlocal count
            count += 1
            return 0

        for connection in (database._reader.connection(), database._writer.connection()):
            connection.set_progress_handler(tick, 1000)
        work()
        return count

    database.write(fill)
    assert steps(lambda: store.claim(10)) < 5
    assert steps(lambda: submit(store)) < 5
    assert steps(store.page) < 10
    assert steps(lambda: store.page(statuses=[Status.QUEUED], cursor="1000")) < 10


def test_a_claim_is_nobody_elses_until_it_runs_out(store: SqliteJobStore, clock: Clock) -> None:
    job_id = submit(store)
    first = claimed(store, 10)
    clock.now += 9.9
    assert store.claim(10) is None
    assert store.renew(first, 10)
    clock.now += 9.9
    assert store.claim(10) is None
    clock.now += 0.2
    second = claimed(store, 10)
    assert (second.job.id, second.job.attempts) == (job_id, 2)
    assert second.token != first.token


def test_a_clock_that_is_put_back_keeps_no_job_from_others(store: SqliteJobStore, clock: Clock) -> None:
    submit(store)
    dead = store.claim(10)
    assert dead is not None
    clock.now -= 86_400
    claim = store.claim(10)
    assert claim is not None
    assert claim.job.id == dead.job.id


def test_a_lost_claim_changes_nothing_any_more(store: SqliteJobStore, clock: Clock) -> None:
    job_id = submit(store)
    lost = claimed(store, 1)
    clock.now += 2
    holder = claimed(store, 10)
    store.planned(holder, PLAN, "recipe")
    before = store.get(job_id)
    for change in (
        lambda: store.planned(lost, Plan((), 1), "other"),
        lambda: store.finished(lost, 0, HEARD, "ru"),
        lambda: store.done(lost, TRANSCRIPT),
        lambda: store.failed(lost, "no"),
        lambda: store.hand_back(lost),
    ):
        with pytest.raises(ClaimLost):
            change()
    assert not store.renew(lost, 10)
    assert store.get(job_id) == before


def test_what_was_finished_is_there_for_the_next_attempt(store: SqliteJobStore, clock: Clock) -> None:
    submit(store)
    first = claimed(store, 1)
    assert (first.plan, first.finished, first.recipe) == (None, [], None)
    store.planned(first, PLAN, "recipe")
    job = store.finished(first, 0, HEARD, "ru")
    assert (job.windows_done, job.windows_planned, job.duration_s, job.language) == (1, 2, 1.5, "ru")
    assert job.percent == 50
    clock.now += 2
    second = claimed(store)
    assert (second.plan, second.finished, second.recipe) == (PLAN, [HEARD], "recipe")


def test_a_window_told_twice_counts_once(store: SqliteJobStore) -> None:
    submit(store)
    claim = claimed(store)
    store.planned(claim, PLAN, "recipe")
    assert store.finished(claim, 0, HEARD, "ru") == store.finished(claim, 0, HEARD, "ru")
    with pytest.raises(ValueError, match="window 2"):
        store.finished(claim, 2, HEARD, "ru")


def test_a_new_plan_forgets_the_windows_of_the_old_one(store: SqliteJobStore, clock: Clock) -> None:
    submit(store)
    first = claimed(store, 1)
    store.planned(first, PLAN, "recipe")
    store.finished(first, 0, HEARD, "ru")
    clock.now += 2
    second = claimed(store, 1)
    store.planned(second, PLAN, "another")
    clock.now += 2
    third = claimed(store)
    assert (third.finished, third.recipe, third.job.windows_done) == ([], "another", 0)


def test_a_done_job_keeps_its_transcript_to_the_last_digit(store: SqliteJobStore) -> None:
    job_id = submit(store)
    claim = claimed(store)
    store.planned(claim, PLAN, "recipe")
    job = store.done(claim, TRANSCRIPT)
    assert (job.status, job.percent, job.completed_at) == (Status.DONE, 100, 1_700_000_000.0)
    assert store.transcript(job_id) == TRANSCRIPT


def test_a_job_whose_server_dies_each_time_is_given_up(store: SqliteJobStore, clock: Clock) -> None:
    job_id = submit(store)
    for _ in range(3):
        claimed(store, 1)
        clock.now += 2
    assert store.claim(1) is None
    job = store.get(job_id)
    assert job.status == Status.FAILED
    assert "died 3 times" in (job.error or "")


def test_attempts_are_counted_anew_when_it_goes_forward(store: SqliteJobStore, clock: Clock) -> None:
    job_id = submit(store)
    for _ in range(2):
        claim = claimed(store, 1)
        clock.now += 2
    store.planned(claim, PLAN, "recipe")
    store.finished(claim, 0, HEARD, "ru")
    for _ in range(2):
        claimed(store, 1)
        clock.now += 2
    assert store.get(job_id).status == Status.RUNNING
    assert store.claim(1) is None
    assert store.get(job_id).status == Status.FAILED


def test_the_picture_of_a_recording_stays_until_its_job_is_purged(store: SqliteJobStore) -> None:
    job_id = submit(store)
    assert store.waveform(job_id) is None
    store.planned(claimed(store), PLAN, "recipe", WAVEFORM)
    assert store.waveform(job_id) == WAVEFORM
    store.cancel(job_id)
    assert store.waveform(job_id) == WAVEFORM
    store.purge(job_id)
    assert store.waveform(job_id) is None


def test_another_recipe_paints_anew(store: SqliteJobStore) -> None:
    job_id = submit(store)
    claim = claimed(store)
    store.planned(claim, PLAN, "recipe", WAVEFORM)
    louder = replace(WAVEFORM, peaks=b"\xff")
    store.planned(claim, PLAN, "other", louder)
    assert store.waveform(job_id) == louder


def test_a_database_from_before_there_were_pictures_gets_their_table(tmp_path: Path) -> None:
    older = Database(tmp_path / "older.db", TABLES)
    job_id = submit(SqliteJobStore(older))
    older.write(lambda connection: connection.execute("DROP TABLE waveforms"))
    older.close()
    newer = Database(tmp_path / "older.db", TABLES)
    store = SqliteJobStore(newer)
    assert store.waveform(job_id) is None
    store.planned(claimed(store), PLAN, "recipe", WAVEFORM)
    assert store.waveform(job_id) == WAVEFORM
    newer.close()


def test_a_job_that_was_handed_back_waits_in_its_old_place(store: SqliteJobStore) -> None:
    first, second = submit(store), submit(store)
    claim = claimed(store)
    store.planned(claim, PLAN, "recipe")
    store.finished(claim, 0, HEARD, "ru")
    job = store.hand_back(claim)
    assert (job.id, job.status, job.attempts, job.windows_done) == (first, Status.QUEUED, 0, 1)
    assert [claimed(store).job.id, claimed(store).job.id] == [first, second]


def test_an_ended_job_cannot_be_cancelled(store: SqliteJobStore) -> None:
    job_id = submit(store)
    assert store.cancel(job_id).status == Status.CANCELLED
    with pytest.raises(JobFinished, match=f"job {job_id} is already in terminal state cancelled"):
        store.cancel(job_id)
    assert store.claim(10) is None


def test_cancelling_a_running_job_takes_the_claim_away(store: SqliteJobStore) -> None:
    job_id = submit(store)
    claim = claimed(store)
    store.cancel(job_id)
    assert not store.renew(claim, 10)
    with pytest.raises(ClaimLost):
        store.done(claim, TRANSCRIPT)
    assert store.get(job_id).status == Status.CANCELLED


def test_the_same_submission_makes_one_job(store: SqliteJobStore) -> None:
    once = Idempotency("", "key", "digest")
    first = store.submit(str(uuid.uuid4()), Submission("fake"), once)
    assert store.submit(str(uuid.uuid4()), Submission("fake"), once) == first == store.submitted_before(once)
    assert store.waiting() == 1


def test_a_key_that_comes_with_something_else_is_refused(store: SqliteJobStore) -> None:
    store.submit(str(uuid.uuid4()), Submission("fake"), Idempotency("", "key", "digest"))
    other = Idempotency("", "key", "another")
    with pytest.raises(IdempotencyMismatch):
        store.submit(str(uuid.uuid4()), Submission("fake"), other)
    with pytest.raises(IdempotencyMismatch):
        store.submitted_before(other)
    assert store.submitted_before(Idempotency("somebody else", "key", "another")) is None


def test_pages_go_from_the_newest_to_the_oldest_whatever_comes_meanwhile(store: SqliteJobStore) -> None:
    ids = [submit(store) for _ in range(7)]
    page = store.page(limit=3)
    told = [job.id for job in page.jobs]
    submit(store)
    while page.following is not None:
        page = store.page(limit=3, cursor=page.following)
        told += [job.id for job in page.jobs]
    assert told == ids[::-1]


def test_a_page_has_the_states_that_are_asked_for(store: SqliteJobStore) -> None:
    cancelled, running, queued = submit(store), submit(store), submit(store)
    store.cancel(cancelled)
    claimed(store)
    asked = store.page(statuses=[Status.QUEUED, Status.CANCELLED]).jobs
    assert [job.id for job in asked] == [queued, cancelled]
    assert [job.id for job in store.page(statuses=[Status.RUNNING]).jobs] == [running]
    assert store.waiting() == 1


@pytest.mark.parametrize("cursor", ["", "x", "-1", "1.5", "9" * 30, "١"])
def test_a_cursor_that_is_none_is_refused(store: SqliteJobStore, cursor: str) -> None:
    with pytest.raises(OptionError, match="next_cursor"):
        store.page(cursor=cursor)


def rows(connection: sqlite3.Connection, table: str) -> int:
    [count] = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
    return int(count)


def test_a_purged_job_leaves_nothing(database: Database, store: SqliteJobStore) -> None:
    job_id = submit(store)
    claim = claimed(store)
    store.planned(claim, PLAN, "recipe")
    store.finished(claim, 0, HEARD, "ru")
    assert store.purge(job_id).status == Status.RUNNING
    for table in ("jobs", "plans", "windows", "transcripts"):
        assert database.read(partial(rows, table=table)) == 0
    assert not store.renew(claim, 10)


def test_a_clock_that_was_put_back_for_a_time_makes_no_job_old(store: SqliteJobStore, clock: Clock) -> None:
    submit(store)
    clock.now -= 86_400
    ended = submit(store)
    store.cancel(ended)
    clock.now += 86_400
    assert store.forget(clock.now - 3600) == []
    clock.now += 3700
    assert store.forget(clock.now - 3600) == [ended]


def test_only_jobs_that_ended_before_are_forgotten(store: SqliteJobStore, clock: Clock) -> None:
    old, waiting, new = submit(store), submit(store), submit(store)
    store.cancel(old)
    clock.now += 100
    store.cancel(new)
    assert store.forget(clock.now - 50) == [old]
    assert {job.id for job in store.page().jobs} == {waiting, new}


def test_two_processes_never_claim_the_same_job(tmp_path: Path) -> None:
    databases = [Database(tmp_path / "molva.db", TABLES) for _ in range(3)]
    stores = [SqliteJobStore(database) for database in databases]
    ids = {submit(stores[0]) for _ in range(60)}
    taken: list[str] = []

    def take(store: SqliteJobStore) -> None:
        while claim := store.claim(60):
            taken.append(claim.job.id)

    threads = [threading.Thread(target=take, args=(store,)) for store in stores for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 60
    assert set(taken) == ids
    for database in databases:
        database.close()


class Life(RuleBasedStateMachine):
    """Whatever is done in whatever order, a job moves along the allowed transitions only."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.seen: dict[str, Status] = {}
        self.claims: list[Claim] = []

    @initialize()
    def open(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.database = Database(Path(self.folder.name) / "molva.db", TABLES)
        self.store = SqliteJobStore(self.database, clock=self.clock)

    @rule()
    def submit(self) -> None:
        job_id = submit(self.store)
        self.seen[job_id] = Status.QUEUED

    @rule(lease=st.sampled_from([1.0, 100.0]))
    def claim(self, lease: float) -> None:
        if claim := self.store.claim(lease):
            self.claims.append(claim)
        self.look()

    @rule(seconds=st.sampled_from([0.5, 2.0, 200.0]))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule(data=st.data(), act=st.sampled_from(["planned", "finished", "done", "failed", "hand_back", "cancel"]))
    def act(self, data: st.DataObject, act: str) -> None:
        if not self.claims:
            return
        claim = data.draw(st.sampled_from(self.claims))
        try:
            match act:
                case "planned":
                    self.store.planned(claim, PLAN, "recipe")
                case "finished":
                    self.store.finished(claim, self.store.get(claim.job.id).windows_done, HEARD, None)
                case "done":
                    self.store.done(claim, TRANSCRIPT)
                case "failed":
                    self.store.failed(claim, "on purpose")
                case "hand_back":
                    self.store.hand_back(claim)
                case "cancel":
                    self.store.cancel(claim.job.id)
        except MolvaError:
            pass
        self.look()

    def look(self) -> None:
        for job_id, before in self.seen.items():
            job = self.store.get(job_id)
            assert job.status == before or job.status in TRANSITIONS[before]
            assert (job.completed_at is not None) == (job.status in TERMINAL)
            assert (self.store.transcript(job_id) is not None) == (job.status == Status.DONE)
            self.seen[job_id] = job.status

    def teardown(self) -> None:
        self.database.close()
        self.folder.cleanup()


Life.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestLife = Life.TestCase
