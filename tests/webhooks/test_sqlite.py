"""Deliveries in a database: none is lost, and none is in two hands."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from molva.database import Database
from molva.webhooks.delivery import Delivery
from molva.webhooks.sqlite import TABLES, SqliteDeliveryStore, forget_job, insert_delivery

A, B = "https://a.example/hook", "https://b.example/hook"


class Clock:
    """Moves ten milliseconds with each look, and when it is told to."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        self.now += 0.01
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def open_store(tmp_path: Path, clock: Clock) -> Iterator[Callable[[], SqliteDeliveryStore]]:
    databases = []

    def open_store() -> SqliteDeliveryStore:
        databases.append(Database(tmp_path / "molva.db", [TABLES]))
        return SqliteDeliveryStore(databases[-1], clock)

    yield open_store
    for database in databases:
        database.close()


@pytest.fixture
def store(open_store: Callable[[], SqliteDeliveryStore]) -> SqliteDeliveryStore:
    return open_store()


def add(store: SqliteDeliveryStore, url: str = A, payload: bytes = b"{}", job_id: str | None = None) -> Delivery:
    return store.add(url, "job.done", payload, job_id)


def ids(deliveries: list[Delivery]) -> list[str]:
    return [delivery.id for delivery in deliveries]


def test_what_was_added_is_found_and_due(store: SqliteDeliveryStore) -> None:
    added = add(store, payload=b'{"text":"\xd1\x8f"}', job_id="j1")
    assert store.find(added.id) == added
    assert (added.status, added.attempts, added.due_at) == ("pending", 0, added.created_at)
    [claimed] = store.claim(10, 5)
    assert replace(claimed, claim=None) == added


def test_an_unknown_delivery_is_none(store: SqliteDeliveryStore) -> None:
    assert store.find("msg_1") is None
    assert store.replay("msg_1") is None


def test_it_goes_into_the_transaction_of_others(store: SqliteDeliveryStore) -> None:
    def fail(connection: sqlite3.Connection) -> None:
        insert_delivery(connection, url=A, event="job.done", payload=b"{}", job_id="j", now=1)
        raise ValueError("on purpose")

    with pytest.raises(ValueError, match="on purpose"):
        store._database.write(fail)
    assert store.list() == []


def test_what_is_claimed_is_nobody_elses_until_the_lease_ends(
    open_store: Callable[[], SqliteDeliveryStore], clock: Clock
) -> None:
    one, two = open_store(), open_store()
    added = add(one)
    assert ids(one.claim(10, 5)) == [added.id]
    assert two.claim(10, 5) == one.claim(10, 5) == []
    clock.now += 10
    assert ids(two.claim(10, 5)) == [added.id]


def test_stores_that_claim_at_once_never_hold_the_same(open_store: Callable[[], SqliteDeliveryStore]) -> None:
    stores = [open_store() for _ in range(3)]
    added = [add(stores[0], f"https://{number}.example/") for number in range(60)]
    claimed: list[str] = []

    def claim(store: SqliteDeliveryStore) -> None:
        while got := store.claim(1000, 4):
            claimed.extend(ids(got))

    threads = [threading.Thread(target=claim, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claimed) == sorted(ids(added))


def test_a_process_that_dies_takes_nothing_with_it(open_store: Callable[[], SqliteDeliveryStore], clock: Clock) -> None:
    added = add(open_store(), payload=b'{"exactly": "this"}')
    open_store().claim(30, 5)
    reopened = open_store()
    assert reopened.claim(30, 5) == []
    clock.now += 30
    [again] = reopened.claim(30, 5)
    assert (again.id, again.payload, again.url) == (added.id, added.payload, added.url)


def test_a_receiver_hears_one_thing_at_a_time_and_in_order(store: SqliteDeliveryStore) -> None:
    first, second, third = add(store, A), add(store, A + "?x=2"), add(store, "https://A.example/other")
    other = add(store, B)
    for expected in (first, second, third):
        claimed = store.claim(10, 5)
        assert ids(claimed)[0] == expected.id
        assert store.claim(10, 5) == []
        for delivery in claimed:
            store.delivered(delivery, 200)
    assert store.find(other.id) is not None


def test_those_that_are_due_longest_come_first_and_no_more_than_asked_for(store: SqliteDeliveryStore) -> None:
    added = [add(store, f"https://{number}.example/") for number in (3, 1, 2)]
    assert ids(store.claim(10, 2)) == ids(added[:2])


def test_a_delivered_one_is_over(store: SqliteDeliveryStore) -> None:
    added = add(store)
    [claimed] = store.claim(10, 1)
    store.delivered(claimed, 204)
    found = store.find(added.id)
    assert found is not None
    assert (found.status, found.attempts, found.answer, found.problem) == ("delivered", 1, 204, None)
    assert store.next_due() is None
    assert store.claim(10, 1) == []


def test_a_clock_that_is_put_back_keeps_nothing_waiting(store: SqliteDeliveryStore, clock: Clock) -> None:
    for url in ("http://a/failed", "http://b/in-hand", "http://c/new"):
        store.add(url, "job.done", b"{}")
    [failed, *_] = store.claim(30, 2)
    store.failed(failed, "down", None, clock.now + 50)
    clock.now -= 86_400
    assert store.claim(30, 10) == []
    store.set_right(30)
    assert {delivery.url for delivery in store.claim(30, 10)} == {"http://a/failed", "http://c/new"}
    clock.now += 31
    assert "http://b/in-hand" in {delivery.url for delivery in store.claim(30, 10)}


def test_a_failed_one_is_due_when_it_is_said_to_be(store: SqliteDeliveryStore, clock: Clock) -> None:
    added = add(store)
    [claimed] = store.claim(10, 1)
    due_at = clock.now + 50
    store.failed(claimed, "it answered 500", 500, due_at)
    found = store.find(added.id)
    assert found is not None
    assert (found.status, found.attempts, found.answer, found.problem) == ("pending", 1, 500, "it answered 500")
    assert store.next_due() == due_at
    assert store.claim(10, 1) == []
    clock.now = due_at
    assert ids(store.claim(10, 1)) == [added.id]


def test_one_that_was_given_up_is_not_attempted_until_it_is_replayed(store: SqliteDeliveryStore, clock: Clock) -> None:
    added = add(store)
    [claimed] = store.claim(10, 1)
    store.failed(claimed, "no connection", None, None)
    clock.now += 1_000_000
    assert store.claim(10, 1) == []
    replayed = store.replay(added.id)
    assert replayed is not None
    assert (replayed.status, replayed.attempts) == ("pending", 0)
    [again] = store.claim(10, 1)
    assert (again.id, again.payload) == (added.id, added.payload)


def test_a_result_of_a_lost_lease_changes_nothing(store: SqliteDeliveryStore, clock: Clock) -> None:
    added = add(store)
    [late] = store.claim(10, 1)
    clock.now += 10
    [current] = store.claim(10, 1)
    store.failed(late, "too late", 500, None)
    store.delivered(late, 200)
    store.delivered(added, 200)
    found = store.find(added.id)
    assert found is not None
    assert (found.status, found.attempts) == ("pending", 0)
    store.delivered(current, 201)
    found = store.find(added.id)
    assert found is not None
    assert (found.status, found.answer) == ("delivered", 201)


def test_a_late_result_counts_where_nobody_else_has_begun(store: SqliteDeliveryStore, clock: Clock) -> None:
    added = add(store)
    [late] = store.claim(10, 1)
    clock.now += 100
    store.delivered(late, 200)
    found = store.find(added.id)
    assert found is not None
    assert found.status == "delivered"


def test_a_replay_during_an_attempt_waits_for_its_lease_and_outlives_its_result(
    store: SqliteDeliveryStore, clock: Clock
) -> None:
    added = add(store)
    [claimed] = store.claim(10, 1)
    store.replay(added.id)
    assert store.claim(10, 1) == []
    store.failed(claimed, "the last of many", None, None)
    clock.now += 10
    assert ids(store.claim(10, 1)) == [added.id]


def test_the_list_is_newest_first_by_status_and_by_pages(store: SqliteDeliveryStore) -> None:
    added = [add(store, f"https://{number}.example/", payload=b"{}" * 100) for number in range(5)]
    newest_first = ids(added)[::-1]
    assert ids(store.list()) == newest_first
    assert ids(store.list(limit=2)) == newest_first[:2]
    assert ids(store.list(limit=2, before=newest_first[1])) == newest_first[2:4]
    [claimed] = store.claim(10, 1)
    store.delivered(claimed, 200)
    assert ids(store.list(status="delivered")) == [claimed.id]
    assert claimed.id not in ids(store.list(status="pending"))
    assert {delivery.payload for delivery in store.list()} == {b""}


def test_only_what_is_over_is_forgotten(store: SqliteDeliveryStore, clock: Clock) -> None:
    over, waiting = add(store, A), add(store, B)
    for delivery in store.claim(10, 2):
        if delivery.id == over.id:
            store.delivered(delivery, 200)
    assert store.forget(clock.now - 100) == 0
    assert store.forget(clock.now + 100) == 1
    assert ids(store.list()) == [waiting.id]


def test_with_a_job_goes_all_that_is_told_about_it(store: SqliteDeliveryStore) -> None:
    add(store, A, job_id="j1")
    kept = add(store, B, job_id="j2")
    assert store._database.write(lambda connection: forget_job(connection, "j1")) == 1
    assert ids(store.list()) == [kept.id]


def test_any_text_can_be_added_for_nothing_may_fail_a_jobs_end(store: SqliteDeliveryStore) -> None:
    for url in ("", "http://[", "nonsense"):
        add(store, url)
    assert len(store.claim(10, 5)) == 3


def test_a_hundred_thousand_that_wait_are_not_looked_at_one_by_one(store: SqliteDeliveryStore) -> None:
    def fill(connection: sqlite3.Connection) -> None:
        connection.execute(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) "
            "INSERT INTO deliveries (id, url, receiver, event, payload, status, attempts, due_at, created_at, "
            "updated_at) SELECT 'msg_' || i, 'u', 'host' || (i % 20), 'e', x'', 'pending', 0, i, i, i FROM n"
        )

    store._database.write(fill)

    def steps(work: Callable[[], object]) -> int:
        """Thousands of instructions of SQLite's machine: a measure that no busy machine changes."""
        count = 0

        def tick() -> int:
            nonlocal count
            count += 1
            return 0

        for connection in (store._database._reader.connection(), store._database._writer.connection()):
            connection.set_progress_handler(tick, 1000)
        work()
        return count

    assert steps(lambda: store.claim(10, 16)) < 20
    assert steps(store.next_due) < 5
    assert steps(store.list) < 20
    assert steps(lambda: store.list(status="given_up")) < 5
    assert steps(lambda: store.forget(1e12)) < 5
