"""Clients whose network goes away, who are slow, do not listen, hang up, or speak another language."""

import contextlib
import ctypes
import json
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.clients import recording, samples_of
from tests.chaos.scene import Fault, LeftOut, Scene
from tests.chaos.server import Server
from tests.http.wsclient import BINARY, HANDSHAKE, TEXT, frame, pcm

HASTY = ("--body-timeout-secs", "5", "--header-timeout-secs", "5")
"""A peer that owes something is given up soon."""
SO_ATTACH_FILTER = 26
"""Of Linux, which Python's socket module does not name."""
DROP_ALL = struct.pack("HBBI", 6, 0, 0, 0)
"""A classic BPF program: return 0."""
GIVEN_UP_S = 60.0
PATIENCE_S = 30.0
SMALL_BUFFER = 4096
SLOW_S = 12.0
EACH_SLOW = 10
HANG_UPS = 200
GARBAGES = 54
HEARD_S = 3.0
CLOSE = b"\x88"
"""How a Close frame begins."""
FLOOD = 100_000
"""Messages that a client sends whose answers it does not read."""

LIVE = HANDSHAKE.replace(b"Host: x", b"Host: 127.0.0.1")
REALTIME = LIVE.replace(b"/v1/ws", b"/v1/realtime?intent=transcription")


def post(path: str, body: bytes, kind: str = "application/octet-stream") -> bytes:
    """A whole request."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def form(path: str, name: str) -> bytes:
    """A whole request with a recording in a form."""
    head = f'--x\r\nContent-Disposition: form-data; name="{name}"; filename="speech.wav"\r\n\r\n'
    return post(path, head.encode() + recording("job", 0) + b"\r\n--x--\r\n", "multipart/form-data; boundary=x")


def session() -> bytes:
    """What a client of the live door sends, without its end."""
    audio = pcm(samples_of("live", 0))
    told = frame(TEXT, json.dumps({"type": "configure", "sample_rate": 16_000}).encode())
    return LIVE + told + b"".join(frame(BINARY, audio[at : at + 32_000]) for at in range(0, len(audio), 32_000))


def get(path: str) -> bytes:
    """A whole request."""
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()


def connect(server: Server, receive_buffer: int | None = None) -> socket.socket:
    """A bare connection."""
    connection = socket.socket()
    if receive_buffer is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.settimeout(PATIENCE_S)
    connection.connect(("127.0.0.1", server.port))
    return connection


def begin(connection: socket.socket, sent: bytes) -> None:
    """Send all of it; of a WebSocket, once the server has accepted that. Raises AssertionError where it does not."""
    for handshake in (LIVE, REALTIME):
        if sent.startswith(handshake):
            connection.sendall(handshake)
            assert connection.recv(12) == b"HTTP/1.1 101"
            sent = sent.removeprefix(handshake)
    connection.sendall(sent)


def vanish(connection: socket.socket) -> None:
    """Have the system drop whatever comes for a socket: no acknowledgement, no reset, no FIN, as behind a cut cable.

    Raises LeftOut where this process may not.
    """
    program = ctypes.create_string_buffer(DROP_ALL)
    try:
        connection.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HP", 1, ctypes.addressof(program)))
    except OSError as error:
        raise LeftOut(f"the system lets no socket be deafened ({error.strerror})") from error


def held(server: Server, ports: Iterable[int]) -> set[int]:
    """Those of some clients, by their ports, to whom the server's process has a connection still."""
    ours = set(ports)
    found = set()
    for line in Path(f"/proc/{server.pid}/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, *_, inode = line.split()[:10]
        port = int(remote.partition(":")[2], 16)
        if int(local.partition(":")[2], 16) == server.port and port in ours and inode != "0":
            found.add(port)
    return found


def vanished(scene: Scene) -> None:
    """Of each kind one that has something under way, and live ones that are silent."""
    kinds = {
        "live": session(),
        "silent": LIVE,
        "realtime": REALTIME,
        "uploads": post("/v1/transcribe", recording("request", 1))[:-1000],
        "uploads a form": form("/v1/audio/transcriptions", "file")[:-1000],
        "submits a job": form("/jobs", "audio")[:-1000],
        "waits for the answer": post("/v1/transcribe", recording("request", 1)),
        "reads a stream": post("/v1/transcribe/stream", recording("request", 1)),
        "reads events": get("/model/events"),
    }
    with ExitStack() as stack:
        ports = {}
        for kind, sent in kinds.items():
            connection = stack.enter_context(closing(connect(scene.server)))
            begin(connection, sent)
            if kind == "reads events":
                assert connection.recv(12) == b"HTTP/1.1 200"
            ports[connection.getsockname()[1]] = kind
            vanish(connection)
            scene.struck += 1
        scene.expect(len(held(scene.server, ports)) > len(kinds) // 2, "they were gone before they vanished")
        scene.wait_until(lambda: not held(scene.server, ports), "peers that vanished are given up", GIVEN_UP_S)
        still = [ports[port] for port in held(scene.server, ports)]
        scene.expect(not still, f"still connected: {', '.join(still)}")


@dataclass
class Dripping:
    """A client that sends little by little."""

    connection: socket.socket
    sent: bytes
    at: int

    def drip(self) -> None:
        """Send a byte."""
        with contextlib.suppress(OSError):  # it was told to go
            self.connection.sendall(self.sent[self.at : self.at + 1])
        self.at += 1


def slow(scene: Scene) -> None:
    """Heads are told to hurry, bodies and sessions may take their time."""
    upload = post("/v1/transcribe", recording("request", 0))
    starts = {
        "head": (get("/v1/models"), 0),
        "handshake": (LIVE, 0),
        "body": (upload, upload.index(b"\r\n\r\n") + 4),
        "session": (session(), len(LIVE)),
    }
    with ExitStack() as stack:
        clients: list[tuple[str, Dripping]] = []
        for kind, (sent, at) in starts.items():
            for _ in range(EACH_SLOW):
                connection = stack.enter_context(closing(connect(scene.server)))
                begin(connection, sent[:at])
                clients.append((kind, Dripping(connection, sent, at)))
                scene.struck += 1
        ends = time.monotonic() + SLOW_S
        while time.monotonic() < ends:
            for _, client in clients:
                client.drip()
            time.sleep(1)
        for kind, client in clients:
            if kind in ("head", "handshake"):
                said = everything(client.connection)
                scene.expect(said.startswith(b"HTTP/1.1 408"), f"a dripping {kind} was told {said[:80]!r}")
            else:
                port = client.connection.getsockname()[1]
                scene.expect(bool(held(scene.server, [port])), f"a {kind} that goes on was ended")


def everything(connection: socket.socket) -> bytes:
    """All that comes until the server closes or nothing more does, or for some time: sessions ping for ever."""
    came, deadline = b"", time.monotonic() + HEARD_S
    connection.settimeout(HEARD_S)
    try:
        while time.monotonic() < deadline and (data := connection.recv(65536)):
            came += data
    except OSError:
        pass
    return came


def never_reading(scene: Scene) -> None:
    """They ask for far more than lies between a server and a client, and take none of it."""
    many = {
        "pages": get("/openapi.json") * 400,
        "complaints of Realtime": REALTIME + frame(TEXT, b'{"type":"no such"}') * FLOOD,
        "pongs": LIVE + frame(9, b"x" * 100) * FLOOD,
    }
    few = {"a stream": post("/v1/transcribe/stream", recording("job", 1)), "a session": session()}
    with ExitStack() as stack:
        ports = {}
        clients = []
        for kind, sent in {**many, **few}.items():
            connection = stack.enter_context(closing(connect(scene.server, SMALL_BUFFER)))
            at = sent.find(b"\r\n\r\n") + 4
            begin(connection, sent[:at])
            connection.setblocking(False)
            clients.append(Dripping(connection, sent, at))
            ports[connection.getsockname()[1]] = kind
            scene.struck += 1

        def push() -> bool:
            """Whether all that must be given up are. As much is sent meanwhile as the server takes."""
            for client in clients:
                with contextlib.suppress(OSError):
                    client.at += client.connection.send(client.sent[client.at : client.at + 65536])
            return not {ports[port] for port in held(scene.server, ports)} & many.keys() - {"pongs"}

        scene.wait_until(push, "those who read nothing are given up", GIVEN_UP_S)
        still = {ports[port] for port in held(scene.server, ports)} & many.keys() - {"pongs"}
        scene.expect(not still, f"still connected: {', '.join(still)}")


def hanging_up(scene: Scene) -> None:
    """At any byte of any request, with a reset."""
    whole = [
        post("/v1/transcribe", recording("request", 0)),
        post("/v1/transcribe/stream", recording("request", 1)),
        form("/v1/audio/transcriptions", "file"),
        form("/jobs", "audio")[:-1],  # a job that nobody knows of would be one too many
        session(),
        REALTIME,
        get("/model/events"),
        get("/jobs"),
    ]
    for _ in range(HANG_UPS):
        sent = scene.dice.choice(whole)
        with closing(connect(scene.server)) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            with contextlib.suppress(OSError):  # it is refused, or read slowly
                connection.sendall(sent[: scene.dice.choice([len(sent), scene.dice.randrange(len(sent))])])
                if scene.dice.random() < 0.5:
                    connection.settimeout(scene.dice.uniform(0.001, 0.2))
                    connection.recv(scene.dice.choice([1, 100]))
        scene.struck += 1


def garbage(scene: Scene) -> None:
    """Each is told so in HTTP, by a Close frame, or just ended."""
    random = scene.dice.randbytes
    talks: list[Callable[[], bytes]] = [
        lambda: random(scene.dice.randrange(1, 20_000)) + b"\r\n\r\n",
        lambda: b"\0" * 20_000,
        lambda: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        lambda: b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        lambda: b"GET /\r\n\r\n",
        lambda: b"A" * 100_000,
        lambda: b"\x04\x01\x00\x50\x7f\x00\x00\x01\x00",  # SOCKS
        lambda: LIVE + b"\xff" + random(2000),
        lambda: LIVE + frame(BINARY, random(1000)) + b"\x83" + random(100),
    ]
    for number in range(GARBAGES):
        sent = talks[number % len(talks)]()
        with closing(connect(scene.server)) as connection:
            with contextlib.suppress(OSError):  # it has heard enough
                begin(connection, sent)
            said = everything(connection)
        in_http = not said or said.startswith((b"HTTP/1.1 4", b"HTTP/1.1 5"))
        told = CLOSE in said if sent.startswith(LIVE) else in_http
        scene.expect(told, f"garbage was answered with {said[:80]!r}")
        scene.struck += 1
    context = ssl.create_default_context()
    try:
        with context.wrap_socket(connect(scene.server), server_hostname="localhost"):
            scene.notes.append("it speaks TLS")
    except OSError:
        scene.struck += 1


NETWORK = (
    Fault("peers vanish", "no packet of them comes any more: at every door, busy and silent", vanished, flags=HASTY),
    Fault("slow clients", "a byte a second: heads, handshakes, bodies, sessions", slow, flags=HASTY),
    Fault("clients that never read", "answers, complaints and pongs that nobody takes", never_reading, flags=HASTY),
    Fault("clients hang up", "a reset at any byte of any request", hanging_up, flags=HASTY),
    Fault("garbage", "noise, TLS, HTTP/2, SOCKS, broken frames", garbage, flags=HASTY),
)
