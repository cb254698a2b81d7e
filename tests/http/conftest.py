"""A real server on a real socket, in a thread, over any engine."""

import asyncio
import io
import tempfile
import threading
import time
import wave
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import numpy as np
import pytest

from molva.engines.base import Engine, Options
from molva.engines.fake import FakeEngine
from molva.engines.silero import load_vad
from molva.errors import ModelNotInstalled
from molva.http.app import create_app
from molva.http.connection import ConnectionRule, Crowd
from molva.http.guard import Guards
from molva.http.origin import OriginPolicy
from molva.http.state import Limits, ServerState, SessionLimits
from molva.jobs.service import Jobs
from molva.keys import KeyRing
from molva.models.store import ModelStore
from molva.observer import NOBODY, Observer
from molva.runtime.admission import Admission
from molva.runtime.fleet import Fleet
from molva.runtime.gpu import GpuPatience
from molva.runtime.model_state import State
from molva.runtime.recognizer import Recognizer
from molva.runtime.scheduler import Lane, Scheduler
from molva.runtime.speakers import Speakers
from molva.samples import Samples
from molva.server import Uvicorn, bind
from molva.speech.vad import VadModel
from molva.spool import Spool


def wav(samples: Samples, rate: int = 16_000) -> bytes:
    """A PCM16 WAV file."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return buffer.getvalue()


@dataclass
class Running:
    """A server that runs."""

    url: str
    state: ServerState
    client: httpx2.Client
    loop: asyncio.AbstractEventLoop

    def drain(self) -> None:
        """As SIGTERM does."""
        self.loop.call_soon_threadsafe(self.state.drain)
        self.wait_until(lambda state: state.draining)

    def load(self) -> None:
        """Have the model loaded, and wait until it is."""

        async def load() -> None:
            assert self.state.recognizer is not None
            (await self.state.recognizer.lease(timeout_s=20)).release()

        asyncio.run_coroutine_threadsafe(load(), self.loop).result(20)

    def wait_for_model(self, state: State) -> None:
        """Until the main model is in this state."""
        self.wait_until(lambda server: server.model_state.state == state)

    @property
    def ws_url(self) -> str:
        return self.url.replace("http", "ws", 1) + "/v1/ws"

    def wait_until(self, condition: Callable[[ServerState], bool]) -> None:
        """Until the server's state is as the test needs it."""
        deadline = time.monotonic() + 10
        while not condition(self.state):
            assert time.monotonic() < deadline, "the server did not come into this state"
            time.sleep(0.005)


@dataclass
class Loading:
    """What happens whenever the main model is loaded: a wait for the gate, then the next error where one is left."""

    errors: list[Exception] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)
    attempts: int = 0

    def __post_init__(self) -> None:
        self.gate.set()

    def __call__(self) -> None:
        self.attempts += 1
        assert self.gate.wait(20)
        if self.errors:
            raise self.errors.pop(0)


def recognizer_over(
    engine: Engine,
    scheduler: Scheduler,
    admission: Admission,
    load: Callable[[str], Lane] | None = None,
    *,
    loading: Callable[[], None] = lambda: None,
    idle_timeout_s: float | None = None,
    gpu: GpuPatience | None = None,
    observer: Observer = NOBODY,
    speakers: Speakers | None = None,
    vad: VadModel | None = None,
) -> Recognizer:
    """A recogniser whose main model is not loaded yet; other models come from `load`."""

    def load_any(name: str) -> Lane:
        if name == engine.info.model:
            loading()
            return scheduler.lane(engine)
        if load is None:
            raise ModelNotInstalled
        return load(name)

    fleet = Fleet(load_any, max_loaded=2, idle_timeout_s=idle_timeout_s, gpu=gpu)
    return Recognizer(scheduler, fleet, vad or load_vad(), admission, engine.info, observer, speakers)


@contextmanager
def serving(
    engine: Engine | None,
    *,
    pool_size: int | None = 2,
    max_waiting: int = 8,
    checkout_timeout_s: float = 20,
    workers: int = 2,
    origins: OriginPolicy | None = None,
    limits: Limits | None = None,
    sessions: SessionLimits | None = None,
    ws_frame_max_bytes: int = 512 * 2**10,
    keys: KeyRing | None = None,
    store: ModelStore | None = None,
    load: Callable[[str], Lane] | None = None,
    jobs: Jobs | None = None,
    lazy: bool = False,
    loading: Callable[[], None] = lambda: None,
    idle_timeout_s: float | None = None,
    gpu: GpuPatience | None = None,
    observer: Observer = NOBODY,
    guards: Guards | None = None,
    connections: ConnectionRule | None = None,
    speakers: Speakers | None = None,
    diarization: bool = False,
    vad: VadModel | None = None,
) -> Iterator[Running]:
    """Serve `engine`, or a server that is still at its start where there is none.

    Its model is loaded already, unless `lazy`; `load` brings other models.
    """
    limits = limits or Limits(body_bytes=5_000_000, max_audio_s=7200, inference_timeout_s=60)
    sessions = sessions or SessionLimits(checkout_timeout_s=checkout_timeout_s, inference_timeout_s=60)
    with tempfile.TemporaryDirectory() as folder:
        spool = Spool(Path(folder) / "spool")
        state = ServerState(
            model="gigaam-v3-e2e-rnnt",
            device="cpu",
            limits=limits,
            spool=spool,
            store=store or ModelStore(Path(folder) / "models"),
            sessions=sessions,
            origins=origins or OriginPolicy(),
            jobs=jobs,
            observer=observer,
            diarization=diarization,
        )
        if engine is not None:
            admission = Admission(pool_size, max_waiting=max_waiting, timeout_s=checkout_timeout_s, observer=observer)
            state.serve_with(
                recognizer_over(
                    engine,
                    Scheduler(workers, observer),
                    admission,
                    load,
                    loading=loading,
                    idle_timeout_s=idle_timeout_s,
                    gpu=gpu,
                    observer=observer,
                    speakers=speakers,
                    vad=vad,
                )
            )
        app = create_app(state, keys, guards)
        try:
            crowd = Crowd(connections)
            with running(state, Uvicorn(app, ws_frame_max_bytes=ws_frame_max_bytes, drain_s=5, crowd=crowd)) as server:
                if engine is not None and not lazy:
                    server.load()
                yield server
        finally:
            spool.close()


@contextmanager
def running(state: ServerState, server: Uvicorn) -> Iterator[Running]:
    """The server in a thread, on a port of its own; everything is closed on every way out."""
    listener = bind("127.0.0.1", 0)
    listener.listen()  # whoever comes before the thread is up waits
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        await server.serve(sockets=[listener])
        await _cancel_others()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        with httpx2.Client(base_url=url, timeout=30) as client:
            yield Running(url, state, client, loop)
    finally:
        server.should_exit = True
        thread.join(15)
        if state.recognizer is not None:
            state.recognizer.close()
        assert not thread.is_alive()
        loop.close()


async def _cancel_others() -> None:
    """As the end of a real server's loop does: what loads or drops a model may still be at it."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


@dataclass
class Gate:
    """A script for the fake engine that waits until it is opened."""

    entered: threading.Event = field(default_factory=threading.Event)
    opened: threading.Event = field(default_factory=threading.Event)

    def __call__(self, samples: Samples, _options: Options) -> str:
        self.entered.set()
        assert self.opened.wait(20)
        return "готово"


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.opened.set()


@pytest.fixture(scope="module")
def fake_server() -> Iterator[Running]:
    """A server over the counting fake engine: one word a second."""
    with serving(FakeEngine()) as running:
        yield running
