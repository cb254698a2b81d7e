"""The short form of `python -m tests.chaos`, and whether the harness finds a loss where there is one."""

import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

import tests.chaos.scene as scenes
from tests.chaos.aftermath import Holdings, complaints, left_on_disk
from tests.chaos.clients import Account, End
from tests.chaos.faults import FAULTS
from tests.chaos.load import Expected
from tests.chaos.receiver import Receiver
from tests.chaos.report import table
from tests.chaos.scene import Fault, LeftOut, Outcome, Scene, learn, play
from tests.conftest import TINY

SHORT = [pytest.param(fault, id=fault.name) for fault in FAULTS if fault.short]


@pytest.fixture(scope="module")
def expected() -> Expected:
    return learn(TINY)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("fault", SHORT)
def test_nothing_is_lost_by(fault: Fault, expected: Expected) -> None:
    outcome = play(fault, TINY, expected, seed=5)
    if outcome.left_out:
        pytest.skip(outcome.left_out)
    assert outcome.problems == []
    assert outcome.ends["done"] > 0


def test_names_are_unique() -> None:
    assert max(Counter(fault.name for fault in FAULTS).values()) == 1


def loses_cuts_and_leaves(scene: Scene) -> None:
    """The newest job is gone from the database, the process is killed, which this fault is not allowed, files lie
    about, and nothing says that the fault has happened.
    """
    scene.wait_until(lambda: bool(scene.load.submitter.jobs), "a job is accepted")
    job = list(scene.load.submitter.jobs)[-1]
    with closing(sqlite3.connect(scene.server.data / "molva.db", timeout=30)) as connection:
        connection.execute("DELETE FROM jobs WHERE id = ?", (job,))
        connection.commit()
    scene.server.kill()
    scene.server.start()
    scene.server.wait_until_ready()
    (scene.server.data / "spool" / "left").write_bytes(b"audio")
    (scene.server.temporary / "left").write_bytes(b"audio")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_losses_are_found(monkeypatch: pytest.MonkeyPatch, expected: Expected) -> None:
    monkeypatch.setattr(scenes, "WEBHOOKS_S", 5.0)  # nobody will be told of the job
    outcome = play(Fault("test", "losses", loses_cuts_and_leaves, threads_stay=False), TINY, expected, seed=1)
    found = ["HTTP 404", "cut: ", "an upload is left", "a temporary file is left", "it never happened"]
    assert [what for what in found if not any(what in problem for problem in outcome.problems)] == []


def test_what_cannot_be_had_here_is_left_out_and_said_so() -> None:
    outcome = Outcome("test", "something", 0, {}, [], 1.0, left_out="no such right")
    assert "left out: no such right" in table([outcome])[2]
    assert table([outcome])[-1].endswith("| 0 of 0 |")


@pytest.mark.parametrize(
    ("error", "problems", "left_out"),
    [(LeftOut("no such right"), [], "no such right"), (KeyError("its own"), ["KeyError('its own')"], "")],
)
def test_a_fault_that_cannot_be_had_is_no_loss_and_one_that_fails_is(
    monkeypatch: pytest.MonkeyPatch, error: Exception, problems: list[str], left_out: str
) -> None:
    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr(scenes, "_under_load", fails)
    outcome = play(Fault("test", "something", fails), TINY, Expected(), seed=1)
    assert (outcome.problems, outcome.left_out) == (problems, left_out)


class TestHoldings:
    before = Holdings(Counter({"MainThread": 1, "sender": 2, "asyncio": 1}), Counter({"socket": 3}))

    @pytest.mark.parametrize(
        ("threads", "files", "found"),
        [
            ({}, {}, []),
            ({"sender": 3}, {}, ["1 more threads 'sender'"]),
            ({"sender": 1}, {}, ["only 1 of 2 threads 'sender'"]),
            ({"asyncio": 9}, {}, []),
            ({"asyncio": 65}, {}, ["65 threads 'asyncio'"]),
            ({}, {"socket": 5}, ["2 more descriptors: socket"]),
            ({}, {"socket": 1}, []),
        ],
    )
    def test_what_is_more_or_missing_is_found(
        self, threads: dict[str, int], files: dict[str, int], found: list[str]
    ) -> None:
        now = Holdings(Counter(self.before.threads | threads), Counter(self.before.files | files))
        assert now.beyond(self.before) == found


class TestDisk:
    @pytest.fixture
    def data(self, tmp_path: Path) -> Path:
        """Of a server that has ended well."""
        for folder in ("data/spool", "data/jobs", "tmp"):
            (tmp_path / folder).mkdir(parents=True)
        with closing(sqlite3.connect(tmp_path / "data" / "molva.db")) as connection:
            connection.execute("CREATE TABLE jobs (id, status, claim)")
            connection.execute("CREATE TABLE deliveries (id, claim)")
            connection.execute("INSERT INTO jobs VALUES ('one', 'done', NULL)")
            connection.commit()
        return tmp_path / "data"

    def look(self, data: Path) -> list[str]:
        return left_on_disk(data, data.parent / "tmp")

    def test_nothing(self, data: Path) -> None:
        (data / "spool" / ".lock").touch()
        (data / "jobs" / "of no job").touch()
        assert self.look(data) == []

    @pytest.mark.parametrize(
        ("path", "found"),
        [
            ("data/spool/upload", "an upload is left: upload"),
            ("data/jobs/one", "a recording is left: one"),
            ("tmp/file", "a temporary file is left: file"),
        ],
    )
    def test_files(self, data: Path, path: str, found: str) -> None:
        (data.parent / path).touch()
        assert self.look(data) == [found]

    @pytest.mark.parametrize(
        ("change", "found"),
        [
            ("INSERT INTO jobs VALUES ('two', 'running', NULL)", "1 jobs never ended"),
            ("UPDATE jobs SET claim = 'x'", "1 leases are left in jobs"),
            ("INSERT INTO deliveries VALUES ('a', 'x')", "1 leases are left in deliveries"),
        ],
    )
    def test_rows(self, data: Path, change: str, found: str) -> None:
        with closing(sqlite3.connect(data / "molva.db")) as connection:
            connection.execute(change)
            connection.commit()
        assert self.look(data) == [found]


class TestReceiver:
    def test_who_was_not_told_or_told_twice_is_found(self) -> None:
        receiver = Receiver(told={"a": {b"1"}, "b": {b"1", b"2"}}, taken={"job": ["a"], "other": ["b", "c"]})
        assert sorted(receiver.problems({"job", "third"})) == [
            "b came with several contents",
            "job other was told under several ids",
            "nobody was told of job third",
        ]


def test_another_text_than_the_undisturbed_one_is_a_loss() -> None:
    expected = Expected(texts={("request", 0): "one"})
    assert expected.judge(Account("request", End.DONE), 0, "one").end == End.DONE
    assert expected.judge(Account("request", End.DONE), 0, "two").end == End.LOST
    assert expected.judge(Account("request", End.TOLD, "timeout"), 0, "").end == End.TOLD


def test_exceptions_that_nobody_took_are_found_in_the_log() -> None:
    log = "INFO fine\nException in thread sender:\nERROR Task exception was never retrieved\n"
    assert len(complaints(log)) == 2
    assert complaints("INFO fine\n") == []
