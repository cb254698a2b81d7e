"""What outlives the process: jobs and webhooks, put together over one database, and taken down in order."""

import asyncio
import json
import logging
from collections.abc import Mapping

from molva import __version__
from molva.clock import SettledClock
from molva.database import Database
from molva.errors import AddressRefused, StoreError
from molva.http.state import ServerState
from molva.jobs import sqlite as jobs_sqlite
from molva.jobs.service import JobRules, Jobs
from molva.jobs.shelf import AudioShelf
from molva.jobs.sqlite import SqliteJobStore
from molva.outbound.fetch import fetch
from molva.outbound.policy import AddressPolicy
from molva.runtime.fleet import Lease
from molva.runtime.model_state import ModelEvent
from molva.runtime.speakers import SpeakerModels
from molva.settings import Settings
from molva.speech.vad import VadModel
from molva.spool import SpoolFile
from molva.webhooks import sqlite as webhooks_sqlite
from molva.webhooks.schedule import Schedule
from molva.webhooks.sender import WebhookSender
from molva.webhooks.signing import parse_secret
from molva.webhooks.sqlite import SqliteDeliveryStore

log = logging.getLogger(__name__)

FETCH_TIMEOUT_S = 600.0
"""For a whole recording that is fetched."""
MAX_LISTENERS = 1000
"""Addresses that are told of model events; those named longest ago are forgotten first."""
KEPT_S = 30 * 24 * 3600.0
"""How long deliveries that are over can be listed and replayed, where jobs are kept for longer or for ever."""
HOUSEKEEPING_S = 600.0
LAST_ATTEMPTS_S = 1.0
"""How long webhooks in hand may take when the server stops; others are sent again when their lease is over."""
MODEL_EVENTS = ("model_ready", "model_unloaded")
"""What addresses are told of; the others are for those who listen."""


class Durable:
    """The jobs of a server and their webhooks. Lives on the event loop."""

    def __init__(self, settings: Settings, state: ServerState, vad: VadModel) -> None:
        """Raises SettingsError where the data folder cannot be used."""
        self._settings = settings
        self._state = state
        self._database = Database(settings.database, [webhooks_sqlite.TABLES, jobs_sqlite.TABLES])
        self._deliveries = SqliteDeliveryStore(self._database)
        self._webhooks = AddressPolicy(settings.allowed_networks)
        self._recordings = AddressPolicy(settings.allowed_networks, settings.job_url_hosts)
        self._sender = WebhookSender(
            self._deliveries,
            self._webhooks,
            keys=_signing_keys(settings),
            schedule=_schedule(settings),
            timeout_s=settings.webhook_timeout_secs,
            agent=f"molva/{__version__}",
        )
        self._listeners: dict[str, None] = {}
        self._telling: set[asyncio.Task[None]] = set()
        self._housekeeping: asyncio.Task[None] | None = None
        self._jobs = Jobs(
            SqliteJobStore(self._database, max_attempts=settings.job_attempts),
            self._shelf(settings),
            self._lend,
            vad,
            rules=_rules(settings),
            ended=self._sender.wake,
            register=self._register,
            observer=state.observer,
            load_speakers=self._load_speakers,
        )
        state.jobs = self._jobs
        state.model_listeners.append(self._tell)
        state.check_webhook_url = self._check_webhook_url
        if settings.job_url_hosts != frozenset():
            state.fetch = self._fetch

    def _shelf(self, settings: Settings) -> AudioShelf:
        shelf = AudioShelf(settings.shelf)
        # Whoever has moved a damaged database away may still restore it, and then its jobs need their recordings.
        if self._database.is_new and (aside := shelf.set_aside()) is not None:
            log.warning(
                "The database is a new one: recordings of jobs of another one are in '%s'. Move them back to '%s' with "
                "that database, or remove them.",
                aside,
                settings.shelf,
            )
        return shelf

    @property
    def webhook_counts(self) -> Mapping[str, int]:
        """Attempts to deliver webhooks since the start, by outcome."""
        return self._sender.counts

    def start(self) -> None:
        """Go on with what earlier processes have left."""
        self._jobs.start()
        if self._settings.webhooks:
            self._sender.start()
        self._housekeeping = asyncio.create_task(self._keep_house())

    def drain(self) -> None:
        """Begin to hand back what runs."""
        self._jobs.drain()

    def change(self, settings: Settings) -> None:
        """What follows from settings that have changed while the server runs."""
        self._settings = settings
        self._sender.change(_signing_keys(settings), _schedule(settings))
        self._jobs.change(_rules(settings))

    async def stop(self, timeout_s: float) -> None:
        """End all of it; the job in hand has so many seconds to come to its next window."""
        if self._housekeeping is not None:
            self._housekeeping.cancel()
        await asyncio.gather(
            self._jobs.stop(timeout_s),
            asyncio.to_thread(self._sender.close, min(timeout_s, LAST_ATTEMPTS_S)),
            *self._telling,
            return_exceptions=True,
        )
        await asyncio.to_thread(self._database.close)

    async def _lend(self, name: str) -> Lease:
        await self._state.serving.wait()
        assert self._state.recognizer is not None  # noqa: S101 - it is what has been loaded
        return await self._state.recognizer.lease(name)

    async def _load_speakers(self) -> SpeakerModels:
        await self._state.serving.wait()
        assert self._state.recognizer is not None  # noqa: S101 - see above
        return await self._state.recognizer.load_speakers()

    def _check_webhook_url(self, url: str) -> None:
        if not self._settings.webhooks:
            raise AddressRefused("This server sends no webhooks. Ask for the job instead, or watch its stream.")
        self._webhooks.check_url(url)

    def _fetch(self, url: str, into: SpoolFile) -> None:
        fetch(
            url,
            into.write,
            self._recordings,
            max_bytes=self._settings.job_url_limit_bytes,
            timeout_s=FETCH_TIMEOUT_S,
            cancelled=lambda: self._state.draining,
        )

    def _register(self, url: str) -> None:
        self._listeners.pop(url, None)
        self._listeners[url] = None
        if len(self._listeners) > MAX_LISTENERS:
            del self._listeners[next(iter(self._listeners))]

    def _tell(self, event: ModelEvent) -> None:
        if event.type in MODEL_EVENTS and self._listeners and self._settings.webhooks:
            telling = asyncio.create_task(self._deliver(event, list(self._listeners)))
            self._telling.add(telling)
            telling.add_done_callback(self._telling.discard)

    async def _deliver(self, event: ModelEvent, urls: list[str]) -> None:
        def add() -> None:
            for url in urls:
                self._deliveries.add(url, event.type, payload)

        payload = json.dumps(event.document(), separators=(",", ":")).encode()
        try:
            await asyncio.to_thread(add)
        except StoreError as error:
            log.warning("nobody is told of %s: %s", event.type, error)
        except Exception:
            log.exception("nobody is told of %s", event.type)
        self._sender.wake()

    async def _keep_house(self) -> None:
        clock = SettledClock()
        while True:
            kept_s = min(self._settings.job_retention_secs or KEPT_S, KEPT_S)
            try:
                await asyncio.to_thread(self._deliveries.forget, clock.now() - kept_s)
            except StoreError:
                pass  # the sender has said so
            except Exception:
                log.exception("old deliveries cannot be removed")
            await asyncio.sleep(HOUSEKEEPING_S)


def _signing_keys(settings: Settings) -> list[bytes]:
    return [parse_secret(secret) for secret in settings.webhook_secrets]


def _schedule(settings: Settings) -> Schedule:
    return Schedule(settings.webhook_attempts, settings.webhook_first_wait_secs, settings.webhook_max_wait_secs)


def _rules(settings: Settings) -> JobRules:
    return JobRules(
        lease_s=settings.job_lease_secs,
        keep_audio=settings.job_keep_audio,
        retention_s=settings.job_retention_secs,
        window_timeout_s=settings.inference_timeout_s,
    )
