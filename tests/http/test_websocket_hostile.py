"""Two hundred hostile connections at once against the real process: it stays small, and serves a good client."""

import json
import os
import selectors
import socket
import struct
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import httpx2
import pytest

from tests.conftest import SEEN
from tests.e2e.conftest import molva_serve
from tests.http.wsclient import (
    BINARY,
    CONTINUATION,
    HANDSHAKE,
    PING,
    TEXT,
    UTTERANCE,
    frame,
    frame_head,
    in_session,
    pcm,
    silence,
    texts,
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="memory and descriptors are read from /proc"),
]

CONFIGURE = frame(TEXT, json.dumps({"type": "configure", "sample_rate": 16000}).encode())
LARGEST = 512 * 1024


@dataclass(frozen=True)
class Attack:
    """What one hostile client does."""

    name: str
    opening: bytes = b""
    """Sent once, after the handshake where there is one."""
    repeated: bytes = b""
    """Sent after that, again and again, as fast as the socket takes it."""
    upgrades: bool = True
    """Whether it begins with a handshake."""
    reads: bool = True
    """Whether it reads what it gets; otherwise only the handshake's answer, into a small buffer."""
    resets: bool = False
    """Whether it cuts the connection after its opening, and comes again."""


ATTACKS = [
    Attack("connects and says nothing", upgrades=False),
    Attack("half an HTTP head", b"GET /v1/ws HTTP/1.1\r\nHost: x\r\nUpgr", upgrades=False),
    Attack("shakes hands and says nothing"),
    Attack("half the head of a frame", b"\x82\xff\0\0\0"),
    Attack("half a payload, held", frame_head(BINARY, LARGEST) + bytes(LARGEST // 2)),
    Attack("half a payload, then a reset", frame_head(BINARY, LARGEST) + bytes(LARGEST // 2), resets=True),
    Attack("disconnects within speech", CONFIGURE + frame(BINARY, pcm(UTTERANCE)), resets=True),
    Attack("empty frames", repeated=frame(BINARY) * 1000),
    Attack("frames of one byte", repeated=frame(BINARY, b"\0") * 1000),
    Attack("a message of one-byte fragments", frame(BINARY, fin=False), frame(CONTINUATION, b"\0", fin=False) * 1000),
    Attack("a message of empty fragments", frame(BINARY, fin=False), frame(CONTINUATION, fin=False) * 1000),
    Attack("the largest frames", repeated=frame(BINARY, bytes(LARGEST))),
    Attack("the largest texts", repeated=frame(TEXT, b"[" * LARGEST)),
    Attack("pings, and reads no pong", repeated=frame(PING, bytes(125)) * 100, reads=False),
    Attack("unknown messages, and reads nothing", repeated=frame(TEXT, b"{}") * 1000, reads=False),
    Attack(
        "errors, and reads none",
        repeated=frame(TEXT, b'{"type":"configure","sample_rate":7000}') * 100,
        reads=False,
    ),
    Attack("speech, and reads nothing", CONFIGURE, frame(BINARY, pcm(UTTERANCE)), reads=False),
]


def wait_until(condition: Callable[[], bool], timeout: float = 180) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@dataclass
class Attacker:
    """One hostile client; it comes again when it is sent away."""

    attack: Attack
    address: tuple[str, int]
    state: Literal["shaking hands", "opening", "repeating", "holding"] = "opening"
    line: socket.socket = field(init=False)
    pending: memoryview = field(default_factory=lambda: memoryview(b""))

    def connect(self) -> None:
        self.line = socket.socket()
        if not self.attack.reads:
            self.line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        self.line.connect(self.address)
        self.line.setblocking(False)
        self.state = "shaking hands" if self.attack.upgrades else "opening"
        self.pending = memoryview(HANDSHAKE if self.attack.upgrades else self.attack.opening)

    def reset(self) -> None:
        """Cut the connection without a word."""
        self.line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.line.close()

    def wishes(self) -> int:
        """Events to wait for."""
        reads = selectors.EVENT_READ if self.attack.reads or self.state == "shaking hands" else 0
        return reads | (selectors.EVENT_WRITE if self.pending else 0)

    def read(self) -> None:
        """Raises OSError at the connection's end."""
        if not self.line.recv(65_536):
            raise ConnectionResetError
        if self.state == "shaking hands":
            self.state, self.pending = "opening", memoryview(self.attack.opening)
            self.go_on()

    def write(self) -> None:
        """Raises OSError at the connection's end."""
        self.pending = self.pending[self.line.send(self.pending[:65_536]) :]
        self.go_on()

    def go_on(self) -> None:
        if self.pending or self.state == "shaking hands":
            return
        if self.attack.resets:
            raise ConnectionResetError
        self.state = "repeating" if self.attack.repeated else "holding"
        self.pending = memoryview(self.attack.repeated)


class Army:
    """Hostile clients in one thread."""

    def __init__(self, attacks: list[Attack], size: int, address: tuple[str, int]) -> None:
        self._attackers = [Attacker(attacks[i % len(attacks)], address) for i in range(size)]
        self._stop = threading.Event()
        self.arrived = threading.Event()
        """Set when all of them are connected."""
        self.came: Counter[str] = Counter()
        """How often each kind came."""
        self.sent: Counter[str] = Counter()
        """How often something of each kind was sent."""
        self._thread = threading.Thread(target=self._run)

    @contextmanager
    def marching(self) -> Iterator["Army"]:
        self._thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            self._thread.join()

    def wait_until_sent(self, times: int) -> None:
        """Until every kind that sends has sent so often."""
        kinds = {attacker.attack.name for attacker in self._attackers if attacker.attack.repeated}
        wait_until(lambda: all(self.sent[kind] >= times for kind in kinds))

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector:
            for attacker in self._attackers:
                self._send_in(attacker, selector)
            self.arrived.set()
            while not self._stop.is_set():
                for key, events in selector.select(0.1):
                    self._serve(key.data, events, selector)
            for attacker in self._attackers:
                selector.unregister(attacker.line)
                attacker.reset()

    def _send_in(self, attacker: Attacker, selector: selectors.BaseSelector) -> None:
        attacker.connect()
        self.came[attacker.attack.name] += 1
        selector.register(attacker.line, attacker.wishes() or selectors.EVENT_READ, attacker)

    def _serve(self, attacker: Attacker, events: int, selector: selectors.BaseSelector) -> None:
        try:
            if events & selectors.EVENT_READ:
                attacker.read()
            if events & selectors.EVENT_WRITE and attacker.pending:
                attacker.write()
                self.sent[attacker.attack.name] += 1
        except BlockingIOError:
            pass
        except OSError:
            selector.unregister(attacker.line)
            attacker.reset()
            self._send_in(attacker, selector)
            return
        selector.modify(attacker.line, attacker.wishes() or selectors.EVENT_READ, attacker)


@dataclass
class Watched:
    """A server process, seen from outside."""

    url: str
    pid: int

    @property
    def ws_url(self) -> str:
        return self.url.replace("http", "ws", 1) + "/v1/ws"

    @property
    def resident_mib(self) -> float:
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1]) / 1024

    @property
    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))  # noqa: PTH208 - one system call, no objects

    @property
    def places(self) -> int:
        """Free now."""
        return int(httpx2.get(f"{self.url}/ready", timeout=60).json()["pool_available"])


@contextmanager
def watched(tiny_dir: Path, home: Path) -> Iterator[Watched]:
    """A real process with a place for everybody."""
    flags = ("--port", "0", "--model-dir", tiny_dir, "--model", "gigaam-v3-rnnt", "--pool-size", str(POOL_SIZE))
    with molva_serve(*flags, "--log-level", "error", home=home) as process:
        yield Watched(process.url(), process.popen.pid)
        assert process.stop() == 0
    errors = "".join(process.errors)
    assert "Traceback" not in errors, errors


SIZE = 200
POOL_SIZE = SIZE + 56
SENT_EACH = 10
"""Times that each kind that sends at all has sent something before the good client comes."""

BOUND_MIB = 400
"""Growth of resident memory with all of them connected, whatever they send. It comes from what one connection may hold
for longer: a message in the making and one that is whole, of 512 KiB each, which is 200 MiB for all of them; and as
much again for what belongs to no connection: the samples of the messages in hand, the engine's buffers for windows of
every length, and pages that the allocator keeps. On two cores it is 130 MiB. Where 256 KiB of tiny frames are read at
once, or pongs pile up that nobody reads, the floods alone take more with every second."""


CLIPS = tuple(clip for clip in SEEN if clip.path.stem in {"ru_0143", "ru_0149"})


def good_client(server: Watched) -> list[str]:
    """Texts of a client that speaks among them."""
    with in_session(server) as client:
        for clip in CLIPS:
            client.say(clip.samples, silence(1), frame_s=1)
        return texts(client.stop())


@pytest.mark.timeout(600)
def test_the_server_stays_small_and_serves_a_good_client_meanwhile(tiny_dir: Path, tmp_path: Path) -> None:
    expected = [clip.rnnt for clip in CLIPS]
    with watched(tiny_dir, tmp_path) as server:
        assert good_client(server) == expected  # the engine's buffers are made
        resident, descriptors = server.resident_mib, server.descriptors
        peak = resident
        address = urlsplit(server.url)
        assert address.hostname is not None
        assert address.port is not None
        army = Army(ATTACKS, SIZE, (address.hostname, address.port))
        with army.marching(), ThreadPoolExecutor(1) as threads:
            assert army.arrived.wait(60)
            army.wait_until_sent(SENT_EACH)
            heard = threads.submit(good_client, server)
            while not heard.done():
                peak = max(peak, server.resident_mib)
                time.sleep(0.1)
            assert heard.result() == expected
        wait_until(lambda: server.places == POOL_SIZE)
        wait_until(lambda: server.descriptors <= descriptors)
        assert good_client(server) == expected
        assert peak - resident < BOUND_MIB, (peak, resident, army.came, army.sent)
