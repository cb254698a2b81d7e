"""What the doors share: the recogniser once it is loaded, and the limits. Filled by server.py."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol
from urllib.parse import urlsplit

from molva.errors import AddressRefused
from molva.http.openai.ephemeral import EphemeralTokens
from molva.jobs.service import Jobs
from molva.models.choice import ALIASES
from molva.models.store import ModelStore
from molva.runtime.recognizer import Recognizer
from molva.speech.live import LiveRule
from molva.spool import Spool, SpoolFile

ModelState = Literal["loading", "ready"]


@dataclass(frozen=True)
class Limits:
    """Of one request on the native routes."""

    body_bytes: int
    max_audio_s: float
    inference_timeout_s: float | None
    upload_bytes: int | None = 2 * 2**30
    """Of a file sent to the OpenAI door, which keeps it on the disk; None has no limit."""
    upload_audio_s: float | None = 36_000


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
    """Changes twice in a server's life: when the model is ready, and when draining begins."""

    model: str
    """Catalog name of the model that is or will be served."""
    device: str
    limits: Limits
    spool: Spool
    store: ModelStore
    aliases: Mapping[str, str] = field(default_factory=lambda: ALIASES)
    """Names of models that clients may send, beside those of the catalog."""
    sessions: SessionLimits = field(default_factory=SessionLimits)
    ephemeral: EphemeralTokens = field(default_factory=EphemeralTokens)
    jobs: Jobs | None = None
    """None where the operator wants none."""
    check_webhook_url: Callable[[str], None] = any_http
    """Raises AddressRefused. May block."""
    fetch: Fetch | None = None
    """None where recordings are taken from clients only."""
    recognizer: Recognizer | None = None
    loaded: asyncio.Event = field(default_factory=asyncio.Event)
    drained: asyncio.Event = field(default_factory=asyncio.Event)

    def serve_with(self, recognizer: Recognizer) -> None:
        """The model is ready."""
        self.model = recognizer.info.model
        self.recognizer = recognizer
        self.loaded.set()
        if self.draining:
            recognizer.admission.close()

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
        return "loading" if self.recognizer is None else "ready"

    @property
    def pool_size(self) -> int:
        """Live sessions that fit in; requests too, where they share one pool."""
        return 0 if self.recognizer is None else self.recognizer.admission.sessions.total

    @property
    def pool_available(self) -> int:
        """Places free now; none while loading or draining."""
        return 0 if self.recognizer is None or self.draining else self.recognizer.admission.sessions.available
