"""`/metrics`: what Prometheus reads, on the main port or on one of its own."""

from collections.abc import Awaitable, Callable

from fastapi import APIRouter, Request
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from molva.errors import MetricsDisabled
from molva.http.schemas import ERRORS, Problem
from molva.http.state import ServerState

router = APIRouter()

MEDIA_TYPE = "text/plain; version=0.0.4"
"""Starlette adds the charset."""

Scrape = Callable[[], Awaitable[bytes]]


@router.get(
    "/metrics",
    tags=["system"],
    response_class=Response,
    responses={
        200: {"content": {"text/plain": {"schema": {"type": "string"}}}},
        401: ERRORS[401],
        403: ERRORS[403],
        404: {"description": "`metrics_disabled`", "model": Problem},
    },
)
async def metrics(request: Request) -> Response:
    """Counters, gauges and histograms in Prometheus's text format, where `--metrics` is given."""
    state: ServerState = request.app.state.server
    if state.scrape is None:
        raise MetricsDisabled
    return await _answer(state.scrape)


@router.options("/metrics", include_in_schema=False)
async def preflight() -> Response:
    """Answer to a browser that asks before it sends."""
    return Response(status_code=204)


def metrics_app(scrape: Scrape) -> ASGIApp:
    """A server of its own for this route alone. It asks for no key: it is for the operator's network."""

    async def answer(_request: Request) -> Response:
        return await _answer(scrape)

    return Starlette(routes=[Route("/metrics", answer)])


async def _answer(scrape: Scrape) -> Response:
    return Response(await scrape(), media_type=MEDIA_TYPE)
