"""The loaded models: loaded when they are asked for, dropped when idle and room is needed.

Lives on the event loop; loading runs in a thread.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from molva.errors import Busy
from molva.runtime.scheduler import Lane


@dataclass(eq=False)
class _Model:
    lane: Future[Lane]
    users: int = 0
    """Leases, and those who wait for the model to be loaded."""


class Lease:
    """One caller's right to a loaded model, which stays loaded until the last lease is given back."""

    def __init__(self, fleet: "Fleet", model: _Model) -> None:
        self._fleet = fleet
        self._model = model
        self.lane = model.lane.result()

    def release(self) -> None:
        """Give it back, once."""
        self._fleet.release(self._model)


class Fleet:
    """Models by name, at most `max_loaded` of them in memory."""

    def __init__(self, load: Callable[[str], Lane], *, max_loaded: int, timeout_s: float) -> None:
        """`load` is blocking and raises ModelError; `timeout_s`: longest wait for room."""
        self._load = load
        self._max_loaded = max_loaded
        self._timeout_s = timeout_s
        self._models: OrderedDict[str, _Model] = OrderedDict()
        """The one used last is the last."""
        self._changed = asyncio.Event()
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="loading")

    @property
    def names(self) -> list[str]:
        """Models in memory or on their way there."""
        return list(self._models)

    def add(self, name: str, lane: Lane) -> None:
        """A model that has been loaded already."""
        self._models[name] = _Model(Future())
        self._models[name].lane.set_result(lane)

    def close(self) -> None:
        """Load no more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def lease(self, name: str) -> Lease:
        """A model, loaded first where it is not. Raises ModelError, and Busy where all others stay in use."""
        if name not in self._models:
            await self._make_room(name)
        model = self._models.get(name) or self._begin(name)
        model.users += 1
        self._models.move_to_end(name)
        try:
            # Whoever goes away does not take the model from the others who wait for it.
            await asyncio.shield(asyncio.wrap_future(model.lane))
        except BaseException:
            self.release(model)
            raise
        return Lease(self, model)

    def release(self, model: _Model) -> None:
        """What `Lease.release` does."""
        model.users -= 1
        self._changed.set()

    def _begin(self, name: str) -> _Model:
        model = self._models[name] = _Model(self._threads.submit(self._load, name))
        loop = asyncio.get_running_loop()
        model.lane.add_done_callback(lambda lane: loop.call_soon_threadsafe(self._loaded, name, lane))
        return model

    def _loaded(self, name: str, lane: Future[Lane]) -> None:
        if lane.cancelled() or lane.exception() is not None:
            del self._models[name]
        self._changed.set()

    async def _make_room(self, name: str) -> None:
        """Until `name` fits in, or somebody else has brought it."""
        try:
            async with asyncio.timeout(self._timeout_s):
                while name not in self._models and len(self._models) >= self._max_loaded:
                    idle = next((n for n, model in self._models.items() if not model.users and model.lane.done()), None)
                    if idle is not None:
                        del self._models[idle]
                    else:
                        self._changed.clear()
                        await self._changed.wait()
        except TimeoutError:
            raise Busy(self._timeout_s) from None
