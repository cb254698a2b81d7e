"""Counters and histograms: what the server tells of its work, added up."""

from collections.abc import Sequence
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Histogram

from molva.jobs.job import TERMINAL
from molva.observer import Admission, DecodedWindow, Door, Observer
from molva.runtime.queue import Priority

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds; gigastt's."""
LONG_BUCKETS = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 86_400.0)
"""Seconds, for jobs."""
BATCHES = (1, 2, 4, 8, 16, 32, 64)

PROBES = frozenset({"/health", "/ready"})
"""Not counted: monitors ask all the time."""
TOO_MANY_REQUESTS = 429
"""Counted as a rejection of the limiter alone."""

PLACES = ("requests", "sessions", "model")


class Counters(Observer):
    """Counts what it is told, in a registry of its own: two servers in one process do not mix."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()

        def counter(name: str, meaning: str, *labels: str) -> Counter:
            return Counter(name, meaning, labels, registry=self.registry)

        def seconds(name: str, meaning: str, *labels: str, buckets: Sequence[float] = BUCKETS) -> Histogram:
            return Histogram(name, meaning, labels, registry=self.registry, buckets=buckets)

        self._requests = counter("gigastt_http_requests_total", "HTTP requests answered", "method", "path", "status")
        self._request_s = seconds(
            "gigastt_http_request_duration_seconds", "From a request to the head of its answer", "method", "path"
        )
        self._rejections = counter("gigastt_rate_limit_rejections_total", "Requests refused by the rate limiter")
        self._inference_s = seconds("gigastt_inference_duration_seconds", "Transcription by /v1/transcribe")
        self._inference_timeouts = counter(
            "gigastt_inference_timeouts_total", "Requests and live sessions that waited too long for the engine"
        )
        self._checkout_s = seconds("gigastt_pool_checkout_duration_seconds", "Wait for a place, also in vain")
        self._checkout_timeouts = counter("gigastt_pool_timeouts_total", "Callers that got no place")
        self._admissions = counter("molva_admissions_total", "Callers by what became of them", "places", "outcome")
        self._admission_s = seconds("molva_admission_wait_seconds", "Wait for a place, also in vain", "places")
        self._window_wait_s = seconds("molva_window_wait_seconds", "Wait of a window in the queue", "class")
        self._window_decode_s = seconds("molva_window_decode_seconds", "Run of the engine over a window", "class")
        self._batches = Histogram(
            "molva_batch_size", "Windows in one run of the engine", ["model"], registry=self.registry, buckets=BATCHES
        )
        self._decoded_s = counter("molva_decoded_audio_seconds_total", "Audio in the engine's windows", "model")
        self._engine_s = counter("molva_engine_seconds_total", "Time that workers spent in the engine", "model")
        self._partial_lag_s = seconds("molva_partial_lag_seconds", "From the newest audio to the partial about it")
        self._final_delay_s = seconds("molva_final_delay_seconds", "From the end of the silence to the final")
        self._audio_s = counter("molva_audio_seconds_total", "Audio that came in to be transcribed", "door")
        self._attempts = counter("molva_job_attempts_total", "Times that a job was taken up")
        self._job_s = seconds(
            "molva_job_duration_seconds", "From the acceptance of a job to its end", "status", buckets=LONG_BUCKETS
        )
        self._show_zeros()

    def _show_zeros(self) -> None:
        """Rates begin at zero, so series whose labels are known are there before their first event."""
        for door in get_args(Door):
            self._audio_s.labels(door)
        for priority in Priority:
            self._window_wait_s.labels(priority.name.lower())
            self._window_decode_s.labels(priority.name.lower())
        for status in TERMINAL:
            self._job_s.labels(str(status))
        for places in PLACES:
            self._admission_s.labels(places)
            for outcome in get_args(Admission):
                self._admissions.labels(places, outcome)

    def answered(self, method: str, route: str, status: int, took_s: float) -> None:
        if route in PROBES or status == TOO_MANY_REQUESTS:
            return
        self._requests.labels(method, route, status).inc()
        self._request_s.labels(method, route).observe(took_s)

    def rate_limited(self) -> None:
        self._rejections.inc()

    def inferred(self, took_s: float) -> None:
        self._inference_s.observe(took_s)

    def inference_timed_out(self) -> None:
        self._inference_timeouts.inc()

    def checked_out(self, places: str, outcome: Admission, waited_s: float) -> None:
        self._checkout_s.observe(waited_s)
        self._admission_s.labels(places).observe(waited_s)
        self._admissions.labels(places, outcome).inc()
        if outcome != "granted":
            self._checkout_timeouts.inc()

    def decoded(self, model: str, windows: Sequence[DecodedWindow], took_s: float) -> None:
        self._batches.labels(model).observe(len(windows))
        self._engine_s.labels(model).inc(took_s)
        self._decoded_s.labels(model).inc(sum(window.audio_s for window in windows))
        for window in windows:
            self._window_wait_s.labels(window.kind).observe(window.waited_s)
            self._window_decode_s.labels(window.kind).observe(took_s)

    def partial_told(self, lag_s: float) -> None:
        self._partial_lag_s.observe(lag_s)

    def final_told(self, delay_s: float) -> None:
        self._final_delay_s.observe(delay_s)

    def audio_taken(self, door: Door, audio_s: float) -> None:
        self._audio_s.labels(door).inc(audio_s)

    def job_taken_up(self) -> None:
        self._attempts.inc()

    def job_ended(self, status: str, took_s: float) -> None:
        self._job_s.labels(status).observe(took_s)
