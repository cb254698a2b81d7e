"""All models and the life of each: loaded when asked for, dropped when idle, when told to, and when room is needed.

Lives on the event loop; loading and dropping run in threads, one at a time.
"""

import asyncio
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from molva.engines.base import EngineInfo
from molva.errors import Busy, MolvaError
from molva.runtime.gpu import GpuPatience, Shortage, is_out_of_memory
from molva.runtime.memory import give_memory_back
from molva.runtime.model_state import LOADING, UNLOADED, ModelState, State
from molva.runtime.scheduler import Lane
from molva.threads import as_exception

log = logging.getLogger(__name__)

T = TypeVar("T")

Watcher = Callable[[str, ModelState], None]
"""Told a model's name and its new state, on the event loop."""


class InMemory(NamedTuple):
    """A model in memory or on its way there."""

    name: str
    state: State
    users: int
    """Leases, and those who wait for the model."""


@dataclass(eq=False)
class _Model:
    name: str
    arrived: "asyncio.Future[Lane]"
    """Has the lane once the model is loaded, or the reason why it will not be."""
    state: ModelState = UNLOADED
    users: int = 0
    going: bool = False
    """Whether it is dropped as soon as nobody uses it."""
    loading: "asyncio.Task[None] | None" = None
    idle: asyncio.TimerHandle | None = None


class Lease:
    """One caller's right to a loaded model, which stays loaded until the last lease is given back."""

    def __init__(self, fleet: "Fleet", model: _Model) -> None:
        self._fleet = fleet
        self._model = model
        self.lane = model.arrived.result()

    def release(self) -> None:
        """Give it back, once."""
        self._fleet.release(self._model)


class Fleet:
    """Models by name, at most `max_loaded` of them in memory."""

    def __init__(
        self,
        load: Callable[[str], Lane],
        *,
        max_loaded: int,
        idle_timeout_s: float | None = None,
        gpu: GpuPatience | None = None,
    ) -> None:
        """`load` brings a model and warms it up; it is blocking and raises ModelError.

        `idle_timeout_s`: a model that nobody uses for so long is dropped; None keeps it. `gpu`: how to wait for the
        memory of a GPU; without one it is an error when memory runs out.
        """
        self._load = load
        self._max_loaded = max_loaded
        self._idle_timeout_s = idle_timeout_s
        self._gpu = gpu
        self.watchers: list[Watcher] = []
        self._infos: dict[str, EngineInfo] = {}
        self._models: OrderedDict[str, _Model] = OrderedDict()
        """The one used last is the last."""
        self._awaited: dict[str, asyncio.Task[None]] = {}
        """Models that wait for room, and that nobody waits for."""
        self._dropping: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()

    @property
    def in_memory(self) -> list[InMemory]:
        """Models in memory or on their way there; the one used last is the last."""
        return [InMemory(name, model.state.state, model.users) for name, model in self._models.items()]

    def state(self, name: str) -> ModelState:
        """Where a model is in its life."""
        if name in self._models:
            return self._models[name].state
        return LOADING if name in self._awaited else UNLOADED

    def info(self, name: str) -> EngineInfo | None:
        """Facts about a model as it was when it was loaded last; None before that."""
        return self._infos.get(name)

    def lane(self, name: str) -> Lane | None:
        """The way to a model that is ready, without a lease: to look, not to use."""
        model = self._models.get(name)
        return model.arrived.result() if model is not None and model.state.state == "ready" else None

    async def lease(self, name: str, *, timeout_s: float | None) -> Lease:
        """A model, loaded first where it is not; also one that is to go, which then goes later.

        Raises ModelError; Busy when there is no model after `timeout_s` because others stay in use, loading takes
        long or the GPU has no memory; ModelNotReady when it is unloaded while it waits for the GPU.
        """
        try:
            async with asyncio.timeout(timeout_s):
                return await self._lease(name)
        except TimeoutError:
            raise Busy(timeout_s or 0) from None

    def release(self, model: _Model) -> None:
        """What `Lease.release` does."""
        model.users -= 1
        self._settle(model)
        self._changed.set()

    def begin_load(self, name: str) -> None:
        """Load a model that nobody waits for. Takes a wish to unload it back; changes nothing where it is coming."""
        if name in self._models:
            self._models[name].going = False
        elif self._has_room():
            self._begin(name)
        elif name not in self._awaited:
            self._awaited[name] = asyncio.ensure_future(self._begin_with_room(name))

    def unload(self, name: str) -> None:
        """Drop a model: at once, or after those who use it now or wait for it. Nothing where it is not in memory."""
        if awaited := self._awaited.pop(name, None):
            awaited.cancel()
        model = self._models.get(name)
        if model is None:
            return
        if model.state.state == "waiting_for_gpu":
            self._stop_waiting(model)
        else:
            model.going = True
            self._settle(model)

    def change_idle_timeout(self, idle_timeout_s: float | None) -> None:
        """Another time that an unused model stays. It begins anew for those that nobody uses now."""
        if idle_timeout_s != self._idle_timeout_s:
            self._idle_timeout_s = idle_timeout_s
            for model in list(self._models.values()):
                self._settle(model)

    async def _lease(self, name: str) -> Lease:
        await self._wait_for_room(name)
        model = self._models.get(name) or self._begin(name)
        model.users += 1
        if model.idle is not None:
            model.idle.cancel()
        self._models.move_to_end(name)
        try:
            # Whoever goes away does not take the model from the others who wait for it.
            await asyncio.shield(model.arrived)
        except BaseException:
            self.release(model)
            raise
        return Lease(self, model)

    # Room.

    def _has_room(self) -> bool:
        """Whether one more fits in; the idle one that was used longest ago goes for it."""
        if len(self._models) < self._max_loaded:
            return True
        for model in self._models.values():
            if not model.users and model.state.state == "waiting_for_gpu":
                self._stop_waiting(model)
                return True
            if not model.users and model.state.state == "ready":
                self._drop(model)
                return True
        return False

    async def _wait_for_room(self, name: str) -> None:
        """Until `name` fits in, or is in."""
        while name not in self._models and not self._has_room():
            self._changed.clear()
            await self._changed.wait()

    async def _begin_with_room(self, name: str) -> None:
        await self._wait_for_room(name)
        del self._awaited[name]
        self.begin_load(name)

    # From state to state.

    def _enter(self, model: _Model, state: ModelState) -> None:
        model.state = state
        for watcher in list(self.watchers):
            watcher(model.name, state)
        self._changed.set()

    def _begin(self, name: str) -> _Model:
        model = self._models[name] = _Model(name, asyncio.get_running_loop().create_future())
        model.arrived.add_done_callback(_look_at)
        self._enter(model, LOADING)
        model.loading = asyncio.ensure_future(self._bring(model))
        return model

    async def _bring(self, model: _Model) -> None:
        try:
            lane = await self._loaded(model)
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must be told
            self._fail(model, error)
        else:
            self._arrive(model, lane)

    async def _loaded(self, model: _Model) -> Lane:
        """Load a model, again and again while the GPU has too little memory."""
        while True:
            try:
                async with self._one_at_a_time:
                    log.info("loading %s", model.name)
                    return await _in_thread(lambda: self._load(model.name))
            except Exception as error:
                if self._gpu is None or not is_out_of_memory(error):
                    raise
                forget_frames(error)
            shortage = await self._measure_shortage(model.name, self._gpu)
            if model.going:
                raise UNLOADED.not_ready()
            log.warning("%s does not fit into the GPU's memory; next try in %d s", model.name, shortage.retry_in_s)
            self._enter(model, ModelState("waiting_for_gpu", shortage=shortage))
            await asyncio.sleep(self._gpu.poll_interval_s)
            self._enter(model, LOADING)

    async def _measure_shortage(self, name: str, gpu: GpuPatience) -> Shortage:
        def measure() -> Shortage:
            give_memory_back()  # what the failed attempt has left may be what the next one lacks
            return gpu.shortage(name)

        return await _in_thread(measure)

    def _arrive(self, model: _Model, lane: Lane) -> None:
        self._infos[model.name] = lane.info
        model.loading = None
        model.arrived.set_result(lane)
        if model.going and not model.users:
            self._drop(model)
            return
        self._enter(model, ModelState.ready_now())
        self._settle(model)

    def _fail(self, model: _Model, error: Exception) -> None:
        if isinstance(error, MolvaError):
            log.error("%s is not loaded: %s", model.name, error)
        else:
            log.error("%s is not loaded", model.name, exc_info=error)
        del self._models[model.name]
        self._enter(model, UNLOADED)
        model.arrived.set_exception(error)

    def _stop_waiting(self, model: _Model) -> None:
        assert model.loading is not None  # noqa: S101 - it waits to be loaded
        model.loading.cancel()
        del self._models[model.name]
        self._enter(model, UNLOADED)
        model.arrived.set_exception(UNLOADED.not_ready())

    def _settle(self, model: _Model) -> None:
        """What becomes of a model whose users may have gone."""
        if model.users or model.state.state != "ready":
            return
        if model.idle is not None:
            model.idle.cancel()
        if model.going:
            self._drop(model)
        elif self._idle_timeout_s is not None:
            model.idle = asyncio.get_running_loop().call_later(self._idle_timeout_s, self._drop, model)

    def _drop(self, model: _Model) -> None:
        """Out of memory. A model that is loaded right after waits until the memory of this one is given back."""
        if model.idle is not None:
            model.idle.cancel()
        del self._models[model.name]
        lane = model.arrived.result()
        dropping = asyncio.ensure_future(self._give_back(lane))
        self._dropping.add(dropping)
        dropping.add_done_callback(self._dropping.discard)
        log.info("%s is unloaded", model.name)
        self._enter(model, UNLOADED)

    async def _give_back(self, lane: Lane) -> None:
        def drop() -> None:
            lane.close()
            give_memory_back()

        async with self._one_at_a_time:
            try:
                await _in_thread(drop)
            except Exception:
                log.exception("memory of a model is not given back")


async def _in_thread(work: Callable[[], T]) -> T:
    """The result of blocking work, in a daemon thread: a process that was told to stop does not wait for it."""
    outcome: Future[T] = Future()
    outcome.set_running_or_notify_cancel()

    def run() -> None:
        try:
            outcome.set_result(work())
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is awaited
            outcome.set_exception(as_exception(error))

    threading.Thread(target=run, name="models", daemon=True).start()
    return await asyncio.wrap_future(outcome)


def forget_frames(error: BaseException) -> None:
    """Let go of what the functions that raised an error had in hand: half a model, it may be."""
    cause: BaseException | None = error
    while cause is not None:
        cause.__traceback__ = None
        cause = cause.__cause__ or cause.__context__


def _look_at(arrived: "asyncio.Future[Lane]") -> None:
    """So that nothing complains about an error that nobody has waited for; it is logged anyway."""
    if not arrived.cancelled():
        arrived.exception()
