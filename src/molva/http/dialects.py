"""Which dialect an error is told in: the path decides, whatever layer the error comes from."""

import re

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, Response

from molva.errors import InvalidKey, MolvaError
from molva.http import native
from molva.http.jobs import problems as jobs
from molva.http.openai.problems import problem_for
from molva.http.problems import problem

MODELS = "/v1/models"
"""The list of models has clients of both dialects. Where it refuses a key it speaks to OpenAI's."""

OPENAI = re.compile(r"/v1/(audio|realtime)(/.*)?|/v1/models/.+", re.DOTALL)

JOBS = re.compile(r"/jobs(/.*)?|/model/.*", re.DOTALL)


def respond(path: str, error: Exception) -> Response:
    """The response for any error on `path`, 500 without details for one that was not raised on purpose."""
    if is_openai(path) or (path == MODELS and isinstance(error, InvalidKey)):
        return problem_for(error)
    if is_jobs(path):
        return jobs.problem_for(error)
    return _native(path, error)


def is_openai(path: str) -> bool:
    """Whether only OpenAI's clients use this path."""
    return OPENAI.fullmatch(path) is not None


def is_jobs(path: str) -> bool:
    """Whether this path is of the door of jobs and of the model's life."""
    return JOBS.fullmatch(path) is not None


def _native(path: str, error: Exception) -> Response:
    if isinstance(error, MolvaError):
        return native.problem_for(path, error)
    if isinstance(error, RequestValidationError):
        problems = (f"{problem['loc'][-1]}: {problem['msg']}" for problem in error.errors())
        return PlainTextResponse(f"Invalid query parameter: {'; '.join(problems)}", 400)
    if isinstance(error, HTTPException):
        # Unknown paths and wrong methods have an empty body, as the native contract has it.
        return Response(status_code=error.status_code, headers=error.headers)
    return problem(500, "internal", "Internal server error")
