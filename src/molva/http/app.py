"""Routes, error handlers and middleware, put together in order."""

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp

from molva import __version__
from molva.errors import InferenceTimeout, MolvaError
from molva.http import docs, metrics, native, page, status, websocket
from molva.http.auth import Auth, declare_keys
from molva.http.bodies import BodyLimit
from molva.http.dialects import respond
from molva.http.guard import BodyDeadline, Guard, Guards, RateLimit
from molva.http.jobs import model as model_life
from molva.http.jobs import records, stream, submission
from molva.http.middleware import DoubledPrefix, Head, KeepLimits, Origin, RequestId
from molva.http.openai import client_secrets, models, realtime, transcriptions
from molva.http.routes import RouteTemplates
from molva.http.state import ServerState
from molva.keys import KeyRing

ROUTERS = (
    native.router,
    websocket.router,
    transcriptions.router,
    models.router,
    realtime.router,
    client_secrets.router,
    submission.router,
    records.router,
    stream.router,
    model_life.router,
    metrics.router,
    docs.router,
    page.router,
    status.router,
)

CLIENT_CLOSED_REQUEST = 499
"""Nobody reads it; the log shows it."""


class Documented(FastAPI):
    """The routes, with a document that says how to send a key."""

    def openapi(self) -> dict[str, Any]:
        """The document that /docs shows."""
        return declare_keys(super().openapi())


def create_app(state: ServerState, keys: KeyRing | None = None, guards: Guards | None = None) -> ASGIApp:
    """The ASGI application over a server's state. Without `keys` it never asks for one."""
    guards = guards or Guards()
    app = Documented(
        title="molva",
        version=__version__,
        summary="Speech to text on your own machine",
        docs_url=None,
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
        redirect_slashes=False,
    )
    app.state.server = state
    for router in ROUTERS:
        app.include_router(router)
    app.mount(docs.ASSETS, docs.assets)
    for kind in (MolvaError, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, _on_error)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)
    _build_routes(app)
    handler = BodyDeadline(KeepLimits(app, state), guards.body_timeout_s)
    inner: ASGIApp = Head(BodyLimit(handler, lambda: state.limits))
    if keys is not None:
        inner = Auth(inner, keys, state.ephemeral, guards.quotas)
    guarded = Guard(Origin(RateLimit(inner, guards.limiter, state.observer), state, keys), guards)
    return DoubledPrefix(RequestId(guarded, _templates(), state.observer))


def _build_routes(app: FastAPI) -> None:
    """Read the routes' signatures now: FastAPI would at the first request, in whatever thread that comes."""
    for route in app.routes:
        route.matches({"type": "http", "method": "GET", "path": "/", "headers": []})


def _templates() -> RouteTemplates:
    """Of all routes, those of the framework too."""
    paths = [route.path for router in ROUTERS for route in router.routes if isinstance(route, Route | WebSocketRoute)]
    return RouteTemplates([*paths, "/openapi.json", f"{docs.ASSETS}/{{file:path}}"])


async def _on_error(request: Request, error: Exception) -> Response:
    if isinstance(error, InferenceTimeout):
        state: ServerState = request.app.state.server
        state.observer.inference_timed_out()
    return respond(request.scope["path"], error)


async def _on_disconnect(_request: Request, _error: Exception) -> Response:
    return Response(status_code=CLIENT_CLOSED_REQUEST)
