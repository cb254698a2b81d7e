"""MolvaError -> status and body of the native dialect: {"error", "message", "code"} and sometimes "retry_after_ms"."""

import math

from starlette.responses import JSONResponse

from molva import errors
from molva.errors import MolvaError, TryLater

#: Status of each error that can reach a client; subclasses inherit it.
STATUS: dict[type[MolvaError], int] = {
    errors.EmptyAudio: 400,
    errors.OptionError: 400,
    errors.InvalidKey: 401,
    errors.OriginDenied: 403,
    errors.HostDenied: 403,
    errors.BodyTimeout: 408,
    errors.PayloadTooLarge: 413,
    errors.AudioError: 422,
    errors.InferenceError: 422,
    errors.InferenceTimeout: 504,
    errors.ModelLoading: 503,
    errors.Busy: 503,
    errors.TooManyConnections: 503,
    errors.RateLimited: 429,
    errors.QuotaExceeded: 429,
    errors.ModelNotReady: 503,
    errors.ShuttingDown: 503,
    errors.ModelError: 503,
    errors.SpoolError: 503,
    errors.SpoolFull: 507,
    errors.MetricsDisabled: 404,
    errors.JobNotFound: 404,
    errors.JobFinished: 409,
    errors.JobNotDone: 409,
    errors.IdempotencyMismatch: 409,
    errors.StoreError: 503,
    errors.StoreFull: 507,
    errors.AddressRefused: 400,
    errors.FetchFailed: 400,
    errors.DiarizationUnavailable: 409,
}


def status_of(error: MolvaError) -> int:
    """HTTP status, 500 for what no client should ever see."""
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)


def problem(status: int, code: str, message: str, *, retry_after_s: float | None = None) -> JSONResponse:
    """An error response. `message` repeats `error`: clients of both names exist."""
    body: dict[str, str | int] = {"error": message, "message": message, "code": code}
    headers = {}
    if retry_after_s is not None:
        body["retry_after_ms"] = round(retry_after_s * 1000)
        headers["retry-after"] = str(math.ceil(retry_after_s))
    return JSONResponse(body, status, headers)


def problem_of(error: MolvaError) -> JSONResponse:
    """The response for an error, by its class."""
    status = status_of(error)
    if status == 500:
        return problem(500, "internal", "Internal server error")
    return problem(
        status, error.code, str(error), retry_after_s=error.retry_after_s if isinstance(error, TryLater) else None
    )
