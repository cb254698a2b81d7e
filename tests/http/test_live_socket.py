"""How a live session comes to its end, where its parts end in the same moment."""

import asyncio
from types import SimpleNamespace
from typing import Any

from starlette.types import Message

from molva.http.live_socket import HANGING, Conversation, Ending, Trouble
from molva.observer import NOBODY


class LineOfOneMessage:
    """A client that says one thing and listens."""

    def __init__(self) -> None:
        self.told: list[Trouble] = []

    async def receive(self) -> Message:
        return {"type": "websocket.receive"}

    async def departure(self) -> Ending:
        await asyncio.get_running_loop().create_future()
        raise AssertionError

    def tell(self, trouble: Trouble) -> None:
        self.told.append(trouble)


class TimesOut(Conversation):
    """The engine is given up in the moment in which everything is finished."""

    def greet(self) -> None:
        pass

    async def take(self, message: Message) -> Ending | None:
        return Ending(final=True, close=(1000, ""))

    async def finish(self) -> None:
        self._hangs()


def test_a_final_that_timed_out_in_the_moment_of_the_end_is_told() -> None:
    limits = SimpleNamespace(max_session_s=0, idle_timeout_s=None, ping_interval_s=60)
    state: Any = SimpleNamespace(sessions=limits, drained=asyncio.Event(), observer=NOBODY)
    line: Any = LineOfOneMessage()

    async def converse() -> Ending:
        return await TimesOut(line, state, place=None).converse()  # type: ignore[arg-type]

    assert asyncio.run(converse()) == HANGING
    assert line.told == [HANGING.error]
