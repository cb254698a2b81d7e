"""Windows of all callers over one engine."""

import threading
import time
from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from molva.engines.base import Hypothesis, Options
from molva.engines.fake import FakeEngine
from molva.errors import InferenceError, InferencePanic, InferenceTimeout, OptionError, ShuttingDown
from molva.logs import Lines, about
from molva.observer import DecodedWindow, Observer
from molva.runtime.queue import Priority
from molva.runtime.scheduler import MAX_HANGING, Scheduler
from molva.samples import Samples


def window(n_samples: int) -> Samples:
    return np.ones(n_samples, np.float32)


class Gate:
    """A script that waits until it is opened, so that work piles up."""

    def __init__(self) -> None:
        self.entered, self.open = threading.Event(), threading.Event()

    def __call__(self, samples: Samples, _options: Options) -> str:
        self.entered.set()
        assert self.open.wait(10)
        return str(samples.size)


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open.set()


def test_each_window_gets_its_own_answer() -> None:
    scheduler = Scheduler(3)
    lane = scheduler.lane(FakeEngine(lambda samples, _: str(samples.size)))
    futures = [lane.submit(window(n), Options()) for n in range(50)]
    assert [future.result(5).text for future in futures] == [str(n) for n in range(50)]
    scheduler.close()


def test_a_cancelled_window_is_not_decoded(gate: Gate) -> None:
    engine = FakeEngine(gate)
    scheduler = Scheduler(1)
    lane = scheduler.lane(engine)
    first = lane.submit(window(1), Options())
    assert gate.entered.wait(5)
    second, third = (lane.submit(window(n), Options()) for n in (2, 3))
    assert second.cancel()
    gate.open.set()
    assert (first.result(5).text, third.result(5).text) == ("1", "3")
    assert engine.calls == [(1,), (3,)]
    scheduler.close()


def test_an_engine_that_wants_batches_gets_windows_of_several_callers(gate: Gate) -> None:
    """With equal options only."""
    engine = FakeEngine(gate, batch_size=4)
    scheduler = Scheduler(1)
    lane = scheduler.lane(engine)
    lane.submit(window(1), Options())
    assert gate.entered.wait(5)
    futures = [lane.submit(window(n), Options()) for n in range(2, 8)]
    futures.append(lane.submit(window(8), Options(language="ru")))
    gate.open.set()
    assert [future.result(5).text for future in futures] == list("2345678")
    assert engine.calls == [(1,), (2, 3, 4, 5), (6, 7), (8,)]
    scheduler.close()


@pytest.mark.parametrize(
    ("raised", "seen"),
    [
        (ValueError("boom"), InferencePanic),
        (InferenceError(), InferenceError),
        (OptionError("language", "no"), OptionError),
    ],
)
def test_a_failing_engine_fails_its_window_only(raised: Exception, seen: type[Exception]) -> None:
    def script(samples: Samples, _options: Options) -> str:
        if samples.size == 2:
            raise raised
        return "ok"

    scheduler = Scheduler(1)
    lane = scheduler.lane(FakeEngine(script))
    futures = [lane.submit(window(n), Options()) for n in (1, 2, 3)]
    assert isinstance(futures[1].exception(5), seen)
    assert futures[2].result(5).text == "ok"
    scheduler.close()


def test_closing_refuses_the_queue_and_finishes_what_runs(gate: Gate) -> None:
    scheduler = Scheduler(1)
    lane = scheduler.lane(FakeEngine(gate))
    running = lane.submit(window(1), Options())
    assert gate.entered.wait(5)
    waiting = lane.submit(window(2), Options())
    closing = threading.Thread(target=scheduler.close)
    closing.start()
    assert isinstance(waiting.exception(5), ShuttingDown)
    gate.open.set()
    closing.join(5)
    assert running.result(0).text == "1"
    with pytest.raises(ShuttingDown):
        lane.submit(window(3), Options())


def test_finals_overtake_everything_that_has_not_started(gate: Gate) -> None:
    engine = FakeEngine(gate)
    scheduler = Scheduler(1)
    lane = scheduler.lane(engine)
    lane.submit(window(1), Options())
    assert gate.entered.wait(5)
    futures = [lane.submit(window(2 + priority), Options(), priority) for priority in reversed(Priority)]
    assert scheduler.waiting == dict.fromkeys(Priority, 1)
    gate.open.set()
    for future in futures:
        future.result(5)
    assert engine.calls == [(1,), (2,), (3,), (4,), (5,)]
    scheduler.close()


def test_partials_leave_a_worker_to_the_others(gate: Gate) -> None:
    scheduler = Scheduler(2)
    lane = scheduler.lane(FakeEngine(lambda s, o: gate(s, o) if s.size < 9 else "now"))
    partials = [lane.submit(window(n), Options(), Priority.LIVE_PARTIAL) for n in (1, 2, 3)]
    assert gate.entered.wait(5)
    assert lane.submit(window(9), Options(), Priority.LIVE_FINAL).result(5).text == "now"
    assert [future.running() for future in partials] == [True, False, False]
    gate.open.set()
    assert [future.result(5).text for future in partials] == ["1", "2", "3"]
    scheduler.close()


def test_one_worker_does_partials_too() -> None:
    scheduler = Scheduler(1)
    lane = scheduler.lane(FakeEngine())
    assert lane.submit(window(16_000), Options(), Priority.LIVE_PARTIAL).result(5).text == "слово0"
    scheduler.close()


def test_a_window_past_its_deadline_is_not_started(gate: Gate) -> None:
    engine = FakeEngine(gate)
    scheduler = Scheduler(1)
    lane = scheduler.lane(engine)
    lane.submit(window(1), Options())
    assert gate.entered.wait(5)
    late = lane.submit(window(2), Options(), deadline=time.monotonic())
    in_time = lane.submit(window(3), Options(), deadline=time.monotonic() + 60)
    gate.open.set()
    assert isinstance(late.exception(5), InferenceTimeout)
    assert in_time.result(5).text == "3"
    assert engine.calls == [(1,), (3,)]
    scheduler.close()


def test_a_hanging_worker_is_replaced_and_ends_when_its_run_does(gate: Gate) -> None:
    scheduler = Scheduler(1)
    lane = scheduler.lane(FakeEngine(lambda s, o: gate(s, o) if s.size == 1 else "ok"))
    hanging = lane.submit(window(1), Options())
    assert gate.entered.wait(5)
    waiting = lane.submit(window(2), Options())
    lane.give_up(hanging)
    assert waiting.result(5).text == "ok"
    gate.open.set()
    assert hanging.result(5).text == "1"
    assert lane.submit(window(3), Options()).result(5).text == "ok"
    scheduler.close()
    assert not any(thread.is_alive() for thread in scheduler._threads)
    assert len(scheduler._threads) == 1


def test_giving_up_on_what_has_not_started_takes_it_back(gate: Gate) -> None:
    scheduler = Scheduler(1)
    lane = scheduler.lane(FakeEngine(gate))
    lane.submit(window(1), Options())
    assert gate.entered.wait(5)
    waiting = lane.submit(window(2), Options())
    lane.give_up(waiting)
    assert waiting.cancelled()
    gate.open.set()
    scheduler.close()


def test_hanging_workers_are_not_replaced_without_end(gate: Gate) -> None:
    scheduler = Scheduler(1)
    lane = scheduler.lane(FakeEngine(gate))
    for _ in range(MAX_HANGING + 3):
        gate.entered.clear()
        future = lane.submit(window(1), Options())
        gate.entered.wait(0.5)
        lane.give_up(future)
    assert len(scheduler._threads) == MAX_HANGING + 1
    gate.open.set()
    scheduler.close()


def test_it_knows_how_fast_the_engine_is() -> None:
    """Short windows say little about it and do not count."""
    scheduler = Scheduler(1)
    lane = scheduler.lane(FakeEngine(), 5.0)
    lane.submit(window(100), Options()).result(5)
    assert lane.real_time_factor == 5.0
    for _ in range(40):
        lane.submit(window(160_000), Options()).result(5)
    scheduler.close()
    assert lane.real_time_factor is not None
    assert lane.real_time_factor < 1.0


def test_engines_share_the_workers_by_priority(gate: Gate) -> None:
    scheduler = Scheduler(1)
    busy, files, live = (scheduler.lane(engine) for engine in (FakeEngine(gate), FakeEngine(), FakeEngine()))
    order: list[str] = []
    busy.submit(window(1), Options())
    assert gate.entered.wait(5)
    waiting = {
        "file": files.submit(window(1), Options()),
        "live": live.submit(window(1), Options(), Priority.LIVE_FINAL),
    }
    for name, future in waiting.items():
        future.add_done_callback(lambda _, name=name: order.append(name))  # type: ignore[misc]
    gate.open.set()
    for future in waiting.values():
        future.result(5)
    scheduler.close()
    assert order == ["live", "file"]


class Runs(Observer):
    """What is told of the engine's runs."""

    def __init__(self) -> None:
        self.runs: list[tuple[str, list[tuple[str, float]]]] = []

    def decoded(self, model: str, windows: Sequence[DecodedWindow], took_s: float) -> None:
        assert took_s >= 0
        assert all(window.waited_s >= 0 for window in windows)
        self.runs.append((model, [(window.kind, window.audio_s) for window in windows]))


def test_an_observer_is_told_of_each_run_that_ends_well(gate: Gate) -> None:
    def script(samples: Samples, options: Options) -> str:
        if samples.size == 3:
            raise ValueError
        return gate(samples, options)

    observer = Runs()
    scheduler = Scheduler(1, observer)
    lane = scheduler.lane(FakeEngine(script, batch_size=2))
    lane.submit(window(16_000), Options(), Priority.JOB)
    assert gate.entered.wait(5)
    together = [lane.submit(window(n * 16_000), Options(), Priority.LIVE_FINAL) for n in (1, 2)]
    failing = lane.submit(window(3), Options())
    gate.open.set()
    for future in together:
        future.result(5)
    with pytest.raises(InferencePanic):
        failing.result(5)
    scheduler.close()
    assert observer.runs == [("fake", [("job", 1.0)]), ("fake", [("live_final", 1.0), ("live_final", 2.0)])]


def test_what_an_engine_does_wrong_is_logged_with_the_request_it_was_for(caplog: pytest.LogCaptureFixture) -> None:
    def script(samples: Samples, _options: Options) -> str:
        raise ValueError

    caplog.handler.setFormatter(Lines())
    scheduler = Scheduler(1)
    lane = scheduler.lane(FakeEngine(script))
    with about(request_id="r1"):
        failing = lane.submit(window(1), Options())
    with pytest.raises(InferencePanic):
        failing.result(5)
    scheduler.close()
    assert "the engine failed unexpectedly request_id=r1" in caplog.text


def test_a_worker_outlives_an_engine_that_would_end_its_thread() -> None:
    def script(samples: Samples, _options: Options) -> str:
        if samples.size == 1:
            raise SystemExit
        return "ok"

    scheduler = Scheduler(1)
    lane = scheduler.lane(FakeEngine(script))
    assert isinstance(lane.submit(window(1), Options()).exception(5), InferencePanic)
    assert lane.submit(window(2), Options()).result(5).text == "ok"
    scheduler.close()


def test_all_callers_are_told_where_an_engine_answers_too_few(gate: Gate) -> None:
    class Forgetful(FakeEngine):
        def transcribe(self, batch: Sequence[Samples], options: Options) -> list[Hypothesis]:
            return super().transcribe(batch, options)[: max(1, len(batch) - 1)]

    scheduler = Scheduler(1)
    lane = scheduler.lane(Forgetful(gate, batch_size=3))
    first = lane.submit(window(1), Options())
    assert gate.entered.wait(5)
    others = [lane.submit(window(2), Options()) for _ in range(3)]
    gate.open.set()
    assert all(isinstance(other.exception(5), InferencePanic) for other in others)
    assert first.result(5).text == "1"
    scheduler.close()


def test_an_observer_that_fails_leaves_no_caller_waiting() -> None:
    class Broken(Observer):
        def decoded(self, model: str, windows: Sequence[DecodedWindow], engine_s: float) -> None:
            raise RuntimeError(model)

    scheduler = Scheduler(1, Broken())
    lane = scheduler.lane(FakeEngine())
    for _ in range(2):
        assert isinstance(lane.submit(window(1), Options()).exception(5), InferencePanic)
    scheduler.close()


def test_a_worker_that_cannot_be_replaced_goes_on_when_its_run_returns(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    scheduler = Scheduler(1)
    lane = scheduler.lane(FakeEngine(gate))
    hanging = lane.submit(window(1), Options())
    assert gate.entered.wait(5)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        lane.give_up(hanging)
    gate.open.set()
    assert hanging.result(5).text == "1"
    assert lane.submit(window(2), Options()).result(5).text == "2"
    scheduler.close()


def test_it_is_stuck_while_every_worker_hangs(gate: Gate) -> None:
    scheduler = Scheduler(1)
    lane = scheduler.lane(FakeEngine(gate))
    stuck = []
    for _ in range(MAX_HANGING + 1):
        gate.entered.clear()
        future = lane.submit(window(1), Options())
        assert gate.entered.wait(5)
        lane.give_up(future)
        stuck.append(scheduler.stuck)
    gate.open.set()
    assert lane.submit(window(2), Options()).result(5).text == "2"
    stuck.append(scheduler.stuck)
    assert stuck == [False] * MAX_HANGING + [True, False]
    scheduler.close()
