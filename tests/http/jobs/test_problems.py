"""Errors in the words of whisper-server's clients."""

import json

import pytest

from molva.errors import Busy, ModelNotReady, ShuttingDown
from molva.http.dialects import respond
from molva.runtime.gpu import Shortage
from molva.runtime.model_state import LOADING, UNLOADED, ModelState


@pytest.mark.parametrize(
    ("state", "seconds"),
    [(UNLOADED, 30), (LOADING, 10), (ModelState("waiting_for_gpu", shortage=Shortage(None, None, 45)), 45)],
)
def test_10_11_12_a_model_that_is_not_ready_tells_its_state_and_when_to_come_again(
    state: ModelState, seconds: int
) -> None:
    answer = respond("/jobs", state.not_ready())
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == str(seconds)
    assert json.loads(bytes(answer.body)) == {
        "error": "model_not_ready",
        "code": "model_not_ready",
        "state": state.state,
        "retry_after_secs": seconds,
        "retry_after_ms": seconds * 1000,
    }


def test_when_to_come_again_is_told_in_milliseconds_too() -> None:
    answer = respond("/jobs", Busy(1.5))
    assert answer.headers["retry-after"] == "2"
    assert json.loads(bytes(answer.body))["retry_after_ms"] == 1500


@pytest.mark.parametrize("path", ["/jobs", "/jobs/1/stream", "/model/load", "/model/"])
def test_their_paths_have_an_error_and_a_code(path: str) -> None:
    assert json.loads(bytes(respond(path, ShuttingDown()).body)).keys() == {"error", "code"}


@pytest.mark.parametrize("path", ["/model", "/jobsx", "/v1/jobs", "/models/1"])
def test_other_paths_do_not(path: str) -> None:
    assert json.loads(bytes(respond(path, ShuttingDown()).body)).keys() == {"error", "message", "code"}


@pytest.mark.parametrize("path", ["/jobs", "/model/load"])
def test_of_a_bug_nothing_is_told(path: str) -> None:
    answer = respond(path, ValueError("a secret"))
    assert answer.status_code == 500
    assert json.loads(bytes(answer.body)) == {"error": "internal server error", "code": "internal"}


def test_other_doors_tell_it_as_they_tell_that_they_are_busy() -> None:
    native, openai = (respond(path, ModelNotReady("unloaded", 30)) for path in ("/v1/transcribe", "/v1/audio/x"))
    assert (native.status_code, native.headers["retry-after"]) == (503, "30")
    assert json.loads(bytes(native.body))["code"] == "model_not_ready"
    assert (openai.status_code, openai.headers["retry-after"]) == (503, "30")
    assert json.loads(bytes(openai.body))["error"]["type"] == "server_error"
