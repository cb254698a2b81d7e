"""One tree of spans from the socket to the engine, and nothing where nobody asked for it."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from molva import tracing
from molva.engines.fake import FakeEngine
from molva.jobs.job import Status
from molva.runtime.loading import sample_speech
from tests.http.conftest import Running, serving, wav
from tests.http.openai.conftest import LONG_SPEECH
from tests.http.wsclient import UTTERANCE, in_session
from tests.jobs.test_service import house

SPEECH = wav(sample_speech())
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing.use(provider)
    yield exporter
    tracing.use(None)
    provider.shutdown()


def ended(exporter: InMemorySpanExporter, server: Running, root: str) -> dict[str, list[ReadableSpan]]:
    """Spans by name, once the root is among them: it ends after its answer has been read."""
    server.wait_until(lambda _: any(span.name == root for span in exporter.get_finished_spans()))
    named: dict[str, list[ReadableSpan]] = {}
    for span in exporter.get_finished_spans():
        named.setdefault(span.name, []).append(span)
    return named


def is_child(span: ReadableSpan, parent: ReadableSpan) -> bool:
    assert parent.context is not None
    return span.parent is not None and span.parent.span_id == parent.context.span_id


def test_a_request_is_one_tree(spans: InMemorySpanExporter) -> None:
    with serving(FakeEngine()) as server:
        headers = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
        assert server.client.post("/v1/transcribe?format=srt", content=LONG_SPEECH, headers=headers).status_code == 200
        named = ended(spans, server, "POST /v1/transcribe")
        [root] = named.pop("POST /v1/transcribe")
        assert set(named) == {"model", "admission", "find speech", "queue", "engine", "render"}
        assert len(named["queue"]) == len(named["engine"]) == 6
        for each in named.values():
            assert all(is_child(span, root) for span in each)
        assert root.context is not None
        assert format(root.context.trace_id, "032x") == TRACE
        assert root.attributes is not None
        assert dict(root.attributes) == {
            "http.request.method": "POST",
            "http.route": "/v1/transcribe",
            "http.response.status_code": 200,
        }


def test_a_live_session_is_one_tree(spans: InMemorySpanExporter) -> None:
    with serving(FakeEngine()) as server:
        with in_session(server) as client:
            client.say(UTTERANCE)
            client.stop()
            client.rest()
        named = ended(spans, server, "GET /v1/ws")
        [root] = named.pop("GET /v1/ws")
        assert set(named) == {"model", "admission", "queue", "engine"}
        assert all(is_child(span, root) for each in named.values() for span in each)


def test_a_job_is_one_tree(spans: InMemorySpanExporter, tmp_path: Path) -> None:
    async def test() -> str:
        async with house(tmp_path) as server:
            job = await server.submit()
            assert (await server.end_of(job.id)).status == Status.DONE
            return job.id

    job_id = asyncio.run(test())
    [root] = [span for span in spans.get_finished_spans() if span.name == "job"]
    assert root.attributes == {"molva.job.id": job_id}
    below = [span for span in spans.get_finished_spans() if span is not root]
    assert {span.name for span in below} == {"model", "find speech", "queue", "engine"}
    assert all(is_child(span, root) for span in below)


def test_a_window_lies_after_its_wait_and_inside_its_request(spans: InMemorySpanExporter) -> None:
    with serving(FakeEngine()) as server:
        server.client.post("/v1/transcribe", content=SPEECH)
        named = ended(spans, server, "POST /v1/transcribe")
        [root], [queue], [engine] = named["POST /v1/transcribe"], named["queue"], named["engine"]
        times = [root.start_time, queue.start_time, queue.end_time, engine.end_time, root.end_time]
        assert times == sorted(times, key=lambda t: t or 0)
        assert engine.attributes is not None
        assert engine.attributes["molva.class"] == "request"
        assert engine.attributes["molva.model"] == "fake"


def test_of_an_error_only_its_kind_is_told(spans: InMemorySpanExporter) -> None:
    with pytest.raises(ValueError, match="secret"), tracing.span("work"):
        raise ValueError("secret")
    [span] = spans.get_finished_spans()
    assert "secret" not in span.to_json()
    assert span.status.description == "ValueError"


def test_probes_leave_no_spans(spans: InMemorySpanExporter) -> None:
    with serving(FakeEngine()) as server:
        server.client.get("/health")
        server.client.get("/v1/models")
        assert set(ended(spans, server, "GET /v1/models")) == {"GET /v1/models"}


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_TRACES_EXPORTER": "none"},
    ],
    ids=["no endpoint", "disabled", "no exporter"],
)
def test_where_nobody_asks_opentelemetry_is_not_even_imported(variables: dict[str, str]) -> None:
    code = (
        "import sys; from molva import tracing; tracing.start()\n"
        "with tracing.span('x') as note: note('a', 1); tracing.record('y', 0, 1)\n"
        "assert not any(name.startswith('opentelemetry') for name in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": ":".join(sys.path), **variables}, check=True)


def test_without_the_packages_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    tracing.start()()
    assert "molva[otel]" in caplog.text
