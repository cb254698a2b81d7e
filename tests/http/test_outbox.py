"""The queue of messages to one client."""

import asyncio
import json
from typing import Any

import pytest

from molva.http.outbox import MAX_MESSAGES, Outbox


def final(text: str) -> dict[str, Any]:
    return {"type": "final", "text": text}


def partial(text: str) -> dict[str, Any]:
    return {"type": "partial", "text": text}


class Reader:
    """The other end of an outbox, which reads when it is let."""

    def __init__(self, *, reads: bool = True) -> None:
        self.told: list[str] = []
        """Texts that were sent, in order."""
        self.given_up = 0
        self.may_read = asyncio.Event()
        self.asked = asyncio.Event()
        """Whether a message waits for the client."""
        if reads:
            self.may_read.set()
        self.outbox = Outbox(self._send, self._give_up)

    async def _send(self, text: str) -> None:
        self.asked.set()
        await self.may_read.wait()
        self.told.append(json.loads(text)["text"])

    def _give_up(self) -> None:
        self.given_up += 1

    async def read_all(self) -> list[str]:
        """Let the client read, until nothing waits."""
        self.may_read.set()
        sending = asyncio.ensure_future(self.outbox.run())
        await self.outbox.flushed()
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        return self.told


def test_messages_keep_their_order() -> None:
    async def scenario() -> list[str]:
        reader = Reader()
        for i in range(5):
            reader.outbox.put(final(str(i)))
        return await reader.read_all()

    assert asyncio.run(scenario()) == ["0", "1", "2", "3", "4"]


def test_a_newer_partial_takes_the_place_of_one_that_waits() -> None:
    async def scenario() -> list[str]:
        reader = Reader()
        for message in (final("a"), partial("b"), partial("b c"), partial("b c d")):
            reader.outbox.put(message)
        return await reader.read_all()

    assert asyncio.run(scenario()) == ["a", "b c d"]


def test_a_partial_takes_no_others_place() -> None:
    """Neither that of a final, nor that of a partial before it, which is about another utterance."""

    async def scenario() -> list[str]:
        reader = Reader()
        for message in (partial("a"), final("a b"), partial("c"), {"type": "error", "text": "!"}, partial("c d")):
            reader.outbox.put(message)
        return await reader.read_all()

    assert asyncio.run(scenario()) == ["a", "a b", "c", "!", "c d"]


def test_a_partial_that_is_being_sent_stays() -> None:
    async def scenario() -> list[str]:
        reader = Reader(reads=False)
        sending = asyncio.ensure_future(reader.outbox.run())
        reader.outbox.put(partial("a"))
        await reader.asked.wait()
        reader.outbox.put(partial("a b"))
        reader.outbox.put(partial("a b c"))
        reader.may_read.set()
        await reader.outbox.flushed()
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        return reader.told

    assert asyncio.run(scenario()) == ["a", "a b c"]


def test_a_client_too_far_behind_is_given_up_once() -> None:
    async def scenario() -> tuple[int, int, list[str]]:
        reader = Reader()
        for i in range(MAX_MESSAGES):
            reader.outbox.put(final(str(i)))
        before = reader.given_up
        for _ in range(3):
            reader.outbox.put(final("too much"))
        return before, reader.given_up, await reader.read_all()

    before, after, told = asyncio.run(scenario())
    assert (before, after) == (0, 1)
    assert told == [str(i) for i in range(MAX_MESSAGES)]


def test_a_full_queue_still_takes_a_partial_in_the_place_of_another() -> None:
    async def scenario() -> tuple[int, list[str]]:
        reader = Reader()
        for i in range(MAX_MESSAGES - 1):
            reader.outbox.put(final(str(i)))
        reader.outbox.put(partial("a"))
        reader.outbox.put(partial("a b"))
        return reader.given_up, await reader.read_all()

    given_up, told = asyncio.run(scenario())
    assert given_up == 0
    assert told[-1] == "a b"


def test_flushed_waits_for_the_last_message() -> None:
    async def scenario() -> tuple[bool, list[str]]:
        reader = Reader(reads=False)
        await reader.outbox.flushed()  # nothing waits yet
        sending = asyncio.ensure_future(reader.outbox.run())
        reader.outbox.put(final("a"))
        flushed = asyncio.ensure_future(reader.outbox.flushed())
        await reader.asked.wait()
        early = flushed.done()
        reader.may_read.set()
        await flushed
        told = list(reader.told)
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        return early, told

    assert asyncio.run(scenario()) == (False, ["a"])


def test_the_senders_failure_ends_the_run() -> None:
    async def gone(_text: str) -> None:
        raise ConnectionError

    async def scenario() -> None:
        outbox = Outbox(gone, lambda: None)
        outbox.put(final("a"))
        await outbox.run()

    with pytest.raises(ConnectionError):
        asyncio.run(scenario())


def test_russian_text_goes_as_it_is_and_without_spaces() -> None:
    async def scenario() -> list[str]:
        sent: list[str] = []

        async def send(text: str) -> None:
            sent.append(text)

        outbox = Outbox(send, lambda: None)
        outbox.put(final("Привет, мир"))
        sending = asyncio.ensure_future(outbox.run())
        await outbox.flushed()
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        return sent

    assert asyncio.run(scenario()) == ['{"type":"final","text":"Привет, мир"}']
