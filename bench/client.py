"""Sessions that play a recording to the server and note when what came back."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from bench.recording import FRAME_S, Recording

END_S = 120.0
"""How long the last finals may take."""

TICK_S = 0.05


@dataclass
class Session:
    """One client. Times are the event loop's, in seconds."""

    recording: Recording
    first_frame: int
    n_frames: int
    start: float = 0.0
    """When its first message was due. All delays count from when a message was due, not from when it went out, so
    that a server that does not read looks slow."""
    arrivals: list[tuple[float, str]] = field(default_factory=list)
    behind_s: list[float] = field(default_factory=list)
    """How much later than due each message went out."""

    def due(self, position_s: float) -> float:
        """When the audio at a position of the stream was due to be sent."""
        return self.start + position_s // FRAME_S * FRAME_S

    @property
    def messages(self) -> list[tuple[float, dict[str, Any]]]:
        """What came back, and when."""
        return [(time, json.loads(text)) for time, text in self.arrivals]

    async def play(self, line: ClientConnection, *, paced: bool) -> None:
        """Send everything, then `stop`, and take what comes until the server ends."""
        receiving = asyncio.ensure_future(self._receive(line))
        try:
            await self._send(line, paced=paced)
            await line.send('{"type":"stop"}')
            async with asyncio.timeout(END_S):
                await receiving
        finally:
            receiving.cancel()

    async def _send(self, line: ClientConnection, *, paced: bool) -> None:
        loop, frames = asyncio.get_running_loop(), self.recording.frames
        for number in range(self.n_frames):
            if paced:
                due = self.start + number * FRAME_S
                early = due - loop.time()
                if early > 0:
                    await asyncio.sleep(early)
                self.behind_s.append(loop.time() - due)
            await line.send(frames[(self.first_frame + number) % len(frames)])

    async def _receive(self, line: ClientConnection) -> None:
        loop = asyncio.get_running_loop()
        try:
            async for message in line:
                assert isinstance(message, str)
                self.arrivals.append((loop.time(), message))
        except ConnectionClosed:
            pass


async def open_line(url: str) -> ClientConnection:
    """A connection that has its place."""
    line = await connect(url, compression=None, max_queue=None, ping_interval=None)
    ready = json.loads(await line.recv())
    if ready["type"] != "ready":
        raise RuntimeError(f"no place: {ready}")
    return line


async def play_together(url: str, sessions: Sequence[Session]) -> list[float]:
    """Play all sessions in real time, begun within one second. Gives how late this event loop itself was.

    Its figures tell whether the load was what it claims to be.
    """
    loop = asyncio.get_running_loop()
    lines = await asyncio.gather(*(open_line(url) for _ in sessions))
    begin = loop.time() + 0.5
    for number, session in enumerate(sessions):
        session.start = begin + number / len(sessions)
    lags: list[float] = []
    watching = asyncio.ensure_future(_watch(lags))
    await asyncio.gather(*(session.play(line, paced=True) for session, line in zip(sessions, lines, strict=True)))
    watching.cancel()
    return lags


async def play_alone(url: str, session: Session) -> None:
    """Play one session as fast as the server takes it. Finals do not depend on the pace."""
    await session.play(await open_line(url), paced=False)


async def _watch(lags: list[float]) -> None:
    loop = asyncio.get_running_loop()
    while True:
        before = loop.time()
        await asyncio.sleep(TICK_S)
        lags.append(loop.time() - before - TICK_S)
