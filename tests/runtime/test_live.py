"""A live session over a real scheduler: in order, bounded, and nothing left behind."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from molva.engines.base import Options
from molva.engines.fake import FakeEngine
from molva.engines.silero import load_vad
from molva.errors import InferenceError, InferencePanic, InferenceTimeout
from molva.observer import NOBODY, Observer
from molva.runtime.live import MAX_WAITING, Event, LiveStream
from molva.runtime.queue import Priority
from molva.runtime.scheduler import Scheduler
from molva.samples import Samples, seconds
from molva.speech.live import Final, LiveRule, Partial
from molva.speech.vad import Probabilities, VadModel, VadState
from tests.conftest import SEEN

SPEECH = SEEN[3].samples
"""One utterance, without a pause that would end it."""
PAUSE = np.zeros(16_000, np.float32)


def pcm(*parts: Samples) -> bytes:
    return (np.concatenate(parts) * 32767).astype("<i2").tobytes()


@dataclass
class Gate:
    """A script that waits until it is opened; then says how long the window was."""

    entered: threading.Event = field(default_factory=threading.Event)
    opened: threading.Event = field(default_factory=threading.Event)

    def __call__(self, samples: Samples, _options: Options) -> str:
        self.entered.set()
        assert self.opened.wait(20)
        return f"{seconds(samples.size):.1f}"


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.opened.set()


@dataclass
class Live:
    """A stream under test."""

    engine: FakeEngine
    scheduler: Scheduler
    stream: LiveStream
    told: list[Event]
    freed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def finals(self) -> list[Final]:
        return [event for event in self.told if isinstance(event, Final)]

    def close(self) -> None:
        self.stream.close(self.freed.set)


def live(
    script: Callable[[Samples, Options], str],
    test: Callable[[Live], Coroutine[Any, Any, None]],
    *,
    timeout_s: float | None = None,
    workers: int = 1,
    observer: Observer = NOBODY,
    vad: VadModel | None = None,
) -> None:
    """Run a test with a stream at 16 kHz."""

    async def run() -> None:
        engine, told = FakeEngine(script), list[Event]()
        scheduler = Scheduler(workers)
        lane = scheduler.lane(engine)
        stream = LiveStream(
            lane,
            vad or load_vad(),
            rule=LiveRule(),
            rate=16_000,
            timeout_s=timeout_s,
            emit=told.append,
            observer=observer,
        )
        this = Live(engine, scheduler, stream, told)
        try:
            async with asyncio.timeout(60):
                await test(this)
        finally:
            this.close()
            await this.freed.wait()
            await asyncio.to_thread(scheduler.close)

    asyncio.run(run())


def count(samples: Samples, _options: Options) -> str:
    return f"{seconds(samples.size):.1f}"


def test_speech_is_told_in_order() -> None:
    async def test(this: Live) -> None:
        for _ in range(3):
            for data in (pcm(SPEECH), pcm(PAUSE)):
                await this.stream.feed(data)
        await this.stream.finish()
        assert [final.reason for final in this.finals] == ["vad", "vad", "vad", "stop"]
        starts = [final.words[0].start for final in this.finals[:3]]
        period = seconds(SPEECH.size + PAUSE.size)
        assert np.allclose(np.diff(starts), period, atol=0.05)

    live(count, test)


def test_a_cancelled_feed_is_carried_on() -> None:
    """Whoever waited for it may have been told to stop; the audio was taken."""

    async def test(this: Live) -> None:
        feeding = asyncio.ensure_future(this.stream.feed(pcm(SPEECH, PAUSE)))
        await asyncio.sleep(0)
        feeding.cancel()
        await this.stream.finish()
        assert [final.reason for final in this.finals] == ["vad", "stop"]

    live(count, test)


def test_no_more_audio_is_taken_while_decoding_lags_behind(gate: Gate) -> None:
    async def test(this: Live) -> None:
        for _ in range(MAX_WAITING):
            await this.stream.feed(pcm(SPEECH, PAUSE))
        blocked = asyncio.ensure_future(this.stream.feed(pcm(SPEECH, PAUSE)))
        await asyncio.to_thread(gate.entered.wait, 10)
        for _ in range(20):
            await asyncio.sleep(0)
        assert not blocked.done()
        gate.opened.set()
        await blocked
        await this.stream.finish()
        assert len(this.finals) == MAX_WAITING + 2

    live(gate, test)


def test_audio_that_was_held_back_is_not_lost_at_the_end(gate: Gate) -> None:
    """The session ends while the client is made to wait: what it had sent is decoded all the same."""

    async def test(this: Live) -> None:
        for _ in range(MAX_WAITING):
            await this.stream.feed(pcm(SPEECH, PAUSE))
        blocked = asyncio.ensure_future(this.stream.feed(pcm(SPEECH)))
        for _ in range(20):
            await asyncio.sleep(0)
        blocked.cancel()
        gate.opened.set()
        await this.stream.finish()
        assert [final.reason for final in this.finals] == ["vad"] * MAX_WAITING + ["stop"]
        assert this.finals[-1].text

    live(gate, test)


def test_audio_faster_than_real_time_queues_up_with_files(gate: Gate) -> None:
    """It would delay those who speak now."""

    async def test(this: Live) -> None:
        await this.stream.feed(pcm(SPEECH, PAUSE))
        await this.stream.feed(pcm(SPEECH, PAUSE))
        waiting = this.scheduler.waiting
        gate.opened.set()
        assert waiting[Priority.REQUEST] > 0
        assert waiting[Priority.LIVE_FINAL] == waiting[Priority.LIVE_PARTIAL] == 0

    live(gate, test)


def test_what_the_engine_cannot_do_is_told_and_the_session_goes_on() -> None:
    failures = [True]

    def script(samples: Samples, _options: Options) -> str:
        if failures:
            failures.pop()
            raise InferenceError
        return "слово"

    async def test(this: Live) -> None:
        await this.stream.feed(pcm(SPEECH, PAUSE))
        await this.stream.feed(pcm(SPEECH, PAUSE))
        await this.stream.finish()
        assert type(this.told[0]) is InferenceError
        assert [(final.text, final.reason) for final in this.finals] == [("слово", "vad"), ("", "stop")]

    live(script, test)


def test_a_panic_starts_anew_at_the_same_time_of_the_stream() -> None:
    panics = [True]

    def script(samples: Samples, _options: Options) -> str:
        if panics:
            panics.pop()
            raise ValueError("boom")
        return "слово"

    async def test(this: Live) -> None:
        await this.stream.feed(pcm(SPEECH, PAUSE))
        await this.stream.settle()
        assert isinstance(this.told[0], InferencePanic)
        await this.stream.feed(pcm(PAUSE, SPEECH, PAUSE))
        await this.stream.finish()
        [first, last] = this.finals
        assert (first.text, first.reason, last.reason) == ("слово", "vad", "stop")
        assert first.words[0].start >= seconds(SPEECH.size + 2 * PAUSE.size) - 0.3

    live(script, test)


def test_a_panic_at_the_very_end_still_gives_a_final() -> None:
    def script(samples: Samples, _options: Options) -> str:
        raise ValueError("boom")

    async def test(this: Live) -> None:
        await this.stream.feed(pcm(SPEECH))
        await this.stream.finish()
        assert [final.reason for final in this.finals] == ["stop"]
        assert isinstance(this.told[0], InferencePanic)

    live(script, test)


def test_a_hanging_run_ends_the_session_but_keeps_its_place(gate: Gate) -> None:
    async def test(this: Live) -> None:
        await this.stream.feed(pcm(SPEECH, PAUSE))
        await this.stream.finish()
        assert isinstance(this.told[-1], InferenceTimeout)
        this.close()
        await asyncio.sleep(0)
        assert not this.freed.is_set()
        gate.opened.set()
        await this.freed.wait()

    live(gate, test, timeout_s=0.05)


def test_what_waits_is_taken_back_when_the_session_ends(gate: Gate) -> None:
    async def test(this: Live) -> None:
        busy = this.scheduler.lane(this.engine).submit(np.zeros(1, np.float32), Options())
        await asyncio.to_thread(gate.entered.wait, 10)
        await this.stream.feed(pcm(SPEECH, PAUSE))
        this.close()
        await this.freed.wait()
        gate.opened.set()
        await asyncio.wrap_future(busy)
        assert this.engine.calls == [(1,)]

    live(gate, test)


def test_silence_asks_nothing_of_the_engine() -> None:
    async def test(this: Live) -> None:
        for _ in range(30):
            await this.stream.feed(pcm(PAUSE))
        await this.stream.finish()
        assert this.engine.calls == []
        assert [(final.text, final.reason) for final in this.finals] == [("", "stop")]

    live(count, test)


@pytest.mark.parametrize("block_s", [0.02, 0.1, 10.0])
def test_partials_grow_into_the_final(block_s: float) -> None:
    async def test(this: Live) -> None:
        data = pcm(SPEECH, PAUSE)
        step = int(block_s * 32_000)
        for start in range(0, len(data), step):
            await this.stream.feed(data[start : start + step])
            await this.stream.settle()
        await this.stream.finish()
        assert [type(event) for event in this.told[-2:]] == [Final, Final]
        assert all(isinstance(event, Partial) for event in this.told[:-2])
        assert (len(this.told) > 3) == (block_s < 10)

    live(lambda samples, _: " ".join(["раз"] * int(4 * seconds(samples.size))), test)


class Waits(Observer):
    """What is told of partials and finals."""

    def __init__(self) -> None:
        self.partials: list[float] = []
        self.finals: list[float] = []

    def partial_told(self, lag_s: float) -> None:
        self.partials.append(lag_s)

    def final_told(self, delay_s: float) -> None:
        self.finals.append(delay_s)


def test_the_delay_of_each_final_is_told_also_after_a_panic() -> None:
    """It is counted from the end of its own utterance, whatever became of those before it."""
    observer, broken = Waits(), [True]

    def script(samples: Samples, options: Options) -> str:
        if broken.pop() if broken else False:
            raise ValueError
        return count(samples, options)

    async def test(this: Live) -> None:
        await this.stream.feed(pcm(SPEECH[:24_000]))
        await this.stream.settle()  # the first partial has failed
        await this.stream.feed(pcm(SPEECH[24_000:48_000], PAUSE))
        await this.stream.finish()
        assert any(isinstance(event, InferencePanic) for event in this.told)
        assert [final.reason for final in this.finals] == ["vad", "stop"]
        assert len(observer.finals) == 2
        assert all(0 <= delay_s < 60 for delay_s in observer.finals)
        assert len(observer.partials) == sum(isinstance(event, Partial) for event in this.told)

    live(script, test, observer=observer)


def test_of_a_recording_that_comes_at_once_no_delay_is_told() -> None:
    """It waits in its queue with other recordings; nobody waits for the end of its silences."""
    observer = Waits()

    async def test(this: Live) -> None:
        for _ in range(4):
            await this.stream.feed(pcm(SPEECH, PAUSE))
        await this.stream.finish()
        assert len(this.finals) == 5
        assert len(observer.finals) < 5

    live(count, test, observer=observer)


class OnceBroken:
    """A voice-activity model that fails once."""

    def __init__(self) -> None:
        self.failures = [ValueError("boom")]

    def initial(self) -> VadState:
        return load_vad().initial()

    def __call__(self, frames: NDArray[np.float32], state: VadState) -> tuple[Probabilities, VadState]:
        if self.failures:
            raise self.failures.pop()
        return load_vad()(frames, state)


@pytest.mark.parametrize("block_s", [0.1, 1.0], ids=["on the loop", "in a thread"])
def test_a_failure_before_the_engine_starts_anew_too(block_s: float) -> None:
    async def test(this: Live) -> None:
        size = round(block_s * 16_000)
        for start in range(0, SPEECH.size, size):
            await this.stream.feed(pcm(SPEECH[start : start + size]))
        await this.stream.feed(pcm(PAUSE, SPEECH, PAUSE))
        await this.stream.finish()
        assert isinstance(this.told[0], InferencePanic)
        assert [type(event) for event in this.told].count(InferencePanic) == 1
        assert this.finals[-2].reason == "vad"
        assert this.finals[-2].words[0].start >= seconds(SPEECH.size + PAUSE.size) - 0.3
        assert this.finals[-1].reason == "stop"

    live(count, test, vad=OnceBroken())
