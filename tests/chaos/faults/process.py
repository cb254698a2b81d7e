"""A process that dies, stops, sleeps, is told to read its settings again, or has a neighbour."""

import os
import random
import re
import signal
import threading
import time
from collections.abc import Callable

import httpx2

from tests.chaos.clients import End
from tests.chaos.load import Submitter
from tests.chaos.scene import Fault, Scene
from tests.chaos.server import DIRECT, Server

LIFE_S = 3.0
"""The longest that a server lives before it is killed."""
FROZEN_S = 30.0
RELOADS = 100
STARTS = 5
STOPS = 3


def killed(times: int) -> Callable[[Scene], None]:
    """Killed so often, and started each time."""

    def do(scene: Scene) -> None:
        for _ in range(times):
            time.sleep(scene.dice.uniform(0, LIFE_S))
            kill(scene)
            scene.server.wait_until_ready()

    return do


def kill(scene: Scene) -> None:
    """And start it, without waiting for it to be ready."""
    scene.server.kill()
    scene.struck += 1
    scene.server.start()


def killed_at_start(scene: Scene) -> None:
    began = time.monotonic()
    kill(scene)
    scene.server.wait_until_ready()
    takes_s = time.monotonic() - began
    for _ in range(STARTS):
        kill(scene)
        time.sleep(scene.dice.uniform(0, takes_s))
    kill(scene)


def stopped(scene: Scene) -> None:
    for _ in range(STOPS):
        time.sleep(scene.dice.uniform(0, LIFE_S))
        status = scene.server.stop()
        scene.expect(status == 0, f"it ended with {status}")
        scene.struck += 1
        scene.server.start()
        scene.server.wait_until_ready()
    time.sleep(LIFE_S)  # for those who are still on their way to be accounted for
    # Whoever came when the port was closed was let in by nobody; of all others there is a line in the log.
    let_in = set(re.findall(r"request_id=(\S+)", scene.server.log.read_text(errors="replace")))
    for each in list(scene.load.accounts):
        scene.expect(each.end != End.CUT or each.request_id not in let_in, f"cut: {each.door}: {each.detail}")


def reloaded(scene: Scene) -> None:
    """Files that are right, wrong and missing take turns."""
    file = scene.server.data / "molva.toml"
    read = 0
    for number in range(RELOADS):
        draft = file.with_suffix(".draft")
        settings = {"max_waiting": scene.dice.randrange(64, 128), "job_keep_audio": "false", "max_connections": 1000}
        broken = {7: "= no TOML", 8: 'max_waiting = "many"'}.get(number % 10)
        draft.write_text(broken or "\n".join(f"{name} = {value}" for name, value in settings.items()))
        draft.replace(file)
        if number % 10 == 9:
            file.unlink()
        os.kill(scene.server.pid, signal.SIGHUP)
        scene.struck += 1
        time.sleep(scene.dice.uniform(0, 0.1))
    file.write_text("max_waiting = 77\n")
    os.kill(scene.server.pid, signal.SIGHUP)
    scene.wait_until(lambda: "-> 77" in scene.server.log.read_text(errors="replace"), "the last settings are read")
    log = scene.server.log.read_text(errors="replace")
    read = log.count("molva.toml again")
    scene.expect(read > RELOADS // 10, f"the file was read {read} times only")
    scene.expect("nothing is changed" in log, "a wrong file was not complained of")
    file.unlink()


def frozen(scene: Scene) -> None:
    began = time.monotonic()
    os.kill(scene.server.pid, signal.SIGSTOP)
    scene.struck += 1
    try:
        httpx2.get(f"{scene.server.url}/health", timeout=2, **DIRECT)
        scene.notes.append("it answered while it was stopped")
    except httpx2.TimeoutException:
        pass
    time.sleep(began + FROZEN_S - time.monotonic())
    os.kill(scene.server.pid, signal.SIGCONT)


def neighbour_killed(scene: Scene) -> None:
    """Another server on the same data is killed while it runs a job, twice; the others go on."""
    ours = scene.server
    other = Server(ours.home / "other", ours.model_dir, (*ours.flags, "--data-dir", str(ours.data)))
    other.start()
    other.wait_until_ready()
    submitter = Submitter(other, scene.receiver.url, random.Random(scene.dice.random()))
    stop = threading.Event()

    def submit() -> None:
        while not stop.is_set():
            submitter.once(stop)
            stop.wait(0.2)

    client = threading.Thread(target=submit, daemon=True)
    client.start()
    try:
        for _ in range(2):
            known = taken_up(other)
            scene.wait_until(lambda known=known: taken_up(other) > known, "the neighbour takes up a job")  # type: ignore[misc]
            other.kill()
            scene.struck += 1
            other.start()
            other.wait_until_ready()
    finally:
        stop.set()
        client.join()
        status = other.stop()
        scene.expect(status == 0, f"the neighbour ended with {status}")
    scene.load.submitter.jobs.update(submitter.jobs)  # they are collected through the one that is left
    scene.load.submitter.accounts += submitter.accounts


def taken_up(server: Server) -> int:
    """How many jobs a server has begun."""
    return server.log.read_text(errors="replace").count(" is taken up")


PROCESS = (
    Fault("killed", "`kill -9` at a random moment, three times", killed(3), short=True, cuts=True, threads_stay=False),
    Fault("killed often", "the same fifteen times", killed(15), cuts=True, threads_stay=False),
    Fault(
        "killed while it starts", "`kill -9` on its way up, again and again", killed_at_start, cuts=True,
        threads_stay=False,
    ),
    Fault(
        "stopped", "SIGTERM under load and a start, three times; who was let in is answered or told", stopped,
        cuts=True, threads_stay=False,
    ),
    Fault("reloaded", "a hundred SIGHUPs over files that are right, wrong and missing", reloaded),
    Fault("frozen", "SIGSTOP for 30 seconds", frozen),
    Fault("neighbour killed", "of two servers on one data folder one is killed at a job, twice", neighbour_killed),
)  # fmt: skip
