"""No descriptors are left for connections and files."""

import resource
import socket
import time
from contextlib import ExitStack
from pathlib import Path

from tests.chaos.faults.doors import serves, submit
from tests.chaos.scene import Fault, Scene

SPARE = (0, 1, 3, 6)
"""Descriptors beyond those in use: none for a connection, one for it but none for a file, and so on."""
EACH_LASTS_S = 2.5
ACCEPT_FAILS = "no new connection can be taken"
TOLD_EVERY_S = 10
MAX_CONNECTIONS = 64
IDLE = 4 * MAX_CONNECTIONS


def exhausted(scene: Scene) -> None:
    before = resource.prlimit(scene.server.pid, resource.RLIMIT_NOFILE)
    began, complained = time.monotonic(), _complaints(scene)
    for spare in SPARE:
        in_use = len(list(Path(f"/proc/{scene.server.pid}/fd").iterdir()))
        resource.prlimit(scene.server.pid, resource.RLIMIT_NOFILE, (in_use + spare, before[1]))
        scene.struck += 1
        time.sleep(EACH_LASTS_S)
    resource.prlimit(scene.server.pid, resource.RLIMIT_NOFILE, before)
    complaints, lasted_s = _complaints(scene) - complained, time.monotonic() - began
    scene.expect(complaints > 0, "the server has never lacked a descriptor")
    scene.expect(complaints <= 1 + lasted_s / TOLD_EVERY_S, f"the server has complained {complaints} times")
    serves(scene)
    scene.expect(submit(scene).status_code == 202, "a job is not accepted once there are descriptors again")


def flooded(scene: Scene) -> None:
    address = ("127.0.0.1", scene.server.port)
    with ExitStack() as connections:
        for _ in range(IDLE):
            connections.enter_context(socket.create_connection(address, timeout=10))
            time.sleep(0.01)
        scene.struck += 1
        held = len([name for name in Path(f"/proc/{scene.server.pid}/fd").iterdir() if _is_socket(name)])
        scene.expect(held > MAX_CONNECTIONS, f"only {held} sockets: nothing was flooded")
        scene.expect(held < IDLE, f"{held} sockets: all idle connections are held")
        serves(scene)
        scene.expect(submit(scene).status_code == 202, "a job is not accepted beside idle connections")


def _is_socket(descriptor: Path) -> bool:
    try:
        return str(descriptor.readlink()).startswith("socket:")
    except OSError:
        return False  # closed meanwhile


def _complaints(scene: Scene) -> int:
    return scene.server.log.read_text(errors="replace").count(ACCEPT_FAILS)


DESCRIPTORS = (
    Fault(
        "descriptors run out",
        "the limit of open files is lowered to what the server has open, or a few more",
        exhausted,
    ),
    Fault(
        "idle connections",
        f"{IDLE} connections that say nothing, where {MAX_CONNECTIONS} are allowed",
        flooded,
        flags=("--max-connections", str(MAX_CONNECTIONS)),
    ),
)
