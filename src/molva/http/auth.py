"""Keys: who may use the server, and how much of it, decided before a byte of the body is read. Plain ASGI."""

from contextlib import ExitStack
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from molva.errors import InvalidKey, QuotaExceeded
from molva.http.dialects import respond
from molva.http.middleware import HTTP_AND_WEBSOCKET, KEY_NAME, PROBES, is_free
from molva.http.openai.ephemeral import EphemeralTokens
from molva.http.quotas import Quotas
from molva.keys import KeyRing
from molva.runtime.metering import METER

BEARER = "Bearer "
REALTIME = "/v1/realtime"
LIVE_DOORS = frozenset({REALTIME, "/v1/ws"})
"""Where a page may send its key as a subprotocol."""
SUBPROTOCOL = "openai-insecure-api-key."
"""Carries the key of a page: browsers let pages choose subprotocols, but no headers of a WebSocket."""


class Auth:
    """Asks for a key wherever there is one to ask for, but for the page, and what monitors and preflights ask."""

    def __init__(self, app: ASGIApp, keys: KeyRing, ephemeral: EphemeralTokens, quotas: Quotas) -> None:
        self._app = app
        self._keys = keys
        self._ephemeral = ephemeral
        self._quotas = quotas

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not _is_guarded(scope) or not self._keys.asks:
            await self._app(scope, receive, send)
            return
        name = self._keys.check(presented_key(scope)) or self._key_behind_token(scope)
        if name is None:
            refusal = respond(scope["path"], InvalidKey())
            refusal.headers["www-authenticate"] = BEARER.strip()
            await refusal(scope, receive, send)
            return
        scope.setdefault("state", {})[KEY_NAME] = name
        account = self._quotas.account(name)
        brings_audio = scope["type"] == "websocket" or scope["method"] == "POST"
        with ExitStack() as using:
            try:
                using.enter_context(account.use(self._keys.quota(name), brings_audio=brings_audio))
            except QuotaExceeded as error:
                await respond(scope["path"], error)(scope, receive, send)
                return
            METER.set(account.charge)  # each request has a task of its own, and that its own context
            await self._app(scope, receive, send)

    def _key_behind_token(self, scope: Scope) -> str | None:
        """The key that an ephemeral token was asked for with. Without that key it opens nothing either."""
        if scope["type"] != "websocket" or scope["path"] != REALTIME:
            return None
        token = self._ephemeral.find(presented_key(scope))
        known = token is not None and token.key_name is not None and self._keys.knows(token.key_name)
        return token.key_name if token is not None and known else None


def declare_keys(document: dict[str, Any]) -> dict[str, Any]:
    """Add to an OpenAPI document that a key may be needed, so that its page offers to send one."""
    document.setdefault("components", {})["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    document["security"] = [{"key": []}, {}]  # either: a server without keys asks for none
    for path in PROBES & document["paths"].keys():
        for operation in document["paths"][path].values():
            operation["security"] = []
    return document


def _is_guarded(scope: Scope) -> bool:
    return scope["type"] in HTTP_AND_WEBSOCKET and not is_free(scope["path"]) and scope.get("method") != "OPTIONS"


def presented_key(scope: Scope) -> str:
    """What the client says its key is; empty where it says nothing."""
    header = Headers(scope=scope).get("authorization", "")
    if header.startswith(BEARER):
        return header.removeprefix(BEARER)
    if scope["type"] == "websocket" and scope["path"] in LIVE_DOORS:
        for subprotocol in scope["subprotocols"]:
            if subprotocol.startswith(SUBPROTOCOL):
                return str(subprotocol.removeprefix(SUBPROTOCOL))
    return ""
