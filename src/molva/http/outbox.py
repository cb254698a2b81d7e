"""Messages on their way to one client. Who produces them never waits for the one who reads them."""

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

MAX_MESSAGES = 256
"""Messages that may wait; a client that is further behind does not read."""


class Outbox:
    """A queue of JSON messages. A partial that waits is replaced by the next one, which says more."""

    def __init__(self, send: Callable[[str], Awaitable[None]], give_up: Callable[[], None]) -> None:
        """`give_up` is called once, when the client is too far behind."""
        self._send = send
        self._give_up = give_up
        self._given_up = False
        self._messages: deque[dict[str, Any]] = deque()
        self._changed = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()

    def put(self, message: dict[str, Any]) -> None:
        """Queue a message; it is dropped once the client has been given up."""
        if message["type"] == "partial" and self._messages and self._messages[-1]["type"] == "partial":
            self._messages.pop()
        if len(self._messages) == MAX_MESSAGES and not self._given_up:
            self._given_up = True
            self._give_up()
        if self._given_up:
            return
        self._messages.append(message)
        self._empty.clear()
        self._changed.set()

    async def run(self) -> None:
        """Send until cancelled. Raises what `send` raises."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            while self._messages:
                await self._send(json.dumps(self._messages.popleft(), ensure_ascii=False, separators=(",", ":")))
            self._empty.set()

    async def flushed(self) -> None:
        """Wait until everything is sent."""
        await self._empty.wait()
