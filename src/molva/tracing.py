"""Traces for OpenTelemetry, where its packages are installed and a collector is named; nothing at all otherwise.

The `OTEL_…` variables are OpenTelemetry's own. Attributes say how long and how much, never what: no text, no names of
files, no keys, no query strings, and of errors their kinds only.
"""

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Tracer

log = logging.getLogger(__name__)

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")

Value = str | int | float
Note = Callable[[str, Value], None]
"""Adds an attribute to a span."""

_tracer: "Tracer | None" = None


def start() -> Callable[[], None]:
    """Send traces from now on, if the environment names a collector. Returns what sends the last ones, and blocks."""
    disabled = os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    if disabled or os.environ.get("OTEL_TRACES_EXPORTER", "otlp") != "otlp" or not any(map(os.environ.get, ENDPOINTS)):
        return lambda: None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        log.warning("A collector of traces is named, but there are none: pip install 'molva[otel]'")
        return lambda: None
    os.environ.setdefault("OTEL_SERVICE_NAME", "molva")
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    use(provider)
    return provider.shutdown


def use(provider: "TracerProvider | None") -> None:
    """Have spans made by `provider`; by nobody where it is None."""
    global _tracer
    _tracer = None if provider is None else provider.get_tracer("molva")


@contextmanager
def span(
    name: str, facts: Mapping[str, Value] | None = None, *, caller: Mapping[str, str] | None = None
) -> Iterator[Note]:
    """A span around what is done inside, in this thread or task. `caller`: headers of the request that it answers;
    a trace that they name goes on.
    """
    if _tracer is None:
        yield _nowhere
        return
    from opentelemetry.propagate import extract
    from opentelemetry.trace import SpanKind, Status, StatusCode

    with _tracer.start_as_current_span(
        name,
        context=None if caller is None else extract(caller),
        kind=SpanKind.INTERNAL if caller is None else SpanKind.SERVER,
        attributes=facts,
        # Messages of errors may say whose file it is.
        record_exception=False,
        set_status_on_exception=False,
    ) as current:
        try:
            yield current.set_attribute
        except Exception as error:
            current.set_status(Status(StatusCode.ERROR, type(error).__name__))
            raise


def record(name: str, started: float, ended: float, facts: Mapping[str, Value] | None = None) -> None:
    """A span that is over, below the one that goes on here; times in `time.perf_counter()`."""
    if _tracer is None:
        return
    epoch_ns = time.time_ns() - time.perf_counter_ns()
    finished = _tracer.start_span(name, start_time=epoch_ns + int(started * 1e9), attributes=facts)
    finished.end(epoch_ns + int(ended * 1e9))


def _nowhere(_name: str, _value: Value) -> None:
    pass
