"""Webhooks of jobs from the real process: what comes, from whom, and again until it has come."""

import base64
import os
import socket
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from standardwebhooks import Webhook

from tests.e2e.conftest import Process, molva_serve, run_molva
from tests.e2e.jobs import LOOPBACK, Door, door, flags, heard, long_speech
from tests.outbound.receiver import Heard, answer, receiver, until

SECRET = "whsec_" + base64.b64encode(os.urandom(32)).decode()
SOON = ("--webhook-first-wait-secs", "0.1", "--webhook-max-wait-secs", "0.2")


INSIDE = "intranet.example"
"""A public name whose address is not."""
RESOLVER = f"""
import socket
really = socket.getaddrinfo
socket.getaddrinfo = lambda host, *more, **named: really("127.0.0.1" if host == "{INSIDE}" else host, *more, **named)
"""


def verified(request: Heard) -> object:
    """What a receiver reads that takes nothing but what its server has signed."""
    return Webhook(SECRET).verify(request.body, request.headers)


def deliveries(home: Path, *more: str) -> list[str]:
    """Rows of `molva webhooks list`."""
    listed = run_molva("webhooks", "list", *more, home=home)
    assert listed.returncode == 0, listed.stderr
    return listed.stdout.decode().splitlines()[1:]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def ends(house: Door, hook: str) -> list[str]:
    """Three jobs, ended in each of the ways."""
    jobs = [house.accepted(webhook_url=hook), house.accepted(b"no audio", webhook_url=hook)]
    for job_id in jobs:
        house.wait_for_job(job_id)
    jobs.append(house.accepted(long_speech(), webhook_url=hook))
    assert house.client.delete(f"/jobs/{jobs[-1]}").status_code == 200
    return jobs


@pytest.mark.slow
def test_each_end_is_told_signed_and_as_the_job_reads(tiny_dir: Path, tmp_path: Path) -> None:
    with (
        receiver(answer()) as hooks,
        molva_serve(*flags(tiny_dir, *LOOPBACK), home=tmp_path, MOLVA_WEBHOOK_SECRET=SECRET) as process,
        door(process) as house,
    ):
        jobs = ends(house, hooks.url)
        until(lambda: len(hooks.heard) == 3)
        assert [verified(request) for request in hooks.heard] == [house.job(job_id) for job_id in jobs]
        assert [message["status"] for message in heard(hooks)] == ["done", "failed", "cancelled"]


@pytest.mark.slow
def test_a_receiver_that_was_down_gets_it_after_a_restart_and_again_when_replayed(
    tiny_dir: Path, tmp_path: Path
) -> None:
    def serve() -> AbstractContextManager[Process]:
        return molva_serve(*flags(tiny_dir, *LOOPBACK, *SOON), home=tmp_path, MOLVA_WEBHOOK_SECRET=SECRET)

    port = free_port()
    with serve() as process, door(process) as house:
        job_id = house.accepted(webhook_url=f"http://127.0.0.1:{port}/hook")
        house.wait_for_job(job_id)
        wait_for_failure(process)
        [row] = deliveries(tmp_path, "--status", "pending")
        assert job_id in row
        assert process.stop() == 0
    with serve() as process, door(process) as house, receiver(answer(), port=port) as hooks:
        until(lambda: len(hooks.heard) == 1)
        assert verified(hooks.heard[0]) == house.job(job_id)
        message_id = hooks.heard[0].headers["webhook-id"]
        until(lambda: "delivered to" in "".join(process.errors))
        assert message_id in deliveries(tmp_path, "--status", "delivered")[0]
        assert run_molva("webhooks", "replay", message_id, home=tmp_path).returncode == 0
        until(lambda: len(hooks.heard) == 2)
        assert hooks.heard[1].headers["webhook-id"] == message_id
        assert hooks.heard[1].body == hooks.heard[0].body
        verified(hooks.heard[1])


def wait_for_failure(process: Process) -> None:
    until(lambda: "; again in" in "".join(process.errors))


@pytest.mark.slow
def test_nothing_is_told_to_the_servers_own_network(tiny_dir: Path, tmp_path: Path) -> None:
    """An address is refused at once; a name is found out when it is connected to."""
    (tmp_path / "sitecustomize.py").write_text(RESOLVER)
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    with (
        receiver(answer()) as hooks,
        molva_serve(*flags(tiny_dir, *SOON, "--webhook-attempts", "2"), home=tmp_path, PYTHONPATH=path) as process,
        door(process) as house,
    ):
        refusal = house.submit(webhook_url=hooks.url)
        assert (refusal.status_code, refusal.json()["code"]) == (400, "address_refused")
        job_id = house.accepted(webhook_url=f"http://{INSIDE}:{hooks.port}/hook")
        until(lambda: "given up" in "".join(process.errors), 60)
        assert house.job(job_id)["status"] == "done"
        [row] = deliveries(tmp_path, "--status", "given_up")
        assert job_id in row
        assert f"may not connect to {INSIDE}" in row
        assert hooks.connections == 0
