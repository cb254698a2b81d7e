"""The server keeps to its own OpenAPI document, whatever is sent: schemathesis makes up the requests."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from molva.runtime.loading import sample_speech
from tests.http.conftest import wav
from tests.http.jobs.conftest import JobServer, serving_jobs

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]

FILES = st.sampled_from([wav(sample_speech()), wav(sample_speech()[:8000])]) | st.binary(max_size=2000)
schemathesis.openapi.format("binary", FILES)
schemathesis.openapi.media_type("application/octet-stream", FILES)


@pytest.fixture(scope="module")
def server() -> Iterator[JobServer]:
    with serving_jobs() as running:
        yield running


def answers(operation: APIOperation[Any, Any, Any, Any], mode: GenerationMode) -> Counter[int]:
    """How often each status came of requests that are as the document wants them, or are not; each is checked."""
    statuses = Counter[int]()

    @settings(max_examples=40, suppress_health_check=list(HealthCheck))
    @given(operation.as_strategy(generation_mode=mode))
    def check(case: Case[Any]) -> None:
        response = case.call(timeout=30)
        statuses[response.status_code] += 1
        case.validate_response(response, checks=CHECKS)

    check()
    return statuses


@pytest.mark.slow
def test_every_answer_is_documented(server: JobServer) -> None:
    async def scrape() -> bytes:
        return b""

    server.server.state.scrape = scrape
    document = schemathesis.openapi.from_url(f"{server.server.url}/openapi.json")
    known = {"model": "whisper-1", "job_id": server.done().id}
    found = [found.ok() for found in document.get_all_operations() if isinstance(found, Ok)]
    operations = [operation for operation in found if operation.path != "/model/events"]  # it has no end
    assert len(operations) >= 8
    for operation in operations:
        right = answers(operation, GenerationMode.POSITIVE)
        if operation.path_parameters:
            assert right[404], operation.label
            values = {parameter.name: known[parameter.name] for parameter in operation.path_parameters}
            operation.Case(path_parameters=values).call_and_validate(checks=CHECKS)
        else:
            assert right[200] or right[202], operation.label
        if (
            operation.query or "audio" in operation.path or operation.path == "/jobs"
        ):  # elsewhere nothing can be wrong but the bytes of a file
            assert answers(operation, GenerationMode.NEGATIVE)[400], operation.label
