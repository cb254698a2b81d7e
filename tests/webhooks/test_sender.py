"""Webhooks on real sockets, to receivers that behave well, badly, or not at all."""

import base64
import contextlib
import json
import logging
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

from molva.database import Database
from molva.errors import StoreError, StoreFull
from molva.outbound.policy import AddressPolicy
from molva.outbound.post import post
from molva.webhooks.delivery import Delivery
from molva.webhooks.schedule import Schedule
from molva.webhooks.sender import LEASE_MARGIN_S, WebhookSender
from molva.webhooks.signing import parse_secret
from molva.webhooks.sqlite import TABLES, SqliteDeliveryStore
from tests.outbound.receiver import Receiver, Script, answer, close_early, drip, flood, hang, receiver, until

HOME = AddressPolicy(allowed=(ip_network("127.0.0.1/32"),))
TWICE = Schedule(attempts=2, first_wait_s=0.05)
OFTEN = Schedule(attempts=1000, first_wait_s=0.05, longest_wait_s=0.05)
SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteDeliveryStore]:
    database = Database(tmp_path / "molva.db", [TABLES])
    yield SqliteDeliveryStore(database)
    database.close()


Start = Callable[..., WebhookSender]


@pytest.fixture
def start(store: SqliteDeliveryStore) -> Iterator[Start]:
    senders = []

    def start(
        schedule: Schedule = TWICE,
        *,
        over: SqliteDeliveryStore = store,
        timeout_s: float = 5.0,
        keys: Sequence[bytes] = (),
    ) -> WebhookSender:
        sender = WebhookSender(over, HOME, keys=keys, schedule=schedule, timeout_s=timeout_s, agent="molva/1")
        sender.start()
        senders.append(sender)
        return sender

    yield start
    for sender in senders:
        sender.close(20)


def add(store: SqliteDeliveryStore, url: str, payload: bytes = b'{"status":"done"}') -> Delivery:
    return store.add(url, "job.done", payload, "j1")


def wait_for(store: SqliteDeliveryStore, delivery: Delivery, status: str) -> Delivery:
    found: list[Delivery | None] = []

    def concluded() -> bool:
        found[:] = [store.find(delivery.id)]
        return found[0] is not None and found[0].status == status

    until(concluded)
    assert found[0] is not None
    return found[0]


def test_what_arrives_is_what_the_receivers_library_accepts(store: SqliteDeliveryStore, start: Start) -> None:
    payload = json.dumps({"id": "1", "text": "Привет"}, ensure_ascii=False).encode()
    with receiver(answer(204, b"")) as there:
        sent = add(store, there.url, payload)
        sender = start(keys=[parse_secret(SECRET)])
        delivered = wait_for(store, sent, "delivered")
        [heard] = there.heard
    assert heard.body == payload
    assert Webhook(SECRET).verify(heard.body, heard.headers) == {"id": "1", "text": "Привет"}
    assert heard.headers["content-type"] == "application/json"
    assert heard.headers["user-agent"] == "molva/1"
    assert heard.headers["webhook-id"] == sent.id
    assert (delivered.attempts, delivered.answer, delivered.problem) == (1, 204, None)
    until(lambda: sender.counts == {"delivered": 1})


def test_another_secret_and_schedule_hold_for_the_next_attempt(store: SqliteDeliveryStore, start: Start) -> None:
    with receiver(answer(500)) as there:
        sender = start(TWICE)
        sender.change([parse_secret(SECRET)], Schedule(1, 1, 1))
        given_up = wait_for(store, add(store, there.url), "given_up")
        [heard] = there.heard
    assert Webhook(SECRET).verify(heard.body, heard.headers)
    assert given_up.attempts == 1


def test_without_a_secret_nothing_is_signed(store: SqliteDeliveryStore, start: Start) -> None:
    with receiver(answer()) as there:
        sent = add(store, there.url)
        start()
        wait_for(store, sent, "delivered")
    assert "webhook-signature" not in there.heard[0].headers
    assert there.heard[0].headers["webhook-id"] == sent.id


def test_what_is_added_later_is_sent_when_the_sender_is_woken(store: SqliteDeliveryStore, start: Start) -> None:
    with receiver(answer()) as there:
        sender = start()
        sent = add(store, there.url)
        sender.wake()
        wait_for(store, sent, "delivered")


def test_what_another_process_adds_is_seen(store: SqliteDeliveryStore, start: Start, tmp_path: Path) -> None:
    with receiver(answer()) as there:
        start()
        other = Database(tmp_path / "molva.db", [TABLES])
        sent = add(SqliteDeliveryStore(other), there.url)
        other.close()
        wait_for(store, sent, "delivered")


@pytest.mark.parametrize(
    ("script", "status", "problem"),
    [
        (answer(500), 500, "it answered 500"),
        (answer(404), 404, "it answered 404"),
        (hang, None, "it did not answer in time"),
        (drip(b"HTTP/1.1 200 OK\r\nX: "), None, "it did not answer in time"),
        (close_early, None, "it closed the connection too early, or does not speak HTTP"),
    ],
)
def test_a_receiver_that_keeps_failing_is_given_up_after_its_attempts(
    store: SqliteDeliveryStore, start: Start, script: Script, status: int | None, problem: str
) -> None:
    with receiver(script) as there:
        sent = add(store, there.url)
        sender = start(timeout_s=0.3)
        given_up = wait_for(store, sent, "given_up")
        assert (given_up.attempts, given_up.answer, given_up.problem) == (2, status, problem)
        assert there.connections == 2
    until(lambda: sender.counts == {"failed": 1, "given_up": 1})


@pytest.mark.parametrize("script", [flood, drip(b"HTTP/1.1 200 OK\r\n\r\n")])
def test_a_success_counts_however_long_its_body(store: SqliteDeliveryStore, start: Start, script: Script) -> None:
    with receiver(script) as there:
        sent = add(store, there.url)
        start()
        assert wait_for(store, sent, "delivered").attempts == 1


def test_a_redirect_to_a_private_address_is_never_followed(store: SqliteDeliveryStore, start: Start) -> None:
    with (
        receiver(answer()) as inside,
        receiver(answer(302, Location=f"http://127.0.0.1:{inside.port}/secret?token=1")) as there,
    ):
        sent = add(store, there.url)
        start()
        problem = wait_for(store, sent, "given_up").problem
        assert inside.connections == 0
    assert problem == "it redirects to 127.0.0.1 (302), and webhooks follow no redirects"


def test_a_private_address_is_never_connected_to(store: SqliteDeliveryStore) -> None:
    with receiver(answer()) as inside:
        sent = add(store, inside.url)
        sender = WebhookSender(store, AddressPolicy(), schedule=TWICE)
        sender.start()
        given_up = wait_for(store, sent, "given_up")
        sender.close(5)
        assert inside.connections == 0
    assert "no public address" in (given_up.problem or "")


def test_a_certificate_that_nobody_vouches_for_is_a_failure(store: SqliteDeliveryStore, start: Start) -> None:
    with receiver(answer(), tls=True) as there:
        sent = add(store, f"https://127.0.0.1:{there.port}/")
        start()
        problem = wait_for(store, sent, "given_up").problem or ""
        assert there.heard == []
    assert problem.startswith("its TLS certificate is not valid")


def test_a_receiver_that_comes_back_gets_it_with_the_same_id_and_bytes(
    store: SqliteDeliveryStore, start: Start
) -> None:
    with receiver(close_early) as down:
        sent = add(store, down.url)
        start(OFTEN)
        until(lambda: (store.find(sent.id) or sent).attempts >= 1)
    attempts = (store.find(sent.id) or sent).attempts
    until(lambda: (store.find(sent.id) or sent).attempts > attempts)
    with receiver(answer(), port=down.port) as back:
        wait_for(store, sent, "delivered")
        [heard] = back.heard
    assert (heard.headers["webhook-id"], heard.body) == (sent.id, sent.payload)


def test_waits_between_attempts_are_those_of_the_schedule(store: SqliteDeliveryStore, start: Start) -> None:
    with receiver(answer(500)) as there:
        sent = add(store, there.url)
        start(Schedule(attempts=3, first_wait_s=0.2))
        wait_for(store, sent, "given_up")
        first, second, third = (heard.at for heard in there.heard)
    assert second - first >= 0.2
    assert third - second >= 0.4


def test_a_receiver_that_asks_for_patience_gets_it(store: SqliteDeliveryStore, start: Start) -> None:
    for status, asked in ((503, True), (429, True), (500, False)):
        with receiver(answer(status, Retry_After="3600")) as there:
            sent = add(store, there.url)
            sender = start()
            until(lambda sent=sent: (store.find(sent.id) or sent).attempts >= 1)  # type: ignore[misc]
            sender.close(5)
            found = store.find(sent.id)
        assert found is not None
        assert (found.due_at - found.updated_at > 3000) == asked


def test_a_receiver_that_is_gone_is_not_asked_again(store: SqliteDeliveryStore, start: Start) -> None:
    with receiver(answer(410)) as there:
        sent = add(store, there.url)
        start(OFTEN)
        given_up = wait_for(store, sent, "given_up")
        assert there.connections == 1
    assert (given_up.attempts, given_up.problem) == (1, "it wants no more of these (410)")


def test_receivers_that_hang_hold_nobody_else_up(store: SqliteDeliveryStore, start: Start) -> None:
    with contextlib.ExitStack() as stack:
        hanging = [stack.enter_context(receiver(hang)) for _ in range(5)]
        well = stack.enter_context(receiver(answer()))
        held = [add(store, there.url) for there in hanging for _ in range(20)]
        sent = [add(store, f"{well.url}?{number}") for number in range(20)]
        sender = start(timeout_s=60)
        for delivery in sent:
            wait_for(store, delivery, "delivered")
        assert {there.connections for there in hanging} == {1}
        assert [heard.line.split()[1] for heard in well.heard] == [f"/hook?{number}" for number in range(20)]
        assert sender.counts == {"delivered": 20}
        sender.close(0.1)
    assert all((store.find(delivery.id) or delivery).status == "pending" for delivery in held)


def test_a_replay_is_sent_again_under_its_id(store: SqliteDeliveryStore, start: Start) -> None:
    with receiver(answer()) as there:
        sent = add(store, there.url)
        start()
        wait_for(store, sent, "delivered")
        store.replay(sent.id)
        until(lambda: len(there.heard) == 2)
    assert {heard.headers["webhook-id"] for heard in there.heard} == {sent.id}


def test_closing_begins_nothing_and_lets_what_is_in_hand_finish(store: SqliteDeliveryStore, start: Start) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slowly(stream: socket.socket, there: Receiver) -> None:
        begun.set()
        go_on.wait()
        answer()(stream, there)

    with receiver(slowly) as there:
        first, second = add(store, there.url), add(store, there.url)
        sender = start(timeout_s=30)
        begun.wait()
        threading.Timer(0.2, go_on.set).start()
        sender.close(20)
        assert there.connections == 1
    assert [(store.find(delivery.id) or delivery).status for delivery in (first, second)] == ["delivered", "pending"]


def test_closing_does_not_wait_for_those_that_hang(store: SqliteDeliveryStore, start: Start) -> None:
    with receiver(hang) as there:
        sent = add(store, there.url)
        sender = start(timeout_s=60)
        until(lambda: there.connections == 1)
        sender.close(0.1)
        assert (store.find(sent.id) or sent).status == "pending"


def test_a_sender_that_was_never_started_closes() -> None:
    WebhookSender(SqliteDeliveryStore.__new__(SqliteDeliveryStore), HOME).close(0)


class Failing(SqliteDeliveryStore):
    """A store whose next calls fail, as many as are listed."""

    def __init__(self, store: SqliteDeliveryStore) -> None:
        super().__init__(store._database)
        self.claims: list[Exception] = []
        self.results: list[Exception] = []

    def claim(self, lease_s: float, limit: int) -> list[Delivery]:
        if self.claims:
            raise self.claims.pop()
        return super().claim(lease_s, limit)

    def delivered(self, delivery: Delivery, answer: int) -> None:
        if self.results:
            raise self.results.pop()
        super().delivered(delivery, answer)


@pytest.mark.parametrize("error", [StoreError(), StoreFull()])
def test_a_store_that_fails_for_a_while_is_asked_again(
    store: SqliteDeliveryStore, start: Start, error: Exception
) -> None:
    failing = Failing(store)
    failing.claims, failing.results = [error], [error]
    with receiver(answer()) as there:
        sent = add(store, there.url)
        start(over=failing)
        wait_for(store, sent, "delivered")
        assert there.connections == 1


@pytest.mark.parametrize("raised", [RuntimeError, SystemExit])
def test_a_mistake_of_ours_counts_as_an_attempt_and_stops_nothing(
    store: SqliteDeliveryStore, start: Start, monkeypatch: pytest.MonkeyPatch, raised: type[BaseException]
) -> None:
    def mistaken(url: str, *args: Any, **kwargs: Any) -> Any:
        if "mistake" in url:
            raise raised("on purpose")
        return post(url, *args, **kwargs)

    monkeypatch.setattr("molva.webhooks.sender.post", mistaken)
    with receiver(answer()) as there:
        lost, sent = add(store, "http://127.0.0.1:1/mistake"), add(store, there.url)
        start()
        assert wait_for(store, lost, "given_up").problem == "molva failed to send it; its log says more"
        wait_for(store, sent, "delivered")


def test_the_thread_that_begins_attempts_outlives_what_would_end_it(
    store: SqliteDeliveryStore, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim, raised = store.claim, [SystemExit]

    def once_broken(lease_s: float, limit: int) -> Sequence[Delivery]:
        if raised:
            raise raised.pop()
        return claim(lease_s, limit)

    monkeypatch.setattr(store, "claim", once_broken)
    with receiver(answer()) as there:
        sent = add(store, there.url)
        start()
        wait_for(store, sent, "delivered")
    assert not raised


def test_logs_hold_no_payload_and_no_query(
    store: SqliteDeliveryStore, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="molva")
    with receiver(answer(500)) as bad, receiver(answer()) as well:
        sent = [add(store, f"{there.url}?token=hidden", b'{"text":"hidden"}') for there in (bad, well)]
        start()
        wait_for(store, sent[0], "given_up")
        wait_for(store, sent[1], "delivered")
        until(lambda: caplog.text.count("webhook msg_") == 3)
    assert "hidden" not in caplog.text
    assert sent[0].id in caplog.text


KILLED = """
import sys
from ipaddress import ip_network
from pathlib import Path
from molva.database import Database
from molva.outbound.policy import AddressPolicy
from molva.webhooks.sender import WebhookSender
from molva.webhooks.sqlite import TABLES, SqliteDeliveryStore

store = SqliteDeliveryStore(Database(Path(sys.argv[1]), [TABLES]))
store.add(sys.argv[2], "job.done", b'{"exactly": "this"}', "j1")
WebhookSender(store, AddressPolicy(allowed=(ip_network("127.0.0.1/32"),)), timeout_s=60).start()
sys.stdin.read()
"""


def test_what_a_killed_process_had_in_hand_is_delivered_by_the_next(tmp_path: Path) -> None:
    path = tmp_path / "molva.db"
    with receiver(hang) as there:
        with subprocess.Popen([sys.executable, "-c", KILLED, path, there.url], stdin=subprocess.PIPE) as process:
            until(lambda: len(there.heard) == 1)
            process.kill()
        there.script = answer()
        database = Database(path, [TABLES])
        # Its lease is over.
        store = SqliteDeliveryStore(database, clock=lambda: time.time() + 60 + LEASE_MARGIN_S)
        sender = WebhookSender(store, HOME, schedule=TWICE)
        sender.start()
        [sent] = store.list()
        wait_for(store, sent, "delivered")
        sender.close(5)
        database.close()
        first, second = there.heard
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == sent.id
    assert first.body == second.body == b'{"exactly": "this"}'
