"""The server keeps to its own OpenAPI document, whatever is sent and with keys: schemathesis makes up the requests."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from molva.http.middleware import is_free
from molva.keys import KeyFile, KeyRing
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


Operation = APIOperation[Any, Any, Any, Any]


@dataclass(frozen=True)
class Locked:
    """A server that asks for a key, its operations, and a client's key."""

    server: JobServer
    operations: list[Operation]
    headers: dict[str, str]


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Locked]:
    file = KeyFile(tmp_path_factory.mktemp("data") / "keys.json")
    headers = {"authorization": f"Bearer {file.create('laptop')}"}

    async def scrape() -> bytes:
        return b""

    with serving_jobs(keys=KeyRing(file.path)) as running:
        running.server.state.scrape = scrape
        document = schemathesis.openapi.from_url(f"{running.server.url}/openapi.json", headers=dict(headers))
        operations = [found.ok() for found in document.get_all_operations() if isinstance(found, Ok)]
        assert len(operations) >= 8
        yield Locked(running, operations, headers)


def answers(
    operation: Operation, mode: GenerationMode, headers: dict[str, str], *, max_examples: int = 25
) -> Counter[int]:
    """How often each status came of requests that are as the document wants them, or are not; each is checked."""
    statuses = Counter[int]()

    @settings(max_examples=max_examples, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(operation.as_strategy(generation_mode=mode))
    def check(case: Case[Any]) -> None:
        response = case.call(timeout=30, headers=headers)
        statuses[response.status_code] += 1
        case.validate_response(response, checks=CHECKS)

    check()
    return statuses


@pytest.mark.slow
def test_every_answer_is_documented(locked: Locked) -> None:
    known = {"model": "whisper-1", "job_id": locked.server.done().id}
    operations = [operation for operation in locked.operations if operation.path != "/model/events"]  # it has no end
    for operation in operations:
        right = answers(operation, GenerationMode.POSITIVE, locked.headers)
        assert not right[401], operation.label
        if operation.path_parameters:
            assert right[404], operation.label
            values = {parameter.name: known[parameter.name] for parameter in operation.path_parameters}
            operation.Case(path_parameters=values).call_and_validate(checks=CHECKS, headers=locked.headers)
        else:
            assert right[200] or right[202], operation.label
        if (
            operation.query or "audio" in operation.path or operation.path == "/jobs"
        ):  # elsewhere nothing can be wrong but the bytes of a file
            assert answers(operation, GenerationMode.NEGATIVE, locked.headers)[400], operation.label


@pytest.mark.slow
@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer molva_wrong"}], ids=["no key", "wrong key"])
def test_without_a_key_nothing_is_told_but_that_one_is_needed(locked: Locked, headers: dict[str, str]) -> None:
    before = locked.server.store.page(limit=500).jobs
    for operation in locked.operations:
        if is_free(operation.path):
            continue
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            try:
                statuses = answers(operation, mode, headers, max_examples=10)
            except Unsatisfiable:
                assert mode is GenerationMode.NEGATIVE  # nothing of it can be wrong
                continue
            assert statuses.keys() == {401}, f"{operation.label}: {statuses}"
    assert locked.server.store.page(limit=500).jobs == before


def test_the_document_says_of_every_operation_whether_it_needs_a_key(locked: Locked) -> None:
    for operation in locked.operations:
        raw = operation.definition.raw
        assert ("401" in raw["responses"]) is not is_free(operation.path), operation.label
        assert (raw.get("security") == []) is is_free(operation.path), operation.label
