"""Frames and heartbeats."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from starlette.types import Message

from molva.http.sse import EventStream, data_frame, event_frame, with_heartbeats


def test_a_frame_is_one_line_of_compact_json_and_a_blank_one() -> None:
    assert data_frame({"text": "да\nнет", "n": [1, 2]}) == 'data: {"text":"да\\nнет","n":[1,2]}\n\n'.encode()


def test_a_named_frame_has_its_name_first() -> None:
    assert event_frame("done", {"n": 1}) == b'event: done\ndata: {"n":1}\n\n'


def test_silence_is_filled_with_comments_and_no_frame_is_lost() -> None:
    async def slow() -> AsyncIterator[bytes]:
        for number in range(3):
            await asyncio.sleep(0.05)
            yield b"%d" % number

    async def collect() -> list[bytes]:
        return [frame async for frame in with_heartbeats(slow(), interval_s=0.01)]

    frames = asyncio.run(collect())
    assert [frame for frame in frames if frame != b":\n\n"] == [b"0", b"1", b"2"]
    assert frames[0] == b":\n\n"


def test_an_error_of_the_source_passes() -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"1"
        raise ValueError("broken")

    async def collect() -> None:
        async for _ in with_heartbeats(broken()):
            pass

    with pytest.raises(ValueError, match="broken"):
        asyncio.run(collect())


def test_a_stream_that_is_cancelled_twice_says_its_last_word_and_leaves_its_work() -> None:
    async def run() -> tuple[list[Any], list[str]]:
        sent, left, streaming, leaving = [], [], asyncio.Event(), asyncio.Event()

        async def frames() -> AsyncIterator[bytes]:
            yield b"first"
            streaming.set()
            await asyncio.sleep(60)

        async def send(message: Message) -> None:
            sent.append(message.get("body"))

        async def receive() -> Message:
            await asyncio.sleep(60)
            return {"type": "http.disconnect"}

        async def leave_slowly() -> None:
            leaving.set()
            try:
                await asyncio.sleep(60)
            finally:
                left.append("slowly")

        work = AsyncExitStack()
        work.callback(left.append, "at last")
        work.push_async_callback(leave_slowly)
        task = asyncio.ensure_future(EventStream(frames(), work, cut=b"cut")({"type": "http"}, receive, send))
        await streaming.wait()
        task.cancel()
        await leaving.wait()
        task.cancel()
        await task
        return sent, left

    assert asyncio.run(run()) == ([None, b"first", b"cut"], ["slowly", "at last"])
