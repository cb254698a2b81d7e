"""Server-sent events: frames, heartbeats, and an end of the work when the client has gone."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from molva.errors import ShuttingDown
from molva.http.disconnect import unless_disconnected

HEARTBEAT = b":\n\n"
"""A comment: it keeps the connection alive and says nothing."""
HEARTBEAT_S = 15.0


def data_frame(event: dict[str, Any]) -> bytes:
    """One event without a name."""
    return f"data: {json.dumps(event, ensure_ascii=False, separators=(',', ':'))}\n\n".encode()


def event_frame(name: str, event: dict[str, Any]) -> bytes:
    """One event with a name."""
    return f"event: {name}\n".encode() + data_frame(event)


async def with_heartbeats(
    frames: AsyncIterator[bytes], interval_s: float = HEARTBEAT_S, *, heartbeat: bytes = HEARTBEAT
) -> AsyncIterator[bytes]:
    """The frames, with a comment after every `interval_s` seconds of silence."""
    while True:
        upcoming = asyncio.ensure_future(anext(frames))
        try:
            while not (await asyncio.wait({upcoming}, timeout=interval_s))[0]:
                yield heartbeat
        finally:
            upcoming.cancel()
        try:
            yield upcoming.result()
        except StopAsyncIteration:
            return


CLOSING = event_frame("closing", {"type": "closing", "message": str(ShuttingDown())})
"""Ends a stream of events with names that has no end of its own, when the server stops."""


class EventStream(Response):
    """Sends frames as they come, and leaves `work`, where they come from, on every way out."""

    media_type = "text/event-stream"

    def __init__(self, frames: AsyncIterator[bytes], work: AsyncExitStack, *, cut: bytes = b"") -> None:
        """`cut`: the frame that a stream ends with which the server cannot wait for when it stops."""
        super().__init__(headers={"cache-control": "no-cache"})
        del self.headers["content-length"]
        self._frames = frames
        self._work = work
        self._cut = cut

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def pump() -> None:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            async for frame in self._frames:
                await send({"type": "http.response.body", "body": frame, "more_body": True})
            await send({"type": "http.response.body", "body": b""})

        # The drain is over where this is cancelled, and the loop cancels what is left once more when it ends. There is
        # nobody above who would do more than log a trace.
        with suppress(asyncio.CancelledError):
            async with self._work:
                try:
                    await unless_disconnected(Request(scope, receive), pump())
                except ClientDisconnect:
                    pass  # no other answer can be given any more
                except asyncio.CancelledError:
                    await send({"type": "http.response.body", "body": self._cut})
