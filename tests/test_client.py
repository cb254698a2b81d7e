"""The client of the live door, against servers that behave in every way the protocol allows."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from molva.client import Message, connect, live_url
from molva.errors import OptionError
from tests.http.conftest import Running, fake_server  # noqa: F401 - a fixture

READY = {"type": "ready", "supported_rates": [16_000]}
FINAL = {"type": "final", "text": "слово", "words": [], "is_final": True}
LAST = {**FINAL, "text": ""}


async def silence(n_frames: int) -> AsyncIterator[bytes]:
    for _ in range(n_frames):
        yield bytes(3200)


async def converse(url: str, n_frames: int = 50) -> list[Message]:
    """What a server says to some silence."""
    heard = []
    async with connect(url) as client:
        async for message in client.messages():
            heard.append(message)
            if message["type"] == "ready":
                await client.configure(sample_rate=16_000)
                sending = asyncio.create_task(client.stream(silence(n_frames)))
        await sending
    return heard


def converse_with(behave: Callable[[ServerConnection], Awaitable[None]], n_frames: int = 50) -> list[Message]:
    """The same with a server that says `ready` and does as it is told."""

    async def handle(connection: ServerConnection) -> None:
        await connection.send(json.dumps(READY))
        await behave(connection)

    async def talk() -> list[Message]:
        async with serve(handle, "127.0.0.1", 0) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            return await converse(f"ws://127.0.0.1:{port}", n_frames)

    return asyncio.run(talk())


async def until_stop(connection: ServerConnection) -> list[str | bytes]:
    received: list[str | bytes] = []
    async for message in connection:
        received.append(message)
        if isinstance(message, str) and json.loads(message)["type"] == "stop":
            break
    return received


def test_a_session_with_our_server(fake_server: Running) -> None:  # noqa: F811 - the fixture
    heard = asyncio.run(converse(fake_server.ws_url))
    assert [message["type"] for message in heard] == ["ready", "final"]
    assert heard[-1]["endpoint_reason"] == "stop"


def test_what_is_sent() -> None:
    received: list[str | bytes] = []

    async def listen(connection: ServerConnection) -> None:
        received.extend(await until_stop(connection))
        await connection.send(json.dumps(LAST))

    converse_with(listen, n_frames=3)
    assert json.loads(received[0]) == {"type": "configure", "sample_rate": 16_000}
    assert [len(frame) for frame in received[1:-1]] == [3200] * 3
    assert json.loads(received[-1]) == {"type": "stop"}


def test_a_final_that_crosses_with_stop_is_not_taken_for_the_last_one() -> None:
    async def answer(connection: ServerConnection) -> None:
        await until_stop(connection)
        for message in (FINAL, LAST):
            await connection.send(json.dumps(message))

    assert converse_with(answer)[1:] == [FINAL, LAST]


def test_an_end_without_a_close_frame_is_fine_after_the_last_final() -> None:
    """As gigastt ends a session."""

    async def answer(connection: ServerConnection) -> None:
        await until_stop(connection)
        await connection.send(json.dumps(LAST))
        connection.transport.close()

    assert converse_with(answer)[-1] == LAST


def test_a_server_that_goes_away_is_told() -> None:
    async def vanish(connection: ServerConnection) -> None:
        await connection.recv()
        connection.transport.abort()

    with pytest.raises(ConnectionError, match="it went away"):
        converse_with(vanish)


def test_the_reason_of_a_close_is_told_and_the_words_before_it_arrive() -> None:
    async def shut_down(connection: ServerConnection) -> None:
        await connection.send(json.dumps(FINAL))
        await connection.close(1001, "server shutdown")

    with pytest.raises(ConnectionError, match="server shutdown"):
        converse_with(shut_down)


def test_an_error_explains_the_end() -> None:
    error = {"type": "error", "code": "idle_timeout", "message": "Idle timeout"}

    async def complain(connection: ServerConnection) -> None:
        await connection.send(json.dumps(error))
        await connection.close(1001, "idle timeout")

    assert converse_with(complain)[-1] == error


def test_whoever_does_not_speak_the_protocol_is_told_so() -> None:
    async def chat(connection: ServerConnection) -> None:
        await connection.send("hello")
        await until_stop(connection)

    with pytest.raises(ConnectionError, match="no speech-to-text server"):
        converse_with(chat)


def test_audio_that_fails_still_ends_the_session_with_its_last_final() -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield bytes(3200)
        raise ValueError("no more")

    async def answer(connection: ServerConnection) -> None:
        await until_stop(connection)
        await connection.send(json.dumps(LAST))

    async def talk() -> list[Message]:
        async with serve(answer, "127.0.0.1", 0) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            async with connect(f"ws://127.0.0.1:{port}") as client:
                with pytest.raises(ValueError, match="no more"):
                    await client.stream(broken())
                return [message async for message in client.messages()]

    assert asyncio.run(talk()) == [LAST]


def test_no_server_is_told_with_what_starts_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with pytest.raises(ConnectionError, match="molva serve"):
        asyncio.run(converse(f"ws://127.0.0.1:{port}"))


@pytest.mark.parametrize(
    ("body", "reason"), [(b'{"error":"Server shutting down","code":"shutting_down"}', "shutting down"), (b"", "503")]
)
def test_a_refusal_gives_its_reason(body: bytes, reason: str) -> None:
    def refuse(connection: ServerConnection, request: Request) -> Response:
        return Response(503, "Service Unavailable", Headers({"content-length": str(len(body))}), body)

    async def talk() -> None:
        async with serve(until_stop, "127.0.0.1", 0, process_request=refuse) as server:  # type: ignore[arg-type]
            await converse(f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}")

    with pytest.raises(ConnectionError, match=reason):
        asyncio.run(talk())


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("ws://127.0.0.1:9876/v1/ws", "ws://127.0.0.1:9876/v1/ws"),
        ("http://127.0.0.1:9876", "ws://127.0.0.1:9876/v1/ws"),
        ("https://speech.example/", "wss://speech.example/v1/ws"),
        ("https://example.org/stt/", "wss://example.org/stt/v1/ws"),
        ("http://[::1]:9876/v1/ws", "ws://[::1]:9876/v1/ws"),
        ("localhost:9876", "ws://localhost:9876/v1/ws"),
        ("wss://example.org/another/door", "wss://example.org/another/door"),
    ],
)
def test_the_address_of_a_server_is_enough(given: str, address: str) -> None:
    assert live_url(given) == address


@pytest.mark.parametrize("given", ["", "ftp://host", "http://", "ws://host:nine", "ws://[::1", "ws://host:99999"])
def test_what_is_no_address_is_told(given: str) -> None:
    with pytest.raises(OptionError, match="no address"):
        live_url(given)
