"""Which models are in memory, and the life of each."""

import asyncio
import gc
import threading
import weakref
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from molva.engines.fake import FakeEngine
from molva.errors import Busy, ModelError, ModelFilesInvalid, ModelNotReady
from molva.runtime.fleet import Fleet, Lease
from molva.runtime.gpu import GpuPatience
from molva.runtime.scheduler import Lane, Scheduler

GPU = GpuPatience(poll_interval_s=0.01, needed_mb=lambda _: 100)
FULL = ModelError("CUDA failed with error out of memory")


@dataclass
class Loader:
    """Loads a fake for any name but `broken`; waits where it is told to, and raises the next error where there is."""

    scheduler: Scheduler = field(default_factory=lambda: Scheduler(1))
    loaded: list[str] = field(default_factory=list)
    engines: list["weakref.ref[FakeEngine]"] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)
    begun: threading.Event = field(default_factory=threading.Event)
    may_go: threading.Event = field(default_factory=threading.Event)

    def __call__(self, name: str) -> Lane:
        self.begun.set()
        assert self.may_go.wait(20)
        self.loaded.append(name)
        if name == "broken":
            raise ModelFilesInvalid("encoder.onnx", "is damaged")
        if self.errors:
            raise self.errors.pop(0)
        engine = FakeEngine()
        self.engines.append(weakref.ref(engine))
        return self.scheduler.lane(engine)


@pytest.fixture
def loader() -> Iterator[Loader]:
    loader = Loader()
    loader.may_go.set()
    yield loader
    loader.may_go.set()
    loader.scheduler.close()


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(test())


async def lease(fleet: Fleet, name: str, *, timeout_s: float | None = 20) -> Lease:
    return await fleet.lease(name, timeout_s=timeout_s)


def names(fleet: Fleet) -> list[str]:
    return [model.name for model in fleet.in_memory]


def states(fleet: Fleet, name: str = "a") -> list[str]:
    """Filled with the states of a model as it comes into them."""
    seen: list[str] = []
    fleet.watchers.append(lambda model, state: seen.append(state.state) if model == name else None)
    return seen


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - it is told from threads too
            await asyncio.sleep(0.002)


def test_a_model_is_loaded_once_for_all_who_ask(loader: Loader) -> None:
    async def test() -> None:
        fleet = Fleet(loader, max_loaded=2)
        leases = await asyncio.gather(*(lease(fleet, "a") for _ in range(5)))
        assert loader.loaded == ["a"]
        assert len({id(held.lane) for held in leases}) == 1

    run(test)


def test_the_idle_model_that_was_used_longest_ago_makes_room(loader: Loader) -> None:
    async def test() -> None:
        fleet = Fleet(loader, max_loaded=2)
        for name in ("a", "b", "a"):
            (await lease(fleet, name)).release()
        (await lease(fleet, "c")).release()
        assert names(fleet) == ["a", "c"]

    run(test)


def test_a_model_in_use_stays(loader: Loader) -> None:
    async def test() -> None:
        fleet = Fleet(loader, max_loaded=2)
        await lease(fleet, "a")
        (await lease(fleet, "b")).release()
        await lease(fleet, "c")
        assert names(fleet) == ["a", "c"]

    run(test)


def test_who_needs_room_waits_for_a_lease_to_be_given_back(loader: Loader) -> None:
    async def test() -> None:
        fleet = Fleet(loader, max_loaded=1)
        first, second = await lease(fleet, "a"), await lease(fleet, "a")
        waiting = asyncio.ensure_future(lease(fleet, "b"))
        first.release()
        for _ in range(5):
            await asyncio.sleep(0)
        assert not waiting.done()
        second.release()
        await waiting
        assert names(fleet) == ["b"]

    run(test)


def test_waiting_for_room_has_an_end(loader: Loader) -> None:
    async def test() -> None:
        fleet = Fleet(loader, max_loaded=1)
        await lease(fleet, "a")
        with pytest.raises(Busy):
            await lease(fleet, "b", timeout_s=0.01)
        (await lease(fleet, "a")).release()

    run(test)


def test_a_model_that_cannot_be_loaded_is_told_to_all_who_wait_and_takes_no_room(loader: Loader) -> None:
    async def test() -> None:
        fleet = Fleet(loader, max_loaded=1)
        told = await asyncio.gather(*(lease(fleet, "broken") for _ in range(3)), return_exceptions=True)
        assert [type(error) for error in told] == [ModelFilesInvalid] * 3
        (await lease(fleet, "a")).release()

    run(test)


def test_who_goes_away_does_not_stop_the_loading_for_others(loader: Loader) -> None:
    async def test() -> None:
        loader.may_go.clear()
        fleet = Fleet(loader, max_loaded=1)
        gone, stays = (asyncio.ensure_future(lease(fleet, "a")) for _ in range(2))
        await asyncio.sleep(0)
        gone.cancel()
        loader.may_go.set()
        await stays
        assert loader.loaded == ["a"]

    run(test)


def test_no_more_are_loaded_than_fit_whoever_asks(loader: Loader) -> None:
    async def test() -> None:
        fleet = Fleet(loader, max_loaded=2)
        most = 0

        async def use(name: str) -> None:
            nonlocal most
            held = await lease(fleet, name)
            most = max(most, len(names(fleet)))
            await asyncio.sleep(0)
            held.release()

        await asyncio.gather(*(use(f"model-{i % 7}") for i in range(50)))
        assert most <= 2

    run(test)


class TestLife:
    def test_it_goes_from_unloaded_over_loading_to_ready(self, loader: Loader) -> None:
        async def test() -> None:
            fleet = Fleet(loader, max_loaded=1)
            seen = states(fleet)
            assert fleet.state("a").state == "unloaded"
            fleet.begin_load("a")
            assert fleet.state("a").state == "loading"
            await until(lambda: fleet.state("a").state == "ready")
            assert fleet.state("a").loaded_at is not None
            assert seen == ["loading", "ready"]

        run(test)

    def test_a_load_that_nobody_waits_for_is_begun_once(self, loader: Loader) -> None:
        async def test() -> None:
            fleet = Fleet(loader, max_loaded=1)
            for _ in range(3):
                fleet.begin_load("a")
            await until(lambda: fleet.state("a").state == "ready")
            fleet.begin_load("a")
            (await lease(fleet, "a")).release()
            assert loader.loaded == ["a"]

        run(test)

    def test_a_load_that_nobody_waits_for_waits_for_room(self, loader: Loader) -> None:
        async def test() -> None:
            fleet = Fleet(loader, max_loaded=1)
            held = await lease(fleet, "b")
            fleet.begin_load("a")
            assert fleet.state("a").state == "loading"
            held.release()
            await until(lambda: fleet.state("a").state == "ready")
            assert names(fleet) == ["a"]

        run(test)

    def test_unload_takes_back_a_load_that_waits_for_room(self, loader: Loader) -> None:
        async def test() -> None:
            fleet = Fleet(loader, max_loaded=1)
            held = await lease(fleet, "b")
            fleet.begin_load("a")
            fleet.unload("a")
            assert fleet.state("a").state == "unloaded"
            held.release()
            await asyncio.sleep(0.02)
            assert loader.loaded == ["b"]

        run(test)

    def test_a_failed_load_leaves_it_unloaded(self, loader: Loader) -> None:
        async def test() -> None:
            fleet = Fleet(loader, max_loaded=1)
            seen = states(fleet, "broken")
            fleet.begin_load("broken")
            await until(lambda: fleet.state("broken").state == "unloaded")
            assert seen == ["loading", "unloaded"]

        run(test)

    def test_facts_stay_known_when_it_is_unloaded(self, loader: Loader) -> None:
        async def test() -> None:
            fleet = Fleet(loader, max_loaded=1)
            assert fleet.info("a") is None
            (await lease(fleet, "a")).release()
            fleet.unload("a")
            info = fleet.info("a")
            assert info is not None
            assert info.model == "fake"

        run(test)

    def test_a_caller_who_waits_too_long_is_told_and_the_load_goes_on(self, loader: Loader) -> None:
        async def test() -> None:
            loader.may_go.clear()
            fleet = Fleet(loader, max_loaded=1)
            with pytest.raises(Busy) as told:
                await lease(fleet, "a", timeout_s=0.01)
            assert told.value.retry_after_s == 0.01
            loader.may_go.set()
            await until(lambda: fleet.state("a").state == "ready")

        run(test)


class TestUnload:
    def test_nobody_has_the_engine_afterwards(self, loader: Loader) -> None:
        async def test() -> None:
            fleet = Fleet(loader, max_loaded=1)
            held = await lease(fleet, "a")
            held.release()  # who has it may forget it late
            fleet.unload("a")
            assert fleet.state("a").state == "unloaded"
            await until(lambda: loader.engines[0]() is None)

        gc.disable()  # no cycle may be what frees it
        try:
            run(test)
        finally:
            gc.enable()

    def test_it_waits_for_those_who_use_the_model(self, loader: Loader) -> None:
        async def test() -> None:
            fleet = Fleet(loader, max_loaded=1)
            first, second = await lease(fleet, "a"), await lease(fleet, "a")
            fleet.unload("a")
            first.release()
            assert fleet.state("a").state == "ready"
            second.release()
            assert fleet.state("a").state == "unloaded"

        run(test)

    def test_who_comes_meanwhile_is_served_and_waited_for(self, loader: Loader) -> None:
        async def test() -> None:
            fleet = Fleet(loader, max_loaded=1)
            first = await lease(fleet, "a")
            fleet.unload("a")
            second = await lease(fleet, "a")
            first.release()
            assert fleet.state("a").state == "ready"
            second.release()
            assert fleet.state("a").state == "unloaded"
            assert loader.loaded == ["a"]

        run(test)

    def test_a_load_takes_it_back(self, loader: Loader) -> None:
        async def test() -> None:
            fleet = Fleet(loader, max_loaded=1)
            held = await lease(fleet, "a")
            fleet.unload("a")
            fleet.begin_load("a")
            held.release()
            assert fleet.state("a").state == "ready"

        run(test)

    def test_of_what_is_not_in_memory_leaves_the_next_load_alone(self, loader: Loader) -> None:
        async def test() -> None:
            fleet = Fleet(loader, max_loaded=1)
            seen = states(fleet)
            fleet.unload("a")
            fleet.begin_load("a")
            await until(lambda: fleet.state("a").state == "ready")
            assert seen == ["loading", "ready"]

        run(test)

    def test_during_loading_it_comes_after_the_attempt(self, loader: Loader) -> None:
        async def test() -> None:
            loader.may_go.clear()
            fleet = Fleet(loader, max_loaded=1)
            seen = states(fleet)
            fleet.begin_load("a")
            fleet.unload("a")
            assert fleet.state("a").state == "loading"
            loader.may_go.set()
            await until(lambda: fleet.state("a").state == "unloaded")
            assert seen == ["loading", "unloaded"]
            await until(lambda: loader.engines[0]() is None)

        run(test)

    def test_during_loading_those_who_wait_are_served_first(self, loader: Loader) -> None:
        async def test() -> None:
            loader.may_go.clear()
            fleet = Fleet(loader, max_loaded=1)
            waiting = asyncio.ensure_future(lease(fleet, "a"))
            await until(loader.begun.is_set)
            fleet.unload("a")
            loader.may_go.set()
            held = await waiting
            assert fleet.state("a").state == "ready"
            held.release()
            assert fleet.state("a").state == "unloaded"

        run(test)

    def test_it_is_loaded_anew_for_the_next_who_asks(self, loader: Loader) -> None:
        async def test() -> None:
            fleet = Fleet(loader, max_loaded=1)
            for _ in range(3):
                (await lease(fleet, "a")).release()
                fleet.unload("a")
            assert loader.loaded == ["a"] * 3

        run(test)


class TestIdle:
    def test_it_goes_when_nobody_has_used_it_for_the_time(self, loader: Loader) -> None:
        async def test() -> None:
            fleet = Fleet(loader, max_loaded=1, idle_timeout_s=0.02)
            fleet.begin_load("a")
            await until(lambda: fleet.state("a").state == "ready")
            await until(lambda: fleet.state("a").state == "unloaded")

        run(test)

    def test_the_clock_stands_while_somebody_uses_it(self, loader: Loader) -> None:
        async def test() -> None:
            fleet = Fleet(loader, max_loaded=1, idle_timeout_s=0.02)
            held = await lease(fleet, "a")
            await asyncio.sleep(0.1)
            assert fleet.state("a").state == "ready"
            held.release()
            await until(lambda: fleet.state("a").state == "unloaded")

        run(test)

    def test_each_use_starts_the_clock_anew(self, loader: Loader) -> None:
        async def test() -> None:
            loop = asyncio.get_running_loop()
            fleet = Fleet(loader, max_loaded=1, idle_timeout_s=0.3)
            dropped: list[float] = []
            fleet.watchers.append(lambda _, state: dropped.append(loop.time()) if state.state == "unloaded" else None)
            for _ in range(3):
                (await lease(fleet, "a")).release()
                await asyncio.sleep(0.05)
            released = loop.time() - 0.05
            await until(lambda: bool(dropped))
            assert dropped[0] - released >= 0.29
            assert loader.loaded == ["a"]

        run(test)

    def test_without_a_time_it_stays(self, loader: Loader) -> None:
        async def test() -> None:
            fleet = Fleet(loader, max_loaded=1)
            (await lease(fleet, "a")).release()
            await asyncio.sleep(0.05)
            assert fleet.state("a").state == "ready"

        run(test)

    @pytest.mark.parametrize("before", [None, 60])
    def test_another_time_holds_for_models_that_are_idle_already(self, loader: Loader, before: float | None) -> None:
        async def test() -> None:
            fleet = Fleet(loader, max_loaded=1, idle_timeout_s=before)
            (await lease(fleet, "a")).release()
            fleet.change_idle_timeout(0.02)
            await until(lambda: names(fleet) == [])

        run(test)

    def test_no_time_at_all_keeps_a_model_whose_clock_runs(self, loader: Loader) -> None:
        async def test() -> None:
            fleet = Fleet(loader, max_loaded=1, idle_timeout_s=0.05)
            (await lease(fleet, "a")).release()
            fleet.change_idle_timeout(None)
            await asyncio.sleep(0.2)
            assert names(fleet) == ["a"]

        run(test)


class TestGpu:
    def test_it_waits_for_memory_and_tries_again(self, loader: Loader) -> None:
        async def test() -> None:
            loader.errors = [FULL, FULL]
            fleet = Fleet(loader, max_loaded=1, gpu=GPU)
            seen = states(fleet)
            (await lease(fleet, "a")).release()
            assert seen == ["loading", "waiting_for_gpu", "loading", "waiting_for_gpu", "loading", "ready"]

        run(test)

    def test_the_state_tells_what_is_missing(self, loader: Loader) -> None:
        async def test() -> None:
            loader.errors = [FULL]
            fleet = Fleet(loader, max_loaded=1, gpu=GpuPatience(60, lambda _: 2048))
            fleet.begin_load("a")
            await until(lambda: fleet.state("a").state == "waiting_for_gpu")
            state = fleet.state("a")
            assert state.retry_after_s == 60
            assert state.shortage is not None
            assert (state.shortage.needed_mb, state.shortage.retry_in_s) == (2048, 60)

        run(test)

    def test_unload_ends_the_wait_at_once_for_all(self, loader: Loader) -> None:
        async def test() -> None:
            loader.errors = [FULL]
            fleet = Fleet(loader, max_loaded=1, gpu=GpuPatience(60, lambda _: None))
            waiting = asyncio.ensure_future(lease(fleet, "a"))
            await until(lambda: fleet.state("a").state == "waiting_for_gpu")
            fleet.unload("a")
            assert fleet.state("a").state == "unloaded"
            with pytest.raises(ModelNotReady):
                await waiting
            assert loader.loaded == ["a"]

        run(test)

    def test_unload_during_an_attempt_that_finds_no_memory_is_the_last(self, loader: Loader) -> None:
        async def test() -> None:
            loader.may_go.clear()
            loader.errors = [FULL]
            fleet = Fleet(loader, max_loaded=1, gpu=GPU)
            seen = states(fleet)
            fleet.begin_load("a")
            await until(loader.begun.is_set)
            fleet.unload("a")
            loader.may_go.set()
            await until(lambda: fleet.state("a").state == "unloaded")
            assert seen == ["loading", "unloaded"]

        run(test)

    def test_a_model_that_waits_with_nobody_waiting_makes_room(self, loader: Loader) -> None:
        async def test() -> None:
            loader.errors = [FULL]
            fleet = Fleet(loader, max_loaded=1, gpu=GpuPatience(60, lambda _: None))
            fleet.begin_load("a")
            await until(lambda: fleet.state("a").state == "waiting_for_gpu")
            (await lease(fleet, "b")).release()
            assert names(fleet) == ["b"]

        run(test)

    @pytest.mark.parametrize(("gpu", "error"), [(None, FULL), (GPU, ModelError("is damaged"))])
    def test_other_errors_and_other_devices_do_not_wait(
        self, loader: Loader, gpu: GpuPatience | None, error: Exception
    ) -> None:
        async def test() -> None:
            loader.errors = [error]
            fleet = Fleet(loader, max_loaded=1, gpu=gpu)
            with pytest.raises(ModelError, match=str(error)):
                await lease(fleet, "a")
            assert fleet.state("a").state == "unloaded"

        run(test)

    def test_what_a_failed_attempt_had_in_hand_is_let_go(self, loader: Loader) -> None:
        class Half:
            """Half a model."""

        halves: list[weakref.ref[Half]] = []

        def load(name: str) -> Lane:
            if halves:
                return loader(name)
            half = Half()
            halves.append(weakref.ref(half))
            raise ModelError("CUDA error: out of memory")

        async def test() -> None:
            fleet = Fleet(load, max_loaded=1, gpu=GpuPatience(60, lambda _: None))
            fleet.begin_load("a")
            await until(lambda: fleet.state("a").state == "waiting_for_gpu")
            assert halves[0]() is None
            fleet.unload("a")

        run(test)


def test_a_thread_that_ends_while_it_loads_is_told_to_who_waits(loader: Loader) -> None:
    async def test() -> None:
        fleet = Fleet(load, max_loaded=1)
        with pytest.raises(RuntimeError, match="SystemExit"):
            await lease(fleet, "a")
        assert fleet.state("a").state == "unloaded"
        (await lease(fleet, "a")).release()

    def load(name: str) -> Lane:
        if not loader.loaded:
            loader.loaded.append(name)
            raise SystemExit
        return loader(name)

    run(test)


def test_a_shortage_that_cannot_be_measured_is_told_to_who_waits(loader: Loader) -> None:
    def needed_mb(_name: str) -> int:
        raise ModelFilesInvalid("encoder.onnx", "is gone")

    async def test() -> None:
        loader.errors.append(FULL)
        fleet = Fleet(loader, max_loaded=1, gpu=GpuPatience(poll_interval_s=0.01, needed_mb=needed_mb))
        with pytest.raises(ModelFilesInvalid):
            await lease(fleet, "a")
        assert fleet.state("a").state == "unloaded"

    run(test)
