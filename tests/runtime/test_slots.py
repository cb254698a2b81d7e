"""Places: first come, first served; nothing is lost on any way out."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from molva.errors import Busy, ShuttingDown
from molva.runtime.slots import Slots


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(test())


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_those_who_wait_are_served_in_turn() -> None:
    async def test() -> None:
        slots, order = Slots(1, max_waiting=9, timeout_s=9), list[int]()

        async def use(number: int) -> None:
            await slots.acquire()
            order.append(number)
            await asyncio.sleep(0)
            slots.release()

        await asyncio.gather(*(use(i) for i in range(9)))
        assert order == list(range(9))
        assert (slots.available, slots.waiting) == (1, 0)

    run(test)


def test_waiting_has_an_end() -> None:
    async def test() -> None:
        slots = Slots(1, max_waiting=1, timeout_s=0.01)
        await slots.acquire()
        with pytest.raises(Busy) as caught:
            await slots.acquire()
        assert caught.value.retry_after_s == 0.01
        slots.release()
        assert (slots.available, slots.waiting) == (1, 0)

    run(test)


def test_too_many_do_not_wait_at_all() -> None:
    async def test() -> None:
        slots = Slots(1, max_waiting=0, timeout_s=60)
        await slots.acquire()
        with pytest.raises(Busy):
            await asyncio.wait_for(slots.acquire(), 1)

    run(test)


@pytest.mark.parametrize("handed_over", [False, True])
def test_a_waiter_who_leaves_loses_no_place(handed_over: bool) -> None:
    """Also when the place was handed to it in the same instant."""

    async def test() -> None:
        slots = Slots(1, max_waiting=9, timeout_s=9)
        await slots.acquire()
        waiter = asyncio.create_task(slots.acquire())
        await settle()
        if handed_over:
            slots.release()
        waiter.cancel()
        await asyncio.gather(waiter, return_exceptions=True)
        if not handed_over:
            slots.release()
        assert (slots.available, slots.waiting) == (1, 0)

    run(test)


def test_a_place_that_comes_at_the_very_end_of_the_wait_is_not_lost() -> None:
    """The place is handed over and the time is up in one round of the event loop."""

    async def test() -> None:
        slots = Slots(1, max_waiting=9, timeout_s=0.02)
        await slots.acquire()
        asyncio.get_running_loop().call_later(0.01, slots.release)
        waiter = asyncio.create_task(slots.acquire())
        await settle()
        time.sleep(0.05)  # noqa: ASYNC251 - both moments pass while the loop is held up
        with pytest.raises(Busy):
            await waiter
        assert (slots.available, slots.waiting) == (1, 0)

    run(test)


def test_closing_sends_everybody_away() -> None:
    async def test() -> None:
        slots = Slots(1, max_waiting=9, timeout_s=9)
        await slots.acquire()
        waiters = [asyncio.create_task(slots.acquire()) for _ in range(3)]
        await settle()
        slots.close()
        outcomes = await asyncio.gather(*waiters, return_exceptions=True)
        assert all(isinstance(outcome, ShuttingDown) for outcome in outcomes)
        with pytest.raises(ShuttingDown):
            await slots.acquire()

    run(test)


def test_more_places_let_in_those_who_wait() -> None:
    async def test() -> None:
        slots = Slots(1, max_waiting=9, timeout_s=9)
        await slots.acquire()
        waiting = asyncio.ensure_future(slots.acquire())
        await settle()
        slots.resize(2)
        await waiting
        assert (slots.total, slots.available) == (2, 0)

    run(test)


def test_fewer_places_let_nobody_in_until_enough_have_gone() -> None:
    async def test() -> None:
        slots = Slots(3, max_waiting=9, timeout_s=9)
        for _ in range(3):
            await slots.acquire()
        slots.resize(1)
        waiting = asyncio.ensure_future(slots.acquire())
        for _ in range(2):
            slots.release()
            await settle()
            assert not waiting.done()
        slots.release()
        await waiting
        assert (slots.taken, slots.available) == (1, 0)

    run(test)
