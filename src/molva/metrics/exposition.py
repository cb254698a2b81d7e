"""One answer to Prometheus: what was counted, and how things stand now."""

import asyncio
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar, get_args

from prometheus_client import ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from molva import __version__
from molva.errors import ShuttingDown, StoreError
from molva.http.state import ServerState
from molva.jobs.job import Status
from molva.metrics.counters import Counters
from molva.runtime.model_state import State
from molva.runtime.recognizer import Recognizer

K = TypeVar("K", bound=tuple[str, ...])

ORDER = ("counter", "gauge", "histogram")
"""Of the families in an answer, as gigastt has it."""

WEBHOOK_OUTCOMES = ("delivered", "failed", "given_up")


class Metrics:
    """What a server has to tell. `scrape` is for the event loop."""

    def __init__(
        self,
        counters: Counters,
        state: ServerState,
        data_dir: Path,
        webhooks: Callable[[], Mapping[str, int]] = dict,
    ) -> None:
        """`webhooks`: attempts by outcome."""
        self._counters = counters
        self._state = state
        self._data_dir = data_dir
        self._webhooks = webhooks
        ProcessCollector(registry=counters.registry)

    async def scrape(self) -> bytes:
        """All families in the text format 0.0.4."""
        looked_up = [*self._doors(), *self._engine(), *await self._jobs()]
        return await asyncio.to_thread(self._render, looked_up)

    def _render(self, looked_up: Sequence[Metric]) -> bytes:
        families = [*self._counters.registry.collect(), *looked_up, *self._machine()]
        for family in families:
            # When each series began, which prometheus_client adds: twice the size, and in no contract.
            family.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
        families.sort(key=lambda family: (ORDER.index(family.type), family.name))
        return generate_latest(_Fixed(families))

    def _doors(self) -> Iterator[Metric]:
        yield gauge("molva_info", "The version that runs", {(__version__,): 1}, "version")
        sockets = self._state.open_sockets
        yield gauge("gigastt_ws_active_connections", "Open WebSockets, those that wait for a place too", {(): sockets})
        recognizer = self._state.recognizer
        admission = None if recognizer is None else recognizer.admission
        pools = {} if admission is None else {"requests": admission.requests, "sessions": admission.sessions}
        sessions = None if admission is None else admission.sessions
        yield gauge(
            "gigastt_pool_available",
            "Free places for live sessions",
            {} if sessions is None else {(): 0 if self._state.draining else sessions.available},
        )
        yield gauge(
            "gigastt_pool_waiters",
            "Callers that wait for a place for live sessions",
            {} if sessions is None else {(): sessions.waiting},
        )
        taken = {(name,): pool.taken for name, pool in pools.items()}
        yield gauge("molva_places", "Places", {(name,): pool.total for name, pool in pools.items()}, "places")
        yield gauge("molva_places_taken", "Places that are taken", taken, "places")
        waiting = {(name,): pool.waiting for name, pool in pools.items()}
        yield gauge("molva_places_waiting", "Callers that wait for a place", waiting, "places")

    def _engine(self) -> Iterator[Metric]:
        recognizer = self._state.recognizer
        depths = {} if recognizer is None else recognizer.waiting
        queued = {(priority.name.lower(),): n for priority, n in depths.items()}
        yield gauge("molva_queue_windows", "Windows that wait for the engine", queued, "class")
        states = {self._state.model: self._state.model_state.state, **_states(recognizer)}
        by_state = {(model, each): int(state == each) for model, state in states.items() for each in get_args(State)}
        yield gauge("molva_model_state", "1 for the state that a model is in", by_state, "model", "state")
        ready = sum(state == "ready" for state in states.values())
        yield gauge("molva_models_in_memory", "Models that are loaded", {(): ready})
        speeds = {}
        for model in states:
            speed = None if recognizer is None else recognizer.real_time_factor(model)
            if speed is not None:
                speeds[model,] = speed
        yield gauge("molva_real_time_factor", "A worker's seconds for a second of audio, lately", speeds, "model")

    async def _jobs(self) -> list[Metric]:
        counts: Mapping[Status, int] | None = None
        if self._state.jobs is not None:
            with suppress(StoreError, ShuttingDown):  # other families are worth telling, and the log tells of this
                counts = await self._state.jobs.counts()
        kept = {} if counts is None else {(str(status),): counts.get(status, 0) for status in Status}
        attempts = CounterMetricFamily("molva_webhook_attempts", "Attempts to deliver a webhook", labels=["outcome"])
        told = self._webhooks()
        for outcome in WEBHOOK_OUTCOMES:
            attempts.add_metric([outcome], told.get(outcome, 0))
        return [gauge("molva_jobs", "Jobs in the database by where they are", kept, "status"), attempts]

    def _machine(self) -> Iterator[Metric]:
        spooled = 0
        for path in self._state.spool.folder.glob("*"):
            with suppress(FileNotFoundError):  # its request has just ended
                spooled += path.stat().st_size
        yield gauge("molva_spool_bytes", "Uploads on the disk", {(): spooled})
        disk = shutil.disk_usage(self._data_dir)
        yield gauge("molva_disk_free_bytes", "Free room on the disk of the data folder", {(): disk.free})
        yield gauge("molva_disk_size_bytes", "Size of the disk of the data folder", {(): disk.total})
        yield gauge("molva_threads", "Threads of the process", {(): threading.active_count()})


class _Fixed(Collector):
    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        """Them."""
        yield from self._families


def gauge(name: str, meaning: str, values: Mapping[K, float], *labels: str) -> GaugeMetricFamily:
    """A family with a value for each combination of labels."""
    family = GaugeMetricFamily(name, meaning, labels=labels)
    for combination, value in values.items():
        family.add_metric(combination, value)
    return family


def _states(recognizer: Recognizer | None) -> dict[str, State]:
    return {} if recognizer is None else {model.name: model.state for model in recognizer.in_memory}
