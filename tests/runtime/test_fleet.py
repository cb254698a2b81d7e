"""Which models are in memory."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from molva.engines.fake import FakeEngine
from molva.errors import Busy, ModelFilesInvalid
from molva.runtime.fleet import Fleet
from molva.runtime.scheduler import Lane, Scheduler


@dataclass
class Loader:
    """Loads a fake for any name but `broken`; waits where it is told to."""

    scheduler: Scheduler = field(default_factory=lambda: Scheduler(1))
    loaded: list[str] = field(default_factory=list)
    may_go: threading.Event = field(default_factory=threading.Event)

    def __call__(self, name: str) -> Lane:
        assert self.may_go.wait(20)
        self.loaded.append(name)
        if name == "broken":
            raise ModelFilesInvalid("encoder.onnx", "is damaged")
        return self.scheduler.lane(FakeEngine())


@pytest.fixture
def loader() -> Iterator[Loader]:
    loader = Loader()
    loader.may_go.set()
    yield loader
    loader.may_go.set()
    loader.scheduler.close()


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(test())


def test_a_model_is_loaded_once_for_all_who_ask(loader: Loader) -> None:
    async def test() -> None:
        fleet = Fleet(loader, max_loaded=2, timeout_s=5)
        leases = await asyncio.gather(*(fleet.lease("a") for _ in range(5)))
        assert loader.loaded == ["a"]
        assert len({id(lease.lane) for lease in leases}) == 1

    run(test)


def test_the_idle_model_that_was_used_longest_ago_makes_room(loader: Loader) -> None:
    async def test() -> None:
        fleet = Fleet(loader, max_loaded=2, timeout_s=5)
        for name in ("a", "b", "a"):
            (await fleet.lease(name)).release()
        (await fleet.lease("c")).release()
        assert fleet.names == ["a", "c"]

    run(test)


def test_a_model_in_use_stays(loader: Loader) -> None:
    async def test() -> None:
        fleet = Fleet(loader, max_loaded=2, timeout_s=5)
        await fleet.lease("a")
        (await fleet.lease("b")).release()
        await fleet.lease("c")
        assert fleet.names == ["a", "c"]

    run(test)


def test_who_needs_room_waits_for_a_lease_to_be_given_back(loader: Loader) -> None:
    async def test() -> None:
        fleet = Fleet(loader, max_loaded=1, timeout_s=20)
        first, second = await fleet.lease("a"), await fleet.lease("a")
        waiting = asyncio.ensure_future(fleet.lease("b"))
        first.release()
        for _ in range(5):
            await asyncio.sleep(0)
        assert not waiting.done()
        second.release()
        await waiting
        assert fleet.names == ["b"]

    run(test)


def test_waiting_for_room_has_an_end(loader: Loader) -> None:
    async def test() -> None:
        fleet = Fleet(loader, max_loaded=1, timeout_s=0.01)
        await fleet.lease("a")
        with pytest.raises(Busy):
            await fleet.lease("b")
        (await fleet.lease("a")).release()

    run(test)


def test_a_model_that_cannot_be_loaded_is_told_to_all_who_wait_and_takes_no_room(loader: Loader) -> None:
    async def test() -> None:
        fleet = Fleet(loader, max_loaded=1, timeout_s=5)
        told = await asyncio.gather(*(fleet.lease("broken") for _ in range(3)), return_exceptions=True)
        assert [type(error) for error in told] == [ModelFilesInvalid] * 3
        (await fleet.lease("a")).release()

    run(test)


def test_who_goes_away_does_not_stop_the_loading_for_others(loader: Loader) -> None:
    async def test() -> None:
        loader.may_go.clear()
        fleet = Fleet(loader, max_loaded=1, timeout_s=5)
        gone, stays = (asyncio.ensure_future(fleet.lease("a")) for _ in range(2))
        await asyncio.sleep(0)
        gone.cancel()
        loader.may_go.set()
        await stays
        assert loader.loaded == ["a"]

    run(test)


def test_no_more_are_loaded_than_fit_whoever_asks(loader: Loader) -> None:
    async def test() -> None:
        fleet = Fleet(loader, max_loaded=2, timeout_s=20)
        most = 0

        async def use(name: str) -> None:
            nonlocal most
            lease = await fleet.lease(name)
            most = max(most, len(fleet.names))
            await asyncio.sleep(0)
            lease.release()

        await asyncio.gather(*(use(f"model-{i % 7}") for i in range(50)))
        assert most <= 2

    run(test)
