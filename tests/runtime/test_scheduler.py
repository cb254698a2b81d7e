"""Windows of all callers over one engine."""

import threading
from collections.abc import Iterator

import numpy as np
import pytest

from molva.engines.base import Options
from molva.engines.fake import FakeEngine
from molva.errors import InferenceError, OptionError, ShuttingDown
from molva.runtime.scheduler import Scheduler
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
    scheduler = Scheduler(FakeEngine(lambda samples, _: str(samples.size)), workers=3)
    futures = [scheduler.submit(window(n), Options()) for n in range(50)]
    assert [future.result(5).text for future in futures] == [str(n) for n in range(50)]
    scheduler.close()


def test_a_cancelled_window_is_not_decoded(gate: Gate) -> None:
    engine = FakeEngine(gate)
    scheduler = Scheduler(engine, workers=1)
    first = scheduler.submit(window(1), Options())
    assert gate.entered.wait(5)
    second, third = (scheduler.submit(window(n), Options()) for n in (2, 3))
    assert second.cancel()
    gate.open.set()
    assert (first.result(5).text, third.result(5).text) == ("1", "3")
    assert engine.calls == [(1,), (3,)]
    scheduler.close()


def test_an_engine_that_wants_batches_gets_windows_of_several_callers(gate: Gate) -> None:
    """With equal options only."""
    engine = FakeEngine(gate, batch_size=4)
    scheduler = Scheduler(engine, workers=1)
    scheduler.submit(window(1), Options())
    assert gate.entered.wait(5)
    futures = [scheduler.submit(window(n), Options()) for n in range(2, 8)]
    futures.append(scheduler.submit(window(8), Options(language="ru")))
    gate.open.set()
    assert [future.result(5).text for future in futures] == list("2345678")
    assert engine.calls == [(1,), (2, 3, 4, 5), (6, 7), (8,)]
    scheduler.close()


@pytest.mark.parametrize(
    ("raised", "seen"), [(ValueError("boom"), InferenceError), (OptionError("language", "no"), OptionError)]
)
def test_a_failing_engine_fails_its_window_only(raised: Exception, seen: type[Exception]) -> None:
    def script(samples: Samples, _options: Options) -> str:
        if samples.size == 2:
            raise raised
        return "ok"

    scheduler = Scheduler(FakeEngine(script), workers=1)
    futures = [scheduler.submit(window(n), Options()) for n in (1, 2, 3)]
    assert isinstance(futures[1].exception(5), seen)
    assert futures[2].result(5).text == "ok"
    scheduler.close()


def test_closing_refuses_the_queue_and_finishes_what_runs(gate: Gate) -> None:
    scheduler = Scheduler(FakeEngine(gate), workers=1)
    running = scheduler.submit(window(1), Options())
    assert gate.entered.wait(5)
    waiting = scheduler.submit(window(2), Options())
    closing = threading.Thread(target=scheduler.close)
    closing.start()
    assert isinstance(waiting.exception(5), ShuttingDown)
    gate.open.set()
    closing.join(5)
    assert running.result(0).text == "1"
    with pytest.raises(ShuttingDown):
        scheduler.submit(window(3), Options())
