"""Short-lived tokens for `/v1/realtime`: a page gets one and never sees a key. In memory, at most so many."""

import hashlib
import math
import secrets
import time
from dataclasses import dataclass

from molva.clock import steady
from molva.errors import Busy
from molva.http.openai.realtime_settings import Settings

PREFIX = "ek_"
MAX_TOKENS = 1024


@dataclass(frozen=True)
class Ephemeral:
    """What is known of a token; the token itself is kept nowhere."""

    expires_at: int
    """Unix seconds; as it is told."""
    ends: float
    """By the steady clock, which decides: no jump of the other makes a token live for longer."""
    settings: Settings
    """What sessions begin with that are opened with it."""
    key_name: str | None
    """Of the key it was asked for with; None where none was needed."""


class EphemeralTokens:
    """Those that have not expired."""

    def __init__(self) -> None:
        self._tokens: dict[str, Ephemeral] = {}

    def create(self, settings: Settings, *, seconds: int, key_name: str | None) -> tuple[str, Ephemeral]:
        """A new token and what is known of it. Raises Busy where too many are alive."""
        now = steady()
        self._tokens = {digest: token for digest, token in self._tokens.items() if token.ends > now}
        if len(self._tokens) >= MAX_TOKENS:
            raise Busy(max(min(token.ends for token in self._tokens.values()) - now, 1.0))
        presented = PREFIX + secrets.token_urlsafe(32)
        token = Ephemeral(math.ceil(time.time() + seconds), now + seconds, settings, key_name)
        self._tokens[_digest(presented)] = token
        return presented, token

    def find(self, presented: str) -> Ephemeral | None:
        """What is known of a token, unless it has expired or never was one."""
        token = self._tokens.get(_digest(presented))
        return token if token is not None and token.ends > steady() else None

    def forget(self, key_name: str) -> None:
        """Those asked for with this key, which is another one now."""
        self._tokens = {digest: token for digest, token in self._tokens.items() if token.key_name != key_name}


def _digest(presented: str) -> str:
    return hashlib.sha256(presented.encode()).hexdigest()
