"""Routes, error handlers and middleware, put together in order."""

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp

from molva import __version__
from molva.errors import MolvaError
from molva.http import docs, native, websocket
from molva.http.middleware import BodyLimit, Head, Origin, RequestId
from molva.http.origin import OriginPolicy
from molva.http.problems import problem
from molva.http.state import ServerState

CLIENT_CLOSED_REQUEST = 499
"""Nobody reads it; the log shows it."""


def create_app(state: ServerState, origins: OriginPolicy) -> ASGIApp:
    """The ASGI application over a server's state."""
    app = FastAPI(
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
    app.include_router(docs.router)
    app.mount(docs.ASSETS, docs.assets)
    app.add_exception_handler(MolvaError, _on_molva_error)
    app.add_exception_handler(RequestValidationError, _on_invalid_query)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)
    app.add_exception_handler(Exception, _on_bug)
    return RequestId(Origin(Head(BodyLimit(app, state.limits.body_bytes)), origins))


async def _on_molva_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, MolvaError)  # noqa: S101 - registered for this class
    return native.problem_for(request.url.path, error)


async def _on_invalid_query(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this class
    problems = (f"{problem['loc'][-1]}: {problem['msg']}" for problem in error.errors())
    return PlainTextResponse(f"Invalid query parameter: {'; '.join(problems)}", 400)


async def _on_http_exception(_request: Request, error: Exception) -> Response:
    """Unknown paths and wrong methods have an empty body, as the native contract has it."""
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this class
    return Response(status_code=error.status_code, headers=error.headers)


async def _on_disconnect(_request: Request, _error: Exception) -> Response:
    return Response(status_code=CLIENT_CLOSED_REQUEST)


async def _on_bug(_request: Request, _error: Exception) -> Response:
    return problem(500, "internal", "Internal server error")
