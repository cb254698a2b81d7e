"""Requests that could be read in two ways, slow clients and crowds, over real sockets."""

import asyncio
import contextlib
import errno
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from websockets.sync.client import connect

from molva.engines.fake import FakeEngine
from molva.http.connection import MAX_HEAD_BYTES, RESERVE, ConnectionRule
from molva.http.guard import Guards
from molva.runtime.loading import sample_speech
from molva.server import bind, cut_off_who_does_not_read
from tests.http.conftest import Gate, Running, serving, wav
from tests.http.raw import answers_to, connected, read_all, statuses

SMUGGLED = b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /v1/transcribe HTTP/1.1\r\nHost: x\r\n"
GET = b"GET /health HTTP/1.1\r\nHost: x\r\n"

AMBIGUOUS = {
    "both lengths": (POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED, 400),
    "both, reversed": (POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + SMUGGLED, 400),
    "two lengths": (POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef" + SMUGGLED, 400),
    "the same length twice": (POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nabcde" + SMUGGLED, 400),
    "a list of lengths": (POST + b"Content-Length: 5, 5\r\n\r\nabcde" + SMUGGLED, 400),
    "length with a sign": (POST + b"Content-Length: +5\r\n\r\nabcde" + SMUGGLED, 400),
    "negative length": (POST + b"Content-Length: -5\r\n\r\nabcde" + SMUGGLED, 400),
    "hexadecimal length": (POST + b"Content-Length: 0x5\r\n\r\nabcde" + SMUGGLED, 400),
    "empty length": (POST + b"Content-Length:\r\n\r\nabcde" + SMUGGLED, 400),
    "length in other digits": (POST + "Content-Length: ٥\r\n\r\nabcde".encode() + SMUGGLED, 400),
    "huge length": (POST + b"Content-Length: " + b"9" * 30 + b"\r\n\r\n", 400),
    "space before the colon": (POST + b"Content-Length : 5\r\n\r\nabcde" + SMUGGLED, 400),
    "chunked twice": (POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n" + SMUGGLED, 501),
    "two encodings": (POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n" + SMUGGLED, 501),
    "not quite chunked": (POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + SMUGGLED, 501),
    "tabbed chunked": (POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n" + SMUGGLED, 400),
    "chunked in 1.0": (
        b"POST /v1/transcribe HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
        400,
    ),
    "folded header": (POST + b"X: a\r\n b\r\nContent-Length: 0\r\n\r\n", 400),
    "folded encoding": (POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n" + SMUGGLED, 400),
    "fold at the start": (b"GET /health HTTP/1.1\r\n Host: x\r\n\r\n", 400),
    "bare line feeds": (b"GET /health HTTP/1.1\nHost: x\n\n" + SMUGGLED, 400),
    "one bare line feed": (GET + b"X: a\nY: b\r\n\r\n", 400),
    "bare line feed ends the head": (GET + b"\n" + SMUGGLED, 400),
    "bare carriage return": (GET + b"X: a\rY: b\r\n\r\n", 400),
    "nul in a header": (GET + b"X: a\0b\r\n\r\n", 400),
    "nul in a name": (GET + b"X\0: a\r\n\r\n", 400),
    "nul in the target": (b"GET /hea\0lth HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "header without a name": (GET + b": a\r\n\r\n", 400),
    "header without a colon": (GET + b"nothing\r\n\r\n", 400),
    "no host": (b"GET /health HTTP/1.1\r\n\r\n", 400),
    "two hosts": (GET + b"Host: y\r\n\r\n", 400),
    "absolute target": (b"GET http://x/health HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "authority as target": (b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "asterisk for another method": (b"GET * HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "target without a slash": (b"GET health HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "target of other letters": ("GET /привет HTTP/1.1\r\nHost: x\r\n\r\n".encode(), 400),
    "two spaces": (b"GET  /health HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "a word too many": (b"GET /health x HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "HTTP/0.9": (b"GET /health\r\n\r\n", 400),
    "HTTP/2 at once": (b"PRI * HTTP/2.0\r\nHost: x\r\n\r\nSM\r\n\r\n", 505),
    "HTTP/1.2": (b"GET /health HTTP/1.2\r\nHost: x\r\n\r\n", 505),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    "blank line first": (b"\r\n" + SMUGGLED, 400),
    "huge target": (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 431),
    "huge header": (GET + b"X: " + b"a" * MAX_HEAD_BYTES + b"\r\n\r\n", 431),
    "many headers": (GET + b"".join(b"X-%d: a\r\n" % number for number in range(5000)) + b"\r\n", 431),
    "upgrade with a body": (
        b"GET /v1/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 38\r\n\r\n"
        + SMUGGLED,
        400,
    ),
}

CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
BAD_CHUNKS = {
    "no size": b"\r\nabc\r\n0\r\n\r\n",
    "negative size": b"-3\r\nabc\r\n0\r\n\r\n",
    "size with 0x": b"0x3\r\nabc\r\n0\r\n\r\n",
    "size of letters": b"xyz\r\nabc\r\n0\r\n\r\n",
    "endless size": b"1" * 40 + b"\r\nabc\r\n0\r\n\r\n",
    "longer than it says": b"3\r\nabcdef\r\n0\r\n\r\n",
    "bare line feed after the size": b"3\nabc\r\n0\r\n\r\n",
    "bare line feed after the chunk": b"3\r\nabc\n0\r\n\r\n",
    "bare line feed after the last": b"0\r\n\n",
    "folded trailer": b"0\r\nX: a\r\n b\r\n\r\n",
    "bare line feed in the trailer": b"0\r\nX: a\n\r\n",
    "endless extension": b"3;" + b"x" * 100_000,
    "endless trailer": b"0\r\nX: " + b"a" * 100_000,
}


def address_of(server: Running) -> tuple[str, int]:
    return server.client.base_url.host, server.client.base_url.port or 0


class TestOneReading:
    @pytest.mark.parametrize("case", AMBIGUOUS)
    def test_what_has_two_is_refused_once_and_the_connection_ends(self, fake_server: Running, case: str) -> None:
        request, status = AMBIGUOUS[case]
        answer = answers_to(fake_server.url, request)
        assert statuses(answer) == [status]
        assert b"connection: close" in answer.lower()

    @pytest.mark.parametrize("case", BAD_CHUNKS)
    def test_bad_chunks_are_refused_and_nothing_after_them_is_read(self, fake_server: Running, case: str) -> None:
        [status] = statuses(answers_to(fake_server.url, CHUNKED + BAD_CHUNKS[case] + SMUGGLED))
        assert status in (400, 431)

    def test_whatever_its_bytes_come_in(self, fake_server: Running) -> None:
        for case in ("bare line feeds", "folded header", "both lengths", "two hosts"):
            request, status = AMBIGUOUS[case]
            with connected(fake_server.url) as connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                try:
                    for byte in request:
                        connection.send(bytes([byte]))
                except (BrokenPipeError, ConnectionResetError):
                    pass  # refused before it was whole
                assert statuses(read_all(connection)) in ([status], [])

    def test_the_log_has_no_traceback_of_it(self, fake_server: Running, caplog: pytest.LogCaptureFixture) -> None:
        for request, _ in AMBIGUOUS.values():
            answers_to(fake_server.url, request)
        for chunks in BAD_CHUNKS.values():
            answers_to(fake_server.url, CHUNKED + chunks)
        assert [record for record in caplog.records if record.exc_info or record.levelname == "ERROR"] == []

    @pytest.mark.parametrize(
        "request_",
        [GET + b"\r\n", b"GET /health?a=%00&b=%ff HTTP/1.1\r\nhOsT:x\r\n\r\n", b"GET /health HTTP/1.0\r\n\r\n"],
    )
    def test_ordinary_ones_are_served(self, fake_server: Running, request_: bytes) -> None:
        with connected(fake_server.url) as connection:
            connection.sendall(request_)
            assert connection.makefile("rb").readline().startswith(b"HTTP/1.1 200 ")

    def test_pipelined_ones_are_answered_in_turn(self, fake_server: Running) -> None:
        last = b"GET /ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        body = wav(sample_speech())
        upload = POST + b"Content-Length: %d\r\n\r\n" % len(body) + body
        chunks = CHUNKED + b"%x;name=value\r\n" % len(body) + body + b"\r\n0\r\nX-Trailer: a\r\n\r\n"
        assert statuses(answers_to(fake_server.url, SMUGGLED + upload + chunks + last)) == [200, 200, 200, 200]

    def test_another_upgrade_is_ignored(self, fake_server: Running) -> None:
        request = GET + b"Connection: Upgrade, close\r\nUpgrade: h2c\r\n\r\n"
        with connected(fake_server.url) as connection:
            connection.sendall(request)
            assert connection.makefile("rb").readline().startswith(b"HTTP/1.1 200 ")


@pytest.fixture(scope="module")
def hasty() -> Iterator[Running]:
    """A server that waits half a second for everything."""
    with serving(
        FakeEngine(), connections=ConnectionRule(header_timeout_s=0.5), guards=Guards(body_timeout_s=0.5)
    ) as server:
        yield server


class TestSlowness:
    @pytest.mark.parametrize("sent", [b"", b"G", b"GET /health HTTP/1.1\r\nHost: x\r\n", b"GET /health HTTP/1.1\r\nX"])
    def test_a_head_that_does_not_end_ends_the_connection(self, hasty: Running, sent: bytes) -> None:
        assert statuses(answers_to(hasty.url, sent)) == ([408] if sent else [])

    def test_a_dripping_head_has_no_more_time(self, hasty: Running) -> None:
        with connected(hasty.url) as connection:
            connection.sendall(b"GET /health HTTP/1.1\r\nX: ")
            for _ in range(200):
                try:
                    connection.send(b"a")
                except (BrokenPipeError, ConnectionResetError):
                    return
                time.sleep(0.05)
        pytest.fail("it was still served after ten seconds")

    def test_nor_has_the_second_head_of_a_connection(self, hasty: Running) -> None:
        with connected(hasty.url) as connection:
            connection.sendall(GET + b"\r\nGET /health HT")
            assert statuses(read_all(connection)) == [200, 408]

    def test_nor_a_handshake(self, hasty: Running) -> None:
        upgrade = b"GET /v1/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        assert statuses(answers_to(hasty.url, upgrade)) == [408]
        assert statuses(answers_to(hasty.url, upgrade + b"\r\n")) == [400]

    @pytest.mark.parametrize(
        ("path", "shape"),
        [
            ("/v1/transcribe", {"code": "body_timeout"}),
            ("/v1/audio/transcriptions", {"type": "invalid_request_error"}),
            ("/jobs", {"code": "body_timeout"}),
        ],
    )
    def test_a_body_that_stops_is_told_so_in_the_doors_words(
        self, hasty: Running, path: str, shape: dict[str, str]
    ) -> None:
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n"
        kind = "Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\n"
        answer = answers_to(hasty.url, (head + kind).encode())
        if path == "/jobs":  # this server takes none
            assert statuses(answer) == [404]
            return
        assert statuses(answer) == [408]
        body = httpx2.Response(408, content=answer.split(b"\r\n\r\n", 1)[1]).json()
        told = body["error"] if isinstance(body["error"], dict) else body
        assert shape.items() <= told.items()
        assert b"connection: close" in answer.lower()

    def test_a_steady_body_may_take_longer(self, hasty: Running) -> None:
        body = wav(sample_speech())
        step = len(body) // 12
        with connected(hasty.url) as connection:
            connection.sendall(POST + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body))
            for start in range(0, len(body), step):
                connection.sendall(body[start : start + step])
                time.sleep(0.1)
            assert statuses(read_all(connection)) == [200]

    def test_a_body_that_nobody_reads_any_more_is_not_read_for_ever(self, hasty: Running) -> None:
        with connected(hasty.url) as connection:
            connection.sendall(b"GET /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.1 404")
            for _ in range(200):
                try:
                    connection.send(b"a")
                except (BrokenPipeError, ConnectionResetError):
                    return
                time.sleep(0.05)
        pytest.fail("it was still read after ten seconds")

    def test_an_answer_that_takes_long_is_none_of_this(self, gate: Gate) -> None:
        rule = ConnectionRule(header_timeout_s=0.2)
        with serving(FakeEngine(gate), connections=rule, guards=Guards(body_timeout_s=0.2)) as server:
            body = wav(sample_speech())
            with connected(server.url) as connection:
                connection.sendall(POST + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
                assert gate.entered.wait(20)
                time.sleep(0.6)
                gate.opened.set()
                assert statuses(read_all(connection)) == [200]

    @pytest.mark.parametrize("requests_before", [0, 1])
    def test_a_session_may_be_silent(self, hasty: Running, requests_before: int) -> None:
        with connected(hasty.url) as connection, contextlib.ExitStack() as work:
            for _ in range(requests_before):
                connection.sendall(b"OPTIONS /v1/transcribe HTTP/1.1\r\nHost: x\r\n\r\n")
                assert connection.recv(1000).endswith(b"\r\n\r\n")
            session = work.enter_context(connect(hasty.ws_url, sock=connection))
            session.recv(timeout=20)
            time.sleep(1.2)
            session.send('{"type":"stop"}')
            assert session.recv(timeout=20)


class TestCrowds:
    def test_who_waits_longest_makes_room(self) -> None:
        with serving(FakeEngine(), connections=ConnectionRule(max_connections=4)) as server:
            idle = [socket.create_connection(address_of(server)) for _ in range(20)]
            try:
                for _ in range(5):
                    assert httpx2.get(f"{server.url}/v1/models").status_code == 200
                assert read_all(idle[0]) == b""
            finally:
                for connection in idle:
                    connection.close()

    def test_where_all_are_at_work_probes_are_answered_and_others_told(self, gate: Gate) -> None:
        rule = ConnectionRule(max_connections=2)
        body = wav(sample_speech())
        with serving(FakeEngine(gate), connections=rule, pool_size=4, workers=2, lazy=True) as server:
            server.client.close()
            busy = []
            for _ in range(2):
                connection = socket.create_connection(address_of(server), 20)
                connection.sendall(POST + b"Content-Length: %d\r\n\r\n" % len(body) + body)
                busy.append(connection)
            assert gate.entered.wait(20)
            for path in ("/health", "/ready"):
                assert httpx2.get(server.url + path).status_code == 200
            waiting = socket.create_connection(address_of(server), 20)  # makes no room: it has none of its own
            native, openai = (httpx2.get(server.url + path) for path in ("/v1/models", "/v1/models/x"))
            assert (native.status_code, native.json()["code"]) == (503, "too_many_connections")
            assert native.json()["retry_after_ms"] == 1000
            assert native.headers["retry-after"] == "1"
            assert "x-request-id" in native.headers
            assert (openai.status_code, openai.json()["error"]["type"]) == (503, "server_error")
            waiting.close()
            gate.opened.set()
            for connection in busy:
                assert connection.recv(100).startswith(b"HTTP/1.1 200")
                connection.close()
            server.wait_until(lambda _: httpx2.get(f"{server.url}/v1/models").status_code == 200)

    @pytest.mark.slow
    def test_five_hundred_dripping_clients_leave_room_memory_and_descriptors(self) -> None:
        rule = ConnectionRule(max_connections=300, header_timeout_s=5)
        descriptors = Path("/proc/self/fd")
        with serving(FakeEngine(), connections=rule) as server:
            address = address_of(server)
            assert server.client.get("/v1/models").status_code == 200
            before, memory = len(list(descriptors.iterdir())), _resident_bytes()

            async def drip() -> None:
                _, writer = await asyncio.open_connection(*address)
                try:
                    writer.write(b"POST /v1/transcribe HTTP/1.1\r\nX: ")
                    for _ in range(8):
                        writer.write(b"a")
                        await asyncio.sleep(1)
                except OSError:
                    pass
                finally:
                    writer.close()

            async def be_good(served: list[int]) -> None:
                async with httpx2.AsyncClient(base_url=server.url, timeout=20) as client:
                    for _ in range(20):
                        answer = await client.post("/v1/transcribe", content=wav(sample_speech()))
                        served.append(answer.status_code)
                        await asyncio.sleep(0.2)

            async def crowd() -> list[int]:
                served: list[int] = []
                await asyncio.gather(*(drip() for _ in range(500)), be_good(served), return_exceptions=True)
                return served

            assert asyncio.run(crowd()) == [200] * 20
            server.wait_until(lambda _: len(list(descriptors.iterdir())) <= before + 2)
            assert _resident_bytes() - memory < 100 * 2**20


def test_more_than_the_reserve_is_not_even_heard(gate: Gate) -> None:
    """Those in the reserve wait for their heads: the next one takes the place of the one that has waited longest."""
    with serving(FakeEngine(gate), connections=ConnectionRule(max_connections=1), lazy=True) as server:
        body = wav(sample_speech())
        with connected(server.url) as busy:
            busy.sendall(POST + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            assert gate.entered.wait(20)
            idle = [socket.create_connection(address_of(server)) for _ in range(3 * RESERVE)]
            assert read_all(idle[0]) == b""
            assert httpx2.get(f"{server.url}/health").status_code == 200
            for connection in idle:
                connection.close()
            gate.opened.set()


def test_a_client_that_reads_nothing_is_cut_off() -> None:
    """By the system, as the listener of `molva serve` asks it to."""
    listener = bind("127.0.0.1", 0)
    cut_off_who_does_not_read(listener, 0.5)
    with listener, socket.socket() as client:
        listener.listen()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(listener.getsockname())
        served, _ = listener.accept()
        with served:
            served.settimeout(20)
            with pytest.raises(OSError, match="timed out") as caught:
                served.sendall(bytes(2**28))
            assert caught.value.errno == errno.ETIMEDOUT


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
