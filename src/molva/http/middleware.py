"""What happens to every request before its handler: request id, origin policy. Plain ASGI.

Order: request id -> host (403, in guard.py) -> origin (403) -> rate (429, in guard.py) -> key (401) and its quotas
(429, both in auth.py) -> size of the body (413, and 503 beside others, in bodies.py) -> handler, so that refusals carry
the id too, and pages of permitted origins can read why they were refused. Nothing is awaited on the way down: all of
them decide by the rules of one moment, also where SIGHUP changes these.
"""

import asyncio
import logging
import secrets
import time
import uuid
from contextlib import AbstractContextManager, nullcontext

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from molva import logs, tracing
from molva.errors import OriginDenied, ShuttingDown
from molva.http.dialects import is_jobs, is_openai, respond
from molva.http.routes import OTHER, RouteTemplates
from molva.http.state import LIMITS, ServerState
from molva.keys import KeyRing
from molva.observer import Observer

log = logging.getLogger("molva.http")

PROBES = frozenset({"/health", "/ready"})
"""Asked by monitors: no origin policy, no CORS headers, no key."""

PAGE = "/"
PAGE_FILES = "/page/"
"""The page for people and what it consists of; page.py has them."""

KEY_NAME = "key_name"
"""Where auth.py leaves the name of the key in the state of a request, for the log."""

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""Others, which clients may make up, are told as `other`."""

HTTP_AND_WEBSOCKET = frozenset({"http", "websocket"})
ANSWERS = frozenset({"http.response.start", "websocket.http.response.start", "websocket.accept"})
"""Messages that carry the headers of an answer."""


def is_free(path: str) -> bool:
    """Whether everybody gets this, as often as they like: what monitors ask, and the page, which asks for a key."""
    return path in PROBES or path == PAGE or path.startswith(PAGE_FILES)


def uuid7() -> uuid.UUID:
    """A time-ordered UUID (RFC 9562, version 7), so that ids sort as their requests came."""
    stamp = time.time_ns() // 1_000_000
    value = (stamp << 80) | (7 << 76) | (secrets.randbits(12) << 64) | (0b10 << 62) | secrets.randbits(62)
    return uuid.UUID(int=value)


class DoubledPrefix:
    """Takes `/v1/v1/…` for `/v1/…`: clients add the prefix to a base address that has it already."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in HTTP_AND_WEBSOCKET and scope["path"].startswith("/v1/v1/"):
            scope = {**scope, "path": scope["path"].removeprefix("/v1")}
        await self._app(scope, receive, send)


class RequestId:
    """Echoes `x-request-id` where it is printable ASCII, makes one where it is not, and tells the outcome: to the log,
    to the observer and to the trace. All three know routes, not paths: those hold what clients wrote.
    """

    def __init__(self, app: ASGIApp, routes: RouteTemplates, observer: Observer) -> None:
        self._app = app
        self._routes = routes
        self._observer = observer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in HTTP_AND_WEBSOCKET:
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if given and given.isascii() and given.isprintable() else str(uuid7())
        route = self._routes.of(scope["path"])
        method = scope.get("method", "GET")
        method = method if method in METHODS else OTHER
        started, status = time.perf_counter(), 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] in ANSWERS:
                status = message.get("status", 101)
                MutableHeaders(scope=message)["x-request-id"] = request_id
                self._observer.answered(method, route, status, time.perf_counter() - started)
            await send(message)

        with logs.about(request_id=request_id), _span(method, route, headers) as note:
            try:
                await self._app(scope, receive, send_with_id)
            except asyncio.CancelledError:
                # The drain is over. A client that still sends is told, unless it has been answered in part.
                if status or scope["type"] != "http":
                    raise
                await respond(scope["path"], ShuttingDown())(scope, receive, send_with_id)
            finally:
                if status:
                    note("http.response.status_code", status)
                _log(
                    scope,
                    "WS" if scope["type"] == "websocket" else method,
                    route,
                    status,
                    (time.perf_counter() - started) * 1000,
                )


def _span(method: str, route: str, headers: Headers) -> AbstractContextManager[tracing.Note]:
    if route in PROBES:
        return nullcontext(lambda _name, _value: None)
    facts = {"http.request.method": method, "http.route": route}
    return tracing.span(f"{method} {route}", facts, caller=headers)


def _log(scope: Scope, method: str, route: str, status: int, took_ms: float) -> None:
    level = logging.DEBUG if route in PROBES else logging.INFO
    key = scope.get("state", {}).get(KEY_NAME)
    fields = {"method": method, "route": route, "status": status or None, "ms": round(took_ms, 1), "key": key}
    of_key = "" if key is None else f" {key}"
    log.log(level, "%s %s %s %.0f ms%s", method, route, status or "-", took_ms, of_key, extra=fields)


class Head:
    """Answers HEAD as GET without the body, wherever GET works."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def send_without_body(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        await self._app({**scope, "method": "GET"}, receive, send_without_body)


class Origin:
    """Refuses foreign pages and lets permitted ones read the answer."""

    def __init__(self, app: ASGIApp, state: ServerState, keys: KeyRing | None) -> None:
        self._app = app
        self._state = state
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in HTTP_AND_WEBSOCKET or scope["path"] in PROBES:
            await self._app(scope, receive, send)
            return
        headers, policy = Headers(scope=scope), self._state.origins
        origin = headers.get("origin")
        if not policy.permits(origin, headers.get("host")):
            log.warning(
                "origin %.200r denied; --allow-origin lets in another page, --allow-host names this server", origin
            )
            await respond(scope["path"], OriginDenied())(scope, receive, send)
            return
        of_jobs = is_jobs(scope["path"])
        may_send_key = of_jobs or is_openai(scope["path"]) or (self._keys is not None and self._keys.asks)
        cors = policy.cors_headers(origin, may_send_key=may_send_key, may_delete=of_jobs)

        async def send_with_cors(message: Message) -> None:
            if message["type"] in ANSWERS:
                MutableHeaders(scope=message).update(cors)
            await send(message)

        await self._app(scope, receive, send_with_cors)


class KeepLimits:
    """Notes the limits that a request comes in under; see `limits_of`."""

    def __init__(self, app: ASGIApp, state: ServerState) -> None:
        self._app = app
        self._state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope.setdefault("state", {})[LIMITS] = self._state.limits
        await self._app(scope, receive, send)
