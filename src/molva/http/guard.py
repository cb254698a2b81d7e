"""What stands before the handlers against whoever asks too much, too slowly, or for another host. Plain ASGI."""

import asyncio
import logging
from dataclasses import dataclass, field

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from molva.errors import BodyTimeout, HostDenied, RateLimited, TooManyConnections
from molva.http.dialects import respond
from molva.http.hosts import HostPolicy
from molva.http.middleware import ANSWERS, HTTP_AND_WEBSOCKET, PROBES, is_free
from molva.http.proxies import TrustedProxies, parse_address
from molva.http.quotas import Quotas
from molva.http.rate import RateLimiter, client_key
from molva.observer import Observer

log = logging.getLogger("molva.http")

IN_EXCESS = "in_excess"
"""In the state of a request: its connection is one more than the server takes. transport.py leaves it there."""

RETRY_AFTER_S = 1.0
"""What clients are told that found all connections in use."""


@dataclass(frozen=True)
class Guards:
    """What the operator chose. By default nothing is asked of anybody but that bodies arrive."""

    limiter: RateLimiter = field(default_factory=lambda: RateLimiter(None))
    proxies: TrustedProxies = field(default_factory=TrustedProxies)
    hosts: HostPolicy = field(default_factory=HostPolicy)
    quotas: Quotas = field(default_factory=Quotas)
    body_timeout_s: float = 30


class Guard:
    """Refuses what is too much, by connections (503), meant for another host (403); notes whose request it is."""

    def __init__(self, app: ASGIApp, guards: Guards) -> None:
        self._app = app
        self._guards = guards

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in HTTP_AND_WEBSOCKET or scope["path"] in PROBES:
            await self._app(scope, receive, send)
            return
        if scope.setdefault("state", {}).get(IN_EXCESS):
            refusal = respond(scope["path"], TooManyConnections(RETRY_AFTER_S))
            refusal.headers["connection"] = "close"
            await refusal(scope, receive, send)
            return
        peer = parse_address(scope["client"][0]) if scope.get("client") else None
        headers = Headers(scope=scope)
        # Proxies send whatever Host their clients named; which of them are ours, they know themselves.
        if not self._guards.proxies.trusts(peer) and not self._guards.hosts.permits(headers.get("host")):
            log.warning("host %.200r denied on %.200r", headers.get("host"), scope["path"])
            await respond(scope["path"], HostDenied())(scope, receive, send)
            return
        address = self._guards.proxies.client(peer, headers)
        if address is not None and address != peer:
            scope = {**scope, "client": (str(address), 0)}
        await self._app(scope, receive, send)


class RateLimit:
    """Refuses addresses that ask too often (429). Behind the origin policy, so that pages can read the refusal."""

    def __init__(self, app: ASGIApp, limiter: RateLimiter, observer: Observer) -> None:
        self._app = app
        self._limiter = limiter
        self._observer = observer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in HTTP_AND_WEBSOCKET and not is_free(scope["path"]):
            address = parse_address(scope["client"][0]) if scope.get("client") else None
            retry_after_s = self._limiter.refuse(client_key(address))
            if retry_after_s is not None:
                self._observer.rate_limited()
                await respond(scope["path"], RateLimited(retry_after_s))(scope, receive, send)
                return
        await self._app(scope, receive, send)


class BodyDeadline:
    """Ends requests whose bodies do not come (408).

    What counts is how long the handler waits for the next bytes: a body may take as long as it likes if it goes on.
    """

    def __init__(self, app: ASGIApp, timeout_s: float) -> None:
        self._app = app
        self._timeout_s = timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        complete = answered = late = False

        async def receive_in_time() -> Message:
            nonlocal complete, late
            if complete:
                return await receive()
            try:
                async with asyncio.timeout(self._timeout_s):
                    message = await receive()
            except TimeoutError:
                complete = late = True
                if answered:  # it only waits for the client's end, and does not have to wait any longer
                    return {"type": "http.disconnect"}
                raise BodyTimeout from None  # the application's error handler answers
            complete = message["type"] == "http.disconnect" or not message.get("more_body", False)
            return message

        async def send_and_close(message: Message) -> None:
            nonlocal answered
            if message["type"] in ANSWERS:
                answered = True
                if late:
                    MutableHeaders(scope=message)["connection"] = "close"
            await send(message)

        await self._app(scope, receive_in_time, send_and_close)
