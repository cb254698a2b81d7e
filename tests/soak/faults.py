"""What happens to a server now and then in its life, and must not add up."""

import socket
import struct
import time

import httpx2

from tests.chaos.clients import End, recording, samples_of
from tests.chaos.faults.engine import trouble
from tests.chaos.scene import Fault, Scene
from tests.chaos.server import DIRECT
from tests.http.wsclient import BINARY, TEXT, pcm, raw

RAISES_S = 1.0
HANGS_S = 2.0
STOPPED_S = 1.0
UNREAD_S = 3.0
SMALL_BUFFER = 4096

SETTINGS = """\
job_retention_secs = 60
webhook_max_wait_secs = 2
"""
"""Old results go, so that the disk has an end; a webhook arrives before its job is forgotten."""


def engine_raises(scene: Scene) -> None:
    """Every call of it, for a second at least and until somebody has been told."""
    before = scene.load.counted()[End.TOLD]
    with trouble(scene, "engine", "error", RAISES_S):
        scene.wait_until(lambda: scene.load.counted()[End.TOLD] > before, "somebody is told of an engine that fails")


def engine_hangs(scene: Scene) -> None:
    """Every call of it waits for two seconds."""
    with trouble(scene, "engine", "hang", HANGS_S):
        pass


def connections_are_cut(scene: Scene) -> None:
    """A request in its upload, one that waits for its answer, a stream of events and a session end by RST."""
    body = recording("request", 1)
    for path, sent in (("/v1/transcribe", len(body) // 2), ("/v1/transcribe", None), ("/v1/transcribe/stream", None)):
        with socket.create_connection(("127.0.0.1", scene.server.port)) as connection:
            connection.sendall(_head(path, len(body)) + body[:sent])
            time.sleep(scene.dice.uniform(0, 0.5))
            _reset(connection)
    with raw(scene.server.url) as client:
        client.send(TEXT, b'{"type":"configure","sample_rate":16000}')
        client.send(BINARY, pcm(samples_of("live", 0))[:64_000])
        time.sleep(scene.dice.uniform(0, 0.5))
        _reset(client.socket)
    scene.struck += 1


def nobody_reads(scene: Scene) -> None:
    """A stream of events and a session whose clients take nothing of what they are sent, and go after a while."""
    body = recording("sse", 1)
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
        connection.connect(("127.0.0.1", scene.server.port))
        connection.sendall(_head("/v1/transcribe/stream", len(body)) + body)
        with raw(scene.server.url, receive_buffer=SMALL_BUFFER) as client:
            client.send(TEXT, b'{"type":"configure","sample_rate":16000}')
            speech = pcm(samples_of("live", 1))
            for start in range(0, len(speech), 32_000):
                client.send(BINARY, speech[start : start + 32_000])
            time.sleep(UNREAD_S)
    scene.struck += 1


def settings_are_read_again(scene: Scene) -> None:
    """The file has another value, and SIGHUP comes."""
    idle_s, before = scene.dice.randrange(300, 1_000_000), scene.server.log.stat().st_size
    (scene.server.data / "molva.toml").write_text(SETTINGS + f"idle_timeout_secs = {idle_s}\n")
    scene.server.reload()

    def is_told() -> bool:
        with scene.server.log.open("rb") as log:
            log.seek(before)
            return f"-> {idle_s}".encode() in log.read()

    scene.wait_until(is_told, "the settings are read again")
    scene.struck += 1


def process_is_stopped(scene: Scene) -> None:
    """SIGSTOP, and SIGCONT after a second."""
    scene.server.freeze(STOPPED_S)
    scene.struck += 1


def model_is_unloaded(scene: Scene) -> None:
    """POST /model/unload; whoever asks next has it loaded."""
    with httpx2.Client(base_url=scene.server.url, **DIRECT, timeout=30) as client:
        client.post("/model/unload")
        scene.wait_until(lambda: client.get("/model/status").json()["state"] == "unloaded", "the model is unloaded")
        client.post("/model/load")
        scene.wait_until(lambda: client.get("/model/status").json()["state"] == "ready", "the model is loaded again")
    scene.struck += 1


FAULTS = (
    Fault("engine raises", "each call of it, for a second and until somebody is told", engine_raises),
    Fault("engine hangs", "each call of it waits for two seconds", engine_hangs),
    Fault("connections are cut", "by RST: an upload, two that wait for answers, a live session", connections_are_cut),
    Fault("nobody reads", "a stream of events and a live session, for three seconds", nobody_reads),
    Fault("settings are read again", "another value in the file, and SIGHUP", settings_are_read_again),
    Fault("process is stopped", "SIGSTOP, and SIGCONT after a second", process_is_stopped),
)
"""Under load."""

AT_REST = (
    Fault(
        "model is unloaded",
        "`/model/unload`, then `/model/load`, in the rests of the warm-up and the last one",
        model_is_unloaded,
    ),
)
"""Under load nobody lets go of it."""


def _head(path: str, length: int) -> bytes:
    return f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {length}\r\n\r\n".encode()


def _reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
