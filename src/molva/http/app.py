"""Routes, error handlers and middleware, put together in order."""

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp

from molva import __version__
from molva.errors import MolvaError
from molva.http import docs, native, websocket
from molva.http.auth import Auth, declare_keys
from molva.http.dialects import respond
from molva.http.jobs import model as model_life
from molva.http.jobs import records, stream, submission
from molva.http.middleware import BodyLimit, DoubledPrefix, Head, KeepLimits, Origin, RequestId
from molva.http.openai import client_secrets, models, realtime, transcriptions
from molva.http.state import ServerState
from molva.keys import KeyRing

CLIENT_CLOSED_REQUEST = 499
"""Nobody reads it; the log shows it."""


class Documented(FastAPI):
    """The routes, with a document that says how to send a key."""

    def openapi(self) -> dict[str, Any]:
        """The document that /docs shows."""
        return declare_keys(super().openapi())


def create_app(state: ServerState, keys: KeyRing | None = None) -> ASGIApp:
    """The ASGI application over a server's state. Without `keys` it never asks for one."""
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
    app.include_router(native.router)
    app.include_router(websocket.router)
    app.include_router(transcriptions.router)
    app.include_router(models.router)
    app.include_router(realtime.router)
    app.include_router(client_secrets.router)
    app.include_router(submission.router)
    app.include_router(records.router)
    app.include_router(stream.router)
    app.include_router(model_life.router)
    app.include_router(docs.router)
    app.mount(docs.ASSETS, docs.assets)
    for kind in (MolvaError, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, _on_error)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)
    _build_routes(app)
    inner: ASGIApp = Head(BodyLimit(KeepLimits(app, state), lambda: state.limits.body_bytes))
    if keys is not None:
        inner = Auth(inner, keys, state.ephemeral)
    return DoubledPrefix(RequestId(Origin(inner, state, keys)))


def _build_routes(app: FastAPI) -> None:
    """Read the routes' signatures now: FastAPI would at the first request, in whatever thread that comes."""
    for route in app.routes:
        route.matches({"type": "http", "method": "GET", "path": "/", "headers": []})


async def _on_error(request: Request, error: Exception) -> Response:
    return respond(request.scope["path"], error)


async def _on_disconnect(_request: Request, _error: Exception) -> Response:
    return Response(status_code=CLIENT_CLOSED_REQUEST)
