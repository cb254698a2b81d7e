"""A client of the live door, `/v1/ws`: audio in, messages out. It knows no terminal, file or microphone.

async with connect("ws://127.0.0.1:9876/v1/ws") as client:
    async for message in client.messages():
        if message["type"] == "ready":
            await client.configure(sample_rate=16_000)
            sending = asyncio.create_task(client.stream(audio))
        elif message["type"] == "final":
            print(message["text"])
"""

import json
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Literal, TypeAlias
from urllib.parse import urlsplit, urlunsplit

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as open_websocket
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from molva.errors import OptionError

Message: TypeAlias = dict[str, Any]
"""What the server says. `type` is ready, partial, final or error; docs/websocket.md has the fields."""

PATH = "/v1/ws"
SCHEMES = {"ws": "ws", "wss": "wss", "http": "ws", "https": "wss"}
LOOPBACK = ("localhost", "127.0.0.1", "::1")


def live_url(url: str) -> str:
    """The live door's address, of a server's (`http://host:9876`), or of the door itself.

    Raises OptionError for what is no address.
    """
    try:
        given = urlsplit(url if "://" in url else f"ws://{url}")
        known = given.scheme in SCHEMES and given.hostname is not None and given.port != 0  # the port may be wrong too
    except ValueError:
        known = False
    if not known:
        raise OptionError("url", f"'{url[:200]}' is no address of a server; ws://127.0.0.1:9876{PATH} would be one.")
    path = given.path.rstrip("/")
    if not path.endswith(PATH) and (not path or given.scheme.startswith("http")):
        path += PATH
    return urlunsplit((SCHEMES[given.scheme], given.netloc, path, given.query, ""))


@asynccontextmanager
async def connect(url: str, *, key: str | None = None, keepalive: bool = True) -> AsyncIterator["LiveClient"]:
    """A session at the live door `url`. Raises ConnectionError with a reason for people where there is none to be had.

    `key` is for servers that ask for one. With `keepalive`, a server that answers no ping for 20 s counts as gone.
    Audio that is sent faster than it is recognised holds pongs up, so that is for audio at its own pace only.
    """
    # A proxy for the outside world knows nothing of this machine's own addresses.
    proxy: Literal[True] | None = None if urlsplit(url).hostname in LOOPBACK else True
    try:
        connection = await open_websocket(
            url,
            additional_headers={"Authorization": f"Bearer {key}"} if key else None,
            compression=None,
            proxy=proxy,
            ping_interval=20 if keepalive else None,
        )
    except InvalidStatus as error:
        raise ConnectionError(f"{url} refuses: {_reason(error)}") from error
    except (OSError, InvalidHandshake, EOFError) as error:
        raise ConnectionError(f"no server answers at {url} ({error}); `molva serve` starts one") from error
    try:
        yield LiveClient(connection)
    except BaseException:
        connection.transport.abort()  # a goodbye would keep the caller waiting
        raise
    finally:
        await connection.close()


class LiveClient:
    """One session."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._stopped = False

    async def messages(self) -> AsyncIterator[Message]:
        """What the server says, `ready` first, to the end of the session; `error` is a message like others.

        Raises ConnectionError where the end is neither asked for nor explained by an error.
        """
        explained = False
        try:
            while True:
                message = _parse(await self._connection.recv())
                # A final that the stream's pauses brought may cross with `stop`, so the end is the server's to tell.
                explained |= message["type"] == "error" or (self._stopped and message["type"] == "final")
                yield message
        except ConnectionClosed as closed:
            if not explained:
                reason = closed.rcvd.reason if closed.rcvd is not None else ""
                raise ConnectionError(f"the server ended the session: {reason or 'it went away'}") from closed

    async def configure(
        self, *, sample_rate: int, min_silence_ms: int | None = None, endpoint_mode: str | None = None
    ) -> None:
        """Say what comes: the rate in Hz, one of `supported_rates` in `ready`. Before any audio."""
        wishes = {"sample_rate": sample_rate, "min_silence_ms": min_silence_ms, "endpoint_mode": endpoint_mode}
        await self._send(json.dumps({"type": "configure"} | {k: v for k, v in wishes.items() if v is not None}))

    async def stream(self, audio: AsyncIterable[bytes]) -> None:
        """Send audio (PCM16 little-endian, mono) as it comes, then `stop`; also when it fails or is cancelled.

        Waits where the server does not keep up. Where the session is over, the rest is dropped.
        """
        try:
            async for pcm in audio:
                if not await self._send(pcm):
                    break
        finally:
            self._stopped = True
            await self._send('{"type":"stop"}')

    async def _send(self, message: str | bytes) -> bool:
        """False where the session is over: `messages` tells why."""
        with suppress(ConnectionClosed):
            await self._connection.send(message)
            return True
        return False


def _parse(text: str | bytes) -> Message:
    with suppress(ValueError):
        message = json.loads(text)
        if isinstance(message, dict) and "type" in message:
            return message
    raise ConnectionError("what answers there is no speech-to-text server")


def _reason(refusal: InvalidStatus) -> str:
    """What the server's answer says, or its status."""
    with suppress(ValueError, KeyError, TypeError):
        return str(json.loads(refusal.response.body or b"")["error"])
    return f"HTTP {refusal.response.status_code}"
