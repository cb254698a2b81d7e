"""`molva webhooks`, as an operator meets it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from molva.cli import webhooks as cli
from molva.database import Database
from molva.errors import OptionError, SettingsError
from molva.webhooks.delivery import Delivery
from molva.webhooks.sqlite import TABLES, SqliteDeliveryStore


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MOLVA_DATA_DIR", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteDeliveryStore]:
    """A running server's."""
    database = Database(tmp_path / ".molva" / "molva.db", [TABLES])
    yield SqliteDeliveryStore(database)
    database.close()


def molva_webhooks(*args: str) -> Result:
    return CliRunner().invoke(cli.app, args)


def succeed(*args: str) -> Result:
    result = molva_webhooks(*args)
    assert result.exit_code == 0, result.output
    return result


def fail(store: SqliteDeliveryStore, number: int, problem: str = "it answered 500") -> Delivery:
    added = store.add(f"https://{number}.example/hook?token=hidden", "job.done", b"{}", f"job{number}")
    [claimed] = store.claim(60, 1)
    store.failed(claimed, problem, 500, None)
    return added


def test_the_list_shows_what_became_of_each_without_the_url_s_query(store: SqliteDeliveryStore) -> None:
    given_up = fail(store, 1)
    waiting = store.add("https://2.example/", "model_ready", b"{}")
    rows = [line.split("  ") for line in succeed("list").stdout.splitlines()]
    rows = [[cell.strip() for cell in row if cell.strip()] for row in rows]
    assert rows[0] == ["ID", "EVENT", "JOB", "STATUS", "ATTEMPTS", "NEXT ATTEMPT", "URL", "LAST ANSWER"]
    by_id = {row[0]: row for row in rows[1:]}
    assert by_id[given_up.id] == [
        *(given_up.id, "job.done", "job1", "given_up", "1", "-", "https://1.example/hook", "it answered 500")
    ]
    assert by_id[waiting.id][1:5] == ["model_ready", "-", "pending", "0"]
    assert by_id[waiting.id][5].endswith(" UTC")


def test_the_list_can_be_of_one_status_and_of_the_newest(store: SqliteDeliveryStore) -> None:
    for number in range(3):
        fail(store, number)
    store.add("https://9.example/", "job.done", b"{}")
    assert len(succeed("list", "--status", "given_up").stdout.splitlines()) == 1 + 3
    assert len(succeed("list", "--limit", "2").stdout.splitlines()) == 1 + 2
    assert molva_webhooks("list", "--status", "lost").exit_code == 2


def test_without_deliveries_there_is_no_list() -> None:
    result = succeed("list")
    assert result.stdout == ""
    assert "no such delivery" in result.stderr


def test_a_replay_is_due_for_a_running_server(store: SqliteDeliveryStore) -> None:
    given_up = fail(store, 1)
    succeed("replay", given_up.id)
    assert [delivery.id for delivery in store.claim(60, 1)] == [given_up.id]


def test_all_that_were_given_up_can_be_replayed(store: SqliteDeliveryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "PAGE", 2)
    given_up = [fail(store, number) for number in range(5)]
    assert "5 will be sent again" in succeed("replay", "--given-up").stderr
    assert {delivery.id for delivery in store.claim(60, 9)} == {delivery.id for delivery in given_up}


def test_replaying_what_is_not_there_fails() -> None:
    assert isinstance(molva_webhooks("replay", "msg_1").exception, OptionError)


def test_replaying_needs_to_be_told_what() -> None:
    assert molva_webhooks("replay").exit_code == 2
    assert molva_webhooks("replay", "msg_1", "--given-up").exit_code == 2


def test_a_damaged_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / ".molva" / "molva.db"
    path.parent.mkdir()
    path.write_bytes(b"damaged" * 1000)
    for command in (["list"], ["replay", "msg_1"]):
        result = molva_webhooks(*command)
        assert isinstance(result.exception, SettingsError)
        assert str(path) in str(result.exception)
