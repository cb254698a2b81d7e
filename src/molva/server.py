"""Everything of a running server, built and taken down in order. Owns the socket, the signals and the exit."""

import asyncio
import logging
import os
import resource
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any, cast

import uvicorn
from starlette.types import ASGIApp

from molva import __version__, assets, policies, tracing
from molva.configuration import Configuration, reload, shown
from molva.durable import Durable
from molva.engines.base import EngineInfo
from molva.engines.cpu import usable_cores
from molva.engines.silero import load_vad
from molva.errors import ModelNotReady, SettingsError
from molva.http.accepting import AcceptErrors
from molva.http.app import create_app
from molva.http.connection import RESERVE, Crowd, HttpProtocol
from molva.http.metrics import metrics_app
from molva.http.state import ServerState
from molva.http.transport import WebSocketProtocol
from molva.keys import KeyRing
from molva.loopback import is_loopback
from molva.metrics.counters import Counters
from molva.metrics.exposition import Metrics
from molva.models.catalog import DEFAULT_MODEL, find
from molva.models.choice import parse_aliases
from molva.models.download import OnProgress
from molva.models.store import ModelStore
from molva.observer import NOBODY
from molva.runtime.admission import Admission
from molva.runtime.fleet import Fleet
from molva.runtime.gpu import Gpu, GpuPatience, read_gpu
from molva.runtime.loading import load_engine, measure, prepare, rehearse, size_mb, warm_road
from molva.runtime.memory import (
    keep_heap_small,
    keep_room_for_large_blocks,
    pass_over_what_is_here,
    trim_now_and_then,
)
from molva.runtime.provision import AUTO, Hub, choose_model
from molva.runtime.recognizer import Recognizer
from molva.runtime.scheduler import Lane, Scheduler
from molva.runtime.speakers import Speakers
from molva.settings import Settings
from molva.spool import Spool
from molva.threads import ThreadPool, as_exception
from molva.watchdog import watch

log = logging.getLogger(__name__)

OTHER_DESCRIPTORS = 256
"""For files, the database and connections to elsewhere, beside those of clients."""
CLOSE_TIMEOUT_S = 1.0
"""How long workers may take to end after the drain; they are idle then unless something hangs."""


def serve(
    configuration: Configuration,
    hub: Hub,
    *,
    announce: Callable[[str], None],
    on_download: OnProgress,
    log_at: Callable[[str], None] = lambda _: None,
) -> int:
    """Serve until SIGTERM or SIGINT and return the exit status. SIGHUP reads the configuration file again.

    The port is open, and /health answers, before the model is loaded. `log_at` is called with another level when the
    file has one. Raises SettingsError when the address cannot be had, UnknownModel for a name that is not in the
    catalog.
    """
    settings = configuration.settings
    if settings.model != AUTO:
        find(settings.model)
    listener = bind(settings.host, settings.port)
    cut_off_who_does_not_read(listener, settings.body_timeout_secs)
    allow_descriptors(settings.max_connections + RESERVE + OTHER_DESCRIPTORS)
    keep_heap_small()
    trim_now_and_then()
    return asyncio.run(_Server(configuration, hub, listener, announce, on_download, log_at).run())


def bind(host: str, port: int) -> socket.socket:
    """A listening socket. Raises SettingsError that says what to do."""
    family, address = socket.AF_INET, host.strip("[]")
    if ":" in address:
        family = socket.AF_INET6
    # With its protocol: only of sockets that have it does asyncio switch Nagle's algorithm off, and with it answers and
    # live messages would wait 40 ms for the client's acknowledgement.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address, port))
    except OSError as error:
        listener.close()
        raise SettingsError(
            f"Cannot listen on {host}:{port}: {error.strerror}. Try another --port or --host."
        ) from error
    return listener


def cut_off_who_does_not_read(listener: socket.socket, after_s: float) -> None:
    """Have the system end connections whose peers take nothing of what is sent to them for so long. Linux only."""
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(after_s * 1000))


def allow_descriptors(wanted: int) -> None:
    """Let this process have so many files and connections open, as far as the system permits it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
        if allowed < wanted:
            log.warning("--max-connections needs %d file descriptors, the system allows %d", wanted, allowed)


class Uvicorn(uvicorn.Server):
    """uvicorn without its signal handlers, which would end the process by the signal, and with our protocols."""

    def __init__(self, app: ASGIApp, *, ws_frame_max_bytes: int, drain_s: float, crowd: Crowd | None = None) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=cast(Any, partial(HttpProtocol, crowd=crowd or Crowd())),
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,  # it believes all of this machine; http/proxies.py knows whom to believe
                ws=WebSocketProtocol,
                ws_ping_interval=None,  # sessions ping by themselves
                ws_per_message_deflate=False,  # speech does not get smaller
            )
        )
        self.change(ws_frame_max_bytes=ws_frame_max_bytes, drain_s=drain_s)

    def change(self, *, ws_frame_max_bytes: int, drain_s: float) -> None:
        """The largest message of connections from now on, and how long requests may finish when it stops."""
        self.config.ws_max_size = ws_frame_max_bytes
        self.config.timeout_graceful_shutdown = round(drain_s)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Server:
    def __init__(
        self,
        configuration: Configuration,
        hub: Hub,
        listener: socket.socket,
        announce: Callable[[str], None],
        on_download: OnProgress,
        log_at: Callable[[str], None],
    ) -> None:
        settings = configuration.settings
        self._configuration = configuration
        self._settings = settings
        self._hub = hub
        self._listener = listener
        self._announce = announce
        self._on_download = on_download
        counters = Counters() if settings.metrics or settings.metrics_listen else None
        self._log_at = log_at
        self._state = ServerState(
            model=DEFAULT_MODEL if settings.model == AUTO else settings.model,
            device=settings.device,
            limits=policies.limits(settings),
            spool=Spool(settings.spool),
            observer=counters or NOBODY,
            store=ModelStore(settings.models),
            aliases=parse_aliases(settings.alias),
            diarization=settings.diarization,
            load_at_start=settings.lifecycle == "eager",
            sessions=policies.session_limits(settings),
            origins=policies.origin_policy(settings),
        )
        self._keys = KeyRing(settings.key_file, policies.extra_keys(settings))
        self._vad = load_vad()
        self._speakers = Speakers(self._state.store)
        self._durable = Durable(settings, self._state, self._vad) if settings.jobs else None
        self._metrics_listener: socket.socket | None = None
        self._metrics_server: Uvicorn | None = None
        if counters is not None:
            self._expose(counters)
        self._guards = policies.guards(settings)
        self._crowd = Crowd(policies.connection_rule(settings))
        self._uvicorn = Uvicorn(
            create_app(self._state, self._keys, self._guards),
            ws_frame_max_bytes=settings.ws_frame_max_bytes,
            drain_s=settings.drain_s,
            crowd=self._crowd,
        )
        self._failure: Exception | None = None
        self._opening: asyncio.Task[None] | None = None
        self._drain_ends = 0.0
        """By the monotonic clock."""
        _warn_of_openness(settings, self._keys)
        _warn_of_short_sessions(settings)

    def _expose(self, counters: Counters) -> None:
        """Metrics, on the main port or on their own. Raises SettingsError where that cannot be had."""
        settings, durable = self._settings, self._durable
        webhooks = (lambda: durable.webhook_counts) if durable is not None else dict[str, int]
        metrics = Metrics(counters, self._state, settings.spool, webhooks)
        if settings.metrics_address is None:
            self._state.scrape = metrics.scrape
            return
        self._metrics_listener = bind(*settings.metrics_address)
        self._metrics_server = Uvicorn(metrics_app(metrics.scrape), ws_frame_max_bytes=1024, drain_s=CLOSE_TIMEOUT_S)

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPool(thread_name_prefix="asyncio"))
        loop.set_exception_handler(AcceptErrors())
        watch(loop)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})  # whoever started us may have held it back
        if self._durable is not None:
            self._durable.start()
        # A daemon thread: a download must not keep a process alive that was told to stop.
        threading.Thread(target=self._provision, args=(loop,), name="provisioning", daemon=True).start()
        metrics = None
        if self._metrics_server is not None and self._metrics_listener is not None:
            metrics = asyncio.create_task(self._metrics_server.serve(sockets=[self._metrics_listener]))
            metrics.add_done_callback(_tell_of_failure)
        stop_tracing = tracing.start()
        try:
            await self._uvicorn.serve(sockets=[self._listener])
        finally:
            if self._metrics_server is not None and metrics is not None:
                self._metrics_server.should_exit = True
                await asyncio.wait({metrics}, timeout=2 * CLOSE_TIMEOUT_S)
            if self._durable is not None:
                await self._durable.stop(max(CLOSE_TIMEOUT_S, self._drain_ends - time.monotonic()))
            self._state.spool.close()
            # A daemon thread: a collector that does not answer keeps nobody here.
            sending = threading.Thread(target=stop_tracing, daemon=True)
            sending.start()
            sending.join(CLOSE_TIMEOUT_S)
        self._close()
        if self._failure is not None:
            raise self._failure
        return 0

    def _stop(self) -> None:
        """First signal: finish what runs. Second: out at once."""
        if self._state.draining:
            os._exit(1)
        log.info("stopping; running requests have %.0f s to finish", self._settings.drain_s)
        self._drain()

    def _drain(self) -> None:
        self._drain_ends = time.monotonic() + self._settings.drain_s
        self._state.drain()
        if self._durable is not None:
            self._durable.drain()
        self._uvicorn.should_exit = True

    def _reload(self) -> None:
        """SIGHUP: read the file again, and go on with all of it or with nothing of it."""
        try:
            configuration = self._configuration.reread()
            before = self._settings
            settings, changed, fixed = reload(before, configuration.settings)
            aliases = parse_aliases(settings.alias)
        except SettingsError as error:
            _complain(error)
            return
        self._configuration = configuration
        if configuration.file is None:
            log.info("there is no configuration file to read again; keys are read again whenever they change")
            return
        # From here on nothing fails and nothing waits: no request sees one half of it.
        self._settings = settings
        self._state.limits = policies.limits(settings)
        self._state.sessions = policies.session_limits(settings)
        self._state.origins = policies.origin_policy(settings)
        self._state.aliases = aliases
        self._state.diarization = settings.diarization
        if "api_key" in changed:
            self._keys.change_extra(policies.extra_keys(settings))
            self._state.ephemeral.forget(policies.KEY_OF_SETTINGS)
        if {"rate_limit_per_minute", "rate_limit_burst"} & set(changed):
            self._guards.limiter.configure(policies.rate_rule(settings))
        self._crowd.rule = policies.connection_rule(settings)
        allow_descriptors(settings.max_connections + RESERVE + OTHER_DESCRIPTORS)
        self._uvicorn.change(ws_frame_max_bytes=settings.ws_frame_max_bytes, drain_s=settings.drain_s)
        if self._durable is not None:
            self._durable.change(settings)
        self._change_recognizer()
        self._log_at(settings.log_level)
        self._tell_of_reload(configuration, before, changed, fixed)

    def _change_recognizer(self) -> None:
        """Have it, once it is there, keep to the settings as they are now."""
        recognizer, settings = self._state.recognizer, self._settings
        if recognizer is not None:
            recognizer.admission.change(max_waiting=settings.max_waiting, timeout_s=settings.checkout_timeout_s)
            recognizer.change_idle_timeout(settings.model_idle_timeout_s)

    def _tell_of_reload(
        self, configuration: Configuration, before: Settings, changed: Sequence[str], fixed: Sequence[str]
    ) -> None:
        changes = [
            f"{name} {shown(name, getattr(before, name))} -> {shown(name, getattr(self._settings, name))}"
            for name in changed
        ]
        log.info("read %s again: %s", configuration.file, ", ".join(changes) or "nothing has changed")
        if fixed:
            log.warning("%s cannot change in a running server: what the file says needs a restart", ", ".join(fixed))
        for warning in configuration.warnings:
            log.warning("%s", warning)
        _warn_of_short_sessions(self._settings)

    def _provision(self, loop: asyncio.AbstractEventLoop) -> None:
        """Bring all that the model needs but the memory. Runs beside the event loop, which answers meanwhile."""
        try:
            settings = self._settings
            choice = choose_model(settings.model, self._state.store, self._hub, self._on_download)
            expected = prepare(choice.model, device=settings.device, precision=settings.precision)
            if not self._state.load_at_start and settings.device == "cpu":  # a GPU may be full just now
                workers = settings.workers or usable_cores()
                expected = rehearse(choice.model, device=settings.device, precision=expected.precision, workers=workers)
            warm_road(self._vad)
            self._speakers.load_if_here()
            if settings.diarization and self._speakers.models is None:
                log.warning("--diarization: until its models are here, speakers are not told apart")
            gpu = read_gpu() if settings.device == "cuda" else None
            recognizer = self._assemble(expected)
            loop.call_soon_threadsafe(self._introduce, recognizer, gpu, choice.reason)
        except BaseException as error:  # noqa: BLE001 - it is raised again in the main thread, which ends the process
            loop.call_soon_threadsafe(self._give_up, as_exception(error))

    def _assemble(self, expected: EngineInfo) -> Recognizer:
        settings = self._settings
        scheduler = Scheduler(settings.workers or usable_cores(), self._state.observer)

        def load(name: str) -> Lane:
            """Blocking; raises ModelError. A model that somebody asks for is never downloaded."""
            model = self._state.store.require(find(name))
            if model.spec.family == "whisper":
                keep_room_for_large_blocks()
            # What was chosen at start stays: to find out once more that no INT8 can be made takes minutes.
            precision = expected.precision if name == expected.model else settings.precision
            engine = load_engine(model, device=settings.device, precision=precision, workers=scheduler.workers)
            return scheduler.lane(engine, measure(engine))

        def needed_mb(name: str) -> int:
            return size_mb(self._state.store.require(find(name)))

        patience = GpuPatience(settings.gpu_poll_interval_secs, needed_mb)
        fleet = Fleet(
            load,
            max_loaded=settings.max_models,
            idle_timeout_s=settings.model_idle_timeout_s,
            gpu=patience if settings.device == "cuda" else None,
        )
        admission = Admission(
            settings.pool_size,
            max_waiting=settings.max_waiting,
            timeout_s=settings.checkout_timeout_s,
            observer=self._state.observer,
        )
        return Recognizer(scheduler, fleet, self._vad, admission, expected, self._state.observer, self._speakers)

    def _introduce(self, recognizer: Recognizer, gpu: Gpu | None, reason: str) -> None:
        self._opening = asyncio.ensure_future(self._open(recognizer, gpu, reason))

    async def _open(self, recognizer: Recognizer, gpu: Gpu | None, reason: str) -> None:
        """Load the model, unless it is loaded by need, and open the doors."""
        try:
            self._state.gpu = gpu
            self._state.introduce(recognizer)
            self._change_recognizer()  # it was put together by the settings of a moment ago
            pass_over_what_is_here()  # before the model, which may go
            if self._state.load_at_start:
                with suppress(ModelNotReady):  # somebody would not wait for the GPU, and has unloaded it
                    (await recognizer.lease()).release()
            self._state.serve_with(recognizer)
        except Exception as error:  # noqa: BLE001 - it ends the process; see above
            self._give_up(error)
            return
        if not self._state.draining:
            try:
                self._announce(self._announcement(recognizer, reason))
            except OSError as error:  # nobody reads it
                log.warning("molva is ready, and cannot say so on its standard output: %s", error)

    def _announcement(self, recognizer: Recognizer, reason: str) -> str:
        address = _address(self._listener)
        info, places = recognizer.info, self._state.pool_size
        sessions = f"{places} {'session' if places == 1 else 'sessions'} at once"
        if recognizer.model_state().state != "ready":
            reason += "; it is loaded when it is first needed"
            if self._settings.pool_size is None:
                sessions = "as many sessions as it then turns out to sustain"
        measured = ""
        if self._metrics_listener is not None:
            measured = f"metrics: {_address(self._metrics_listener)}/metrics\n"
        return (
            f"molva {__version__} is ready at {address}\n"
            f"model: {info.model} ({info.title}, {info.precision} on {info.device}): {reason}\n"
            f"live:  {sessions}, ws{address[4:]}/v1/ws\n"
            f"{measured}"
            f"try:   curl --data-binary @{_clip()} {address}/v1/transcribe"
        )

    def _give_up(self, error: Exception) -> None:
        self._failure = error
        self._drain()

    def _close(self) -> None:
        recognizer = self._state.recognizer
        if recognizer is None:
            return
        closing = threading.Thread(target=recognizer.close, daemon=True)
        closing.start()
        closing.join(CLOSE_TIMEOUT_S)
        if closing.is_alive():
            log.warning("Drain window expired with tracked tasks still running")
            logging.shutdown()
            os._exit(0)


def _tell_of_failure(metrics: "asyncio.Task[None]") -> None:
    if not metrics.cancelled() and (error := metrics.exception()) is not None:
        log.error("the server of metrics has ended", exc_info=error)


def _complain(error: SettingsError) -> None:
    for problem in str(error).splitlines():
        log.error("%s", problem)
    log.error("nothing is changed: the settings of before stay")


def _warn_of_short_sessions(settings: Settings) -> None:
    if 0 < settings.max_session_secs < settings.idle_timeout_secs:
        log.warning(
            "a live session ends after %d s (--max-session-secs): none is ever idle for %d s (--idle-timeout-secs)",
            settings.max_session_secs,
            settings.idle_timeout_secs,
        )


def _warn_of_openness(settings: Settings, keys: KeyRing) -> None:
    if not keys.asks and not is_loopback(settings.host):
        log.warning(
            "Everybody who can reach %s may use this server: it has no key. "
            "`molva keys create NAME --data-dir %s` makes one, also while the server runs.",
            settings.host,
            settings.key_file.parent,
        )


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _clip() -> Path:
    """The shipped clip, as the shortest path that works from here."""
    with resources.as_file(resources.files(assets) / "speech.wav") as path:
        here = Path.cwd()
        return path.relative_to(here) if path.is_relative_to(here) else path
