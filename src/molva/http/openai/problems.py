"""Errors -> status and body of OpenAI's dialect: {"error": {"message", "type", "param", "code"}}, all four always."""

import math

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from molva import errors
from molva.errors import MolvaError
from molva.http.problems import status_of

#: Where this door answers with another status than the native one; subclasses inherit it.
STATUS: dict[type[MolvaError], int] = {
    errors.AudioError: 400,
    errors.InferenceError: 500,
}

#: What is wrong with the file has it as its `param`.
ABOUT_THE_FILE = (errors.AudioError, errors.PayloadTooLarge)

#: OpenAI names few codes. These are what clients look at; all else is told by the status.
NAMED = (
    errors.InvalidKey,
    errors.OriginDenied,
    errors.HostDenied,
    errors.RateLimited,
    errors.QuotaExceeded,
    errors.UnsupportedOperation,
)

INTERNAL = "internal server error"
"""All that a client is told of what was not raised on purpose."""


def problem(
    status: int,
    message: str,
    *,
    param: str | None = None,
    code: str | None = None,
    retry_after_s: float | None = None,
) -> JSONResponse:
    """An error response; its type follows from the status."""
    headers = {} if retry_after_s is None else {"retry-after": str(math.ceil(retry_after_s))}
    return JSONResponse({"error": error_object(status, message, param=param, code=code)}, status, headers)


def error_object(
    status: int, message: str, *, param: str | None = None, code: str | None = None
) -> dict[str, str | None]:
    """What stands under "error", also in a stream that has begun."""
    return {"message": message, "type": _type(status), "param": param, "code": code}


def problem_for(error: Exception) -> Response:
    """The response for an error, by its class. Nothing is told of what was not raised on purpose."""
    if isinstance(error, MolvaError):
        return _for_ours(error)
    if isinstance(error, RequestValidationError):
        field = error.errors()[0]["loc"][-1]
        return problem(400, "invalid request parameters", param=field if isinstance(field, str) else None)
    if isinstance(error, HTTPException):
        response = problem(error.status_code, error.detail)
        response.headers.update(error.headers or {})
        return response
    return _bug()


def _for_ours(error: MolvaError) -> Response:
    status = next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), status_of(error))
    if status == 500:
        return _bug()
    return problem(
        status,
        str(error),
        param=_param(error),
        code=error.code if isinstance(error, NAMED) else None,
        retry_after_s=error.retry_after_s if isinstance(error, errors.TryLater) else None,
    )


def _param(error: MolvaError) -> str | None:
    if isinstance(error, ABOUT_THE_FILE):
        return "file"
    return error.option if isinstance(error, errors.OptionError) else None


def _bug() -> Response:
    return problem(500, INTERNAL)


def _type(status: int) -> str:
    if status == 429:
        return "rate_limit_error"
    if status < 500:
        return "invalid_request_error"
    return "api_error" if status == 500 else "server_error"
