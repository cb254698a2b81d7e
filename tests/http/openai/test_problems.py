"""Errors of OpenAI's dialect: which path has it, and what stands in it."""

from typing import Any

import httpx2
import pytest
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from molva import errors
from molva.engines.fake import FakeEngine
from molva.http.dialects import respond
from molva.http.openai.problems import problem_for
from molva.http.state import Limits
from tests.http.conftest import Running, serving

FOREIGN = {"origin": "https://evil.example"}


def told(answer: httpx2.Response) -> dict[str, Any]:
    """What stands under "error", which is all there is."""
    body = answer.json()
    assert body.keys() == {"error"}
    assert body["error"].keys() == {"message", "type", "param", "code"}
    assert body["error"]["message"]
    error: dict[str, Any] = body["error"]
    return error


def as_client_sees(response: Response) -> httpx2.Response:
    return httpx2.Response(response.status_code, headers=response.headers, content=bytes(response.body))


@pytest.mark.parametrize(
    ("error", "status", "kind", "param", "code"),
    [
        (errors.AudioError(), 400, "invalid_request_error", "file", None),
        (errors.EmptyAudio(), 400, "invalid_request_error", "file", None),
        (errors.AudioTooLong(7200), 400, "invalid_request_error", "file", None),
        (errors.OptionError("language", "no"), 400, "invalid_request_error", "language", None),
        (errors.UnsupportedTask("translate"), 400, "invalid_request_error", "task", None),
        (errors.InvalidKey(), 401, "invalid_request_error", None, "invalid_api_key"),
        (errors.OriginDenied(), 403, "invalid_request_error", None, "origin_denied"),
        (errors.PayloadTooLarge(), 413, "invalid_request_error", "file", None),
        (errors.Busy(3), 503, "server_error", None, None),
        (errors.ModelLoading(), 503, "server_error", None, None),
        (errors.ShuttingDown(), 503, "server_error", None, None),
        (errors.InferenceTimeout(), 504, "server_error", None, None),
        (errors.InferenceError(), 500, "api_error", None, None),
        (errors.Cancelled(), 500, "api_error", None, None),
        (HTTPException(429), 429, "rate_limit_error", None, None),
        (RuntimeError("/srv/secret"), 500, "api_error", None, None),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_each_error_has_its_status_type_param_and_code(
    error: Exception, status: int, kind: str, param: str | None, code: str | None
) -> None:
    answer = as_client_sees(problem_for(error))
    assert answer.status_code == status
    assert told(answer) | {"message": ""} == {"message": "", "type": kind, "param": param, "code": code}
    assert "secret" not in answer.text


def test_busy_says_when_to_try_again_in_whole_seconds() -> None:
    assert problem_for(errors.Busy(2.2)).headers["retry-after"] == "3"


def test_a_field_of_the_wrong_type_is_400_and_named() -> None:
    wrong = {"type": "float_parsing", "loc": ("body", "temperature"), "msg": "not a number", "input": "hot"}
    answer = as_client_sees(problem_for(RequestValidationError([wrong])))
    assert answer.status_code == 400
    assert told(answer)["param"] == "temperature"
    assert told(answer)["message"] == "invalid request parameters"
    broken = {"type": "json_invalid", "loc": ("body", 17), "msg": "JSON decode error", "input": {}}
    assert told(as_client_sees(problem_for(RequestValidationError([broken]))))["param"] is None


@pytest.mark.parametrize(
    ("path", "openai"),
    [
        ("/v1/audio", True),
        ("/v1/audio/nothing", True),
        ("/v1/realtime", True),
        ("/v1/realtime/client_secrets", True),
        ("/v1/models/whisper-1", True),
        ("/v1/models", False),
        ("/v1/transcribe", False),
        ("/v1/ws", False),
        ("/v1/audiobooks", False),
        ("/docs", False),
    ],
)
def test_the_path_decides_the_dialect_of_every_layer(path: str, openai: bool) -> None:
    for error in (errors.OriginDenied(), errors.PayloadTooLarge(), errors.ShuttingDown(), RuntimeError()):
        body = as_client_sees(respond(path, error)).json()
        assert isinstance(body["error"], dict) is openai
        assert ("code" in body) is not openai


def test_the_list_of_models_refuses_a_key_in_openais_words() -> None:
    assert told(as_client_sees(respond("/v1/models", errors.InvalidKey())))["code"] == "invalid_api_key"
    assert as_client_sees(respond("/v1/ws", errors.InvalidKey())).json()["code"] == "invalid_api_key"


def test_an_unknown_path_and_a_wrong_method_are_objects(fake_server: Running) -> None:
    unknown = fake_server.client.get("/v1/audio/nothing")
    assert (unknown.status_code, told(unknown)["type"]) == (404, "invalid_request_error")
    refused = as_client_sees(problem_for(HTTPException(405, headers={"Allow": "POST"})))
    assert (refused.status_code, refused.headers["allow"]) == (405, "POST")
    assert told(refused)["type"] == "invalid_request_error"


def test_a_foreign_page_is_refused_with_an_object(fake_server: Running) -> None:
    answer = fake_server.client.post("/v1/audio/transcriptions", headers=FOREIGN)
    assert (answer.status_code, told(answer)["code"]) == (403, "origin_denied")


def test_a_body_over_the_limit_is_refused_with_an_object() -> None:
    limits = Limits(body_bytes=10, max_audio_s=7200, inference_timeout_s=60)
    with serving(FakeEngine(), limits=limits) as server:
        answer = server.client.post("/v1/realtime/nothing", content=bytes(11))
        assert (answer.status_code, told(answer)["param"]) == (413, "file")
