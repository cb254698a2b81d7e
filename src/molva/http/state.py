"""What the doors share: the recogniser once the model's files are here, and the limits. Filled by server.py."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

from molva.errors import AddressRefused, ModelLoading, ShuttingDown
from molva.http.openai.ephemeral import EphemeralTokens
from molva.http.origin import OriginPolicy
from molva.jobs.service import Jobs
from molva.models.choice import ALIASES
from molva.models.store import ModelStore
from molva.observer import NOBODY, Observer
from molva.runtime.gpu import Gpu
from molva.runtime.model_state import LOADING, ModelEvent, ModelState
from molva.runtime.recognizer import Recognizer
from molva.speech.live import LiveRule
from molva.spool import Spool, SpoolFile


@dataclass(frozen=True)
class Limits:
    """Of one request on the native routes."""

    body_bytes: int
    max_audio_s: float
    inference_timeout_s: float | None
    bodies_bytes: int = 2**30
    """Of all bodies in memory at once."""
    upload_bytes: int | None = 2 * 2**30
    """Of a file sent to the OpenAI door, which keeps it on the disk; None has no limit."""
    upload_audio_s: float | None = 36_000


LIMITS = "limits"
"""Where middleware.py leaves the limits that a request came in under."""


def limits_of(connection: HTTPConnection) -> Limits:
    """Those of this request to its end, whatever the operator changes meanwhile."""
    limits: Limits = connection.scope["state"][LIMITS]
    return limits


@dataclass(frozen=True)
class SessionLimits:
    """Of one live session, which keeps those it started with."""

    checkout_timeout_s: float = 30
    """Longest wait for a place."""
    idle_timeout_s: float = 300
    max_session_s: float = 3600
    """0 has no limit."""
    inference_timeout_s: float | None = 600
    ping_interval_s: float = 30
    rule: LiveRule = field(default_factory=LiveRule)
    """When utterances end, unless the client chooses."""


class Fetch(Protocol):
    """Gets what is at an address."""

    def __call__(self, url: str, into: SpoolFile) -> None:
        """Blocking. Raises AddressRefused, PayloadTooLarge, SpoolFull, and others where it cannot be had."""
        ...


def any_http(url: str) -> None:
    """The rule for webhooks where there is no stricter one. Raises AddressRefused for what is no address."""
    try:
        given = urlsplit(url)
        known = given.scheme in ("http", "https") and bool(given.hostname) and given.port != 0
    except ValueError:
        known = False
    if not known:
        raise AddressRefused("webhook_url must be an address like https://host/path")


@dataclass
class ServerState:
    """Changes three times in a server's life: when the model's files are here, when its doors open, and when draining
    begins. Besides, the operator may put other rules in the place of `limits`, `sessions`, `aliases` and `origins`
    while it runs: whoever comes in is served by those that are there then.
    """

    model: str
    """Catalog name of the model that is or will be served."""
    device: str
    limits: Limits
    spool: Spool
    store: ModelStore
    aliases: Mapping[str, str] = field(default_factory=lambda: ALIASES)
    """Names of models that clients may send, beside those of the catalog."""
    sessions: SessionLimits = field(default_factory=SessionLimits)
    origins: OriginPolicy = field(default_factory=OriginPolicy)
    ephemeral: EphemeralTokens = field(default_factory=EphemeralTokens)
    jobs: Jobs | None = None
    """None where the operator wants none."""
    check_webhook_url: Callable[[str], None] = any_http
    """Raises AddressRefused. Looks nothing up."""
    fetch: Fetch | None = None
    """None where recordings are taken from clients only."""
    diarization: bool = False
    """Whether speakers are told apart for native clients who do not say what they want."""
    load_at_start: bool = True
    """Whether the model is loaded before the doors open, or by the first who needs it."""
    gpu: Gpu | None = None
    """As it was found at start."""
    recognizer: Recognizer | None = None
    """None until the model's files are here."""
    observer: Observer = NOBODY
    """Told of the work."""
    scrape: Callable[[], Awaitable[bytes]] | None = None
    """Metrics in Prometheus's format; None where /metrics is not for this port."""
    open_sockets: int = 0
    """WebSockets that were accepted and have not ended."""
    model_listeners: list[Callable[[ModelEvent], None]] = field(default_factory=list)
    """Called on the event loop whenever the main model comes into another state."""
    serving: asyncio.Event = field(default_factory=asyncio.Event)
    """Whether the doors are open: requests wait for the model then, where it is not in memory."""
    drained: asyncio.Event = field(default_factory=asyncio.Event)
    started: float = field(default_factory=time.monotonic)

    def introduce(self, recognizer: Recognizer) -> None:
        """The model's files are here; it may be loaded now."""
        self.model = recognizer.info.model
        self.recognizer = recognizer
        recognizer.on_model_event(self._tell_listeners)
        if self.draining:
            recognizer.admission.close()

    def serve_with(self, recognizer: Recognizer) -> None:
        """Open the doors."""
        if self.recognizer is None:
            self.introduce(recognizer)
        self.serving.set()

    def admit(self) -> Recognizer:
        """What serves a request that comes now. Raises ShuttingDown, ModelLoading."""
        if self.draining:
            raise ShuttingDown
        if self.recognizer is None or not self.serving.is_set():
            raise ModelLoading
        return self.recognizer

    def drain(self) -> None:
        """Refuse new work; what runs may finish, live sessions are asked to end."""
        self.drained.set()
        if self.recognizer is not None:
            self.recognizer.admission.close()

    @property
    def draining(self) -> bool:
        return self.drained.is_set()

    @property
    def model_state(self) -> ModelState:
        """Of the main model; what comes before it can be loaded counts as loading."""
        return LOADING if self.recognizer is None else self.recognizer.model_state()

    @property
    def pool_size(self) -> int:
        """Live sessions that fit in; requests too, where they share one pool."""
        return 0 if self.recognizer is None else self.recognizer.admission.sessions.total

    @property
    def pool_available(self) -> int:
        """Places free now; none while draining, while the model is not in memory, and while every worker hangs."""
        if self.recognizer is None or self.draining or self.model_state.state != "ready" or self.recognizer.stuck:
            return 0
        return self.recognizer.admission.sessions.available

    def _tell_listeners(self, event: ModelEvent) -> None:
        for listener in list(self.model_listeners):
            listener(event)
