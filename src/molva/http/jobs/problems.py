"""Errors -> status and body of this door's dialect: {"error", "code"} and sometimes "retry_after_ms"."""

import math
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from molva import errors
from molva.errors import MolvaError
from molva.http.problems import status_of

#: Where this door answers with another status than the native one; subclasses inherit it.
STATUS: dict[type[MolvaError], int] = {
    errors.UnknownModel: 404,
    errors.ModelNotInstalled: 404,
}

HTTP_CODES = {404: "not_found", 405: "method_not_allowed"}
"""Of what the framework refuses."""


def problem(
    status: int, code: str, message: str, *, retry_after_s: float | None = None, **more: str | int
) -> JSONResponse:
    """An error response; `more` are keys of its body."""
    body: dict[str, Any] = {"error": message, "code": code, **more}
    headers = {}
    if retry_after_s is not None:
        body["retry_after_ms"] = round(retry_after_s * 1000)
        headers["retry-after"] = str(math.ceil(retry_after_s))
    return JSONResponse(body, status, headers)


def problem_for(error: Exception) -> Response:
    """The response for an error, by its class. Nothing is told of what was not raised on purpose."""
    if isinstance(error, errors.ModelNotReady):
        return _not_ready(error)
    if isinstance(error, MolvaError):
        return _for_ours(error)
    if isinstance(error, RequestValidationError):
        problems = (f"{problem['loc'][-1]}: {problem['msg']}" for problem in error.errors())
        return problem(400, "invalid_option", "; ".join(problems))
    if isinstance(error, HTTPException):
        code = HTTP_CODES.get(error.status_code, "invalid_option")
        response = problem(error.status_code, code, error.detail)
        response.headers.update(error.headers or {})
        return response
    return _bug()


def _not_ready(error: errors.ModelNotReady) -> Response:
    """Clients of this door look at the text, and expect the code there."""
    seconds = math.ceil(error.retry_after_s)
    return problem(503, error.code, error.code, retry_after_s=seconds, state=error.state, retry_after_secs=seconds)


def _for_ours(error: MolvaError) -> Response:
    status = next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), status_of(error))
    if status == 500:
        return _bug()
    retry_after_s = error.retry_after_s if isinstance(error, errors.TryLater) else None
    return problem(status, error.code, str(error), retry_after_s=retry_after_s)


def _bug() -> Response:
    return problem(500, "internal", "internal server error")
