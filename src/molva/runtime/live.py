"""A live session on the event loop: bytes in, partials, finals and errors out, in order.

Joins the sans-I/O `LiveSession` to the lane. Short blocks are scored on the event loop, which takes less than
handing them to a thread would; long ones go to a thread.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from molva.audio.pcm import PcmStream
from molva.engines.base import Hypothesis, Options
from molva.errors import InferencePanic, InferenceTimeout, MolvaError, ShuttingDown
from molva.observer import NOBODY, Observer
from molva.runtime.futures import when_done
from molva.runtime.live_speakers import LiveSpeakers
from molva.runtime.metering import nobody
from molva.runtime.queue import Priority
from molva.runtime.scheduler import Lane
from molva.runtime.speakers import SpeakerModels
from molva.samples import SAMPLE_RATE, Samples, seconds
from molva.speech.live import Action, Decode, Final, LiveRule, LiveSession, Partial, SpeechStarted, SpeechStopped
from molva.speech.vad import FRAME, VadModel

log = logging.getLogger(__name__)

Event: TypeAlias = Partial | Final | SpeechStarted | SpeechStopped | MolvaError

MAX_WAITING = 2
"""Windows of finals in flight before no more audio is taken."""

INLINE_S = 0.25
"""Longest block, in seconds, that is scored on the event loop."""

REAL_TIME_SLACK_S = 5.0
"""A stream that is further ahead of the clock is a file: its windows queue up with those of other files."""

SPEAKERS_WAIT_S = 0.5
"""So long a final waits for its speakers while its client speaks on: after that they are guessed."""
LAST_SPEAKERS_WAIT_S = 10.0
"""So long where it delays nobody: at the end, and in a stream that is a file."""
MAX_SPEAKERS_BEHIND_S = 10.0
"""Audio of a file that may wait for the models of speakers before no more is taken."""


@dataclass(eq=False)
class _Running:
    decode: Decode
    future: Future[Hypothesis]
    timer: asyncio.TimerHandle | None
    asked: float = field(default_factory=time.monotonic)


class LiveStream:
    """One session. Lives on the event loop; `emit` is called there."""

    def __init__(
        self,
        lane: Lane,
        vad: VadModel,
        *,
        rule: LiveRule,
        rate: int,
        timeout_s: float | None,
        emit: Callable[[Event], None],
        observer: Observer = NOBODY,
        on_audio: Callable[[float], None] = nobody,
    ) -> None:
        """`rate` in Hz; `timeout_s`: longest wait for a hypothesis. InferenceTimeout is emitted then and ends it.
        `on_audio` is told how many seconds have come.
        """
        self.options = Options()
        """Of the windows from now on."""
        self._lane = lane
        self._vad = vad
        self._timeout_s = timeout_s
        self._emit = emit
        self._observer = observer
        self._on_audio = on_audio
        self._loop = asyncio.get_running_loop()
        self._running: dict[int, _Running] = {}
        self._answers: deque[_Running] = deque()
        self._last_partial: Future[Hypothesis] | None = None
        self._step: asyncio.Future[list[Action]] | None = None
        self._changed = asyncio.Event()
        self._started: float | None = None
        self._closed = False
        self._came = 0.0
        """When what the last step was about came in."""
        self._speakers: LiveSpeakers | None = None
        self._held: deque[tuple[Event, float | None]] = deque()
        """A final that waits for its speakers, and what comes behind it; each with when it was asked for."""
        self._hold: asyncio.TimerHandle | None = None
        self.configure(rule, rate)

    def configure(self, rule: LiveRule, rate: int, speakers: SpeakerModels | None = None) -> None:
        """Choose again; before the first audio only. `speakers`: what tells them apart; None does not."""
        self._drop_speakers()
        if speakers is not None:
            self._speakers = LiveSpeakers(speakers, self._speakers_advanced)
        self._hear(rule, rate)
        self._begin_session()

    async def feed(self, data: bytes) -> None:
        """Take PCM16 bytes. Returns when more may come, which is later where decoding lags behind.

        May be cancelled at any point; what was begun is carried on.
        """
        self._collected += data
        came = time.monotonic()
        self._on_audio(len(data) / 2 / self._rate)
        if self._started is None:
            self._started = came
        if len(self._collected) < self._step_bytes:
            return  # nothing could be scored yet; each step has its cost
        await self._until(lambda: self._session.waiting < MAX_WAITING and not self._speakers_lag())
        in_thread = len(self._collected) > 2 * INLINE_S * self._rate
        await self._do(self._feed_collected, in_thread=in_thread, came=came)

    async def commit(self) -> bool:
        """End the utterance that goes on, and begin anew. False where there is nothing, and nothing happens then.

        Its Final follows, also an empty one. Half a sample at its end is dropped.
        """
        await self._do(self._feed_collected, in_thread=False)
        if self._rule.endpoint and not self._session.is_open:
            return False
        await self._do(lambda: self._feed(self._pcm.flush()), in_thread=False)
        self._hear(self._rule, self._rate)
        if not self._session.is_open:
            return False
        await self._do(self._session.commit, in_thread=False)
        return True

    async def clear(self) -> None:
        """Forget the audio that is in no utterance that has ended."""
        await self._until(lambda: True)
        self._hear(self._rule, self._rate)
        self._session.clear()
        if self._speakers is not None:
            self._speakers.forget()

    async def change(self, rule: LiveRule, rate: int) -> None:
        """Choose again, whenever. An utterance that goes on is ended as by `commit`."""
        await self.commit()
        self._hear(rule, rate)
        self._session.configure(self._rule)

    async def settle(self) -> None:
        """Wait until everything that was asked of the engine is answered and told."""
        await self._until(lambda: not self._running and not self._held)

    async def finish(self) -> None:
        """Decode what is left; the last event is a Final with the reason `stop`."""
        await self._do(self._feed_collected, in_thread=False)
        await self._do(lambda: self._feed(self._pcm.flush()), in_thread=False)
        while not self._closed:
            session = self._session
            await self._do(session.flush, in_thread=False)
            await self._until(lambda: self._session.done and not self._held)
            if session is self._session:  # a panic puts a fresh one in its place, which has no final yet
                return

    def _hear(self, rule: LiveRule, rate: int) -> None:
        """Take what comes next as the start of a signal."""
        self._rule = replace(rule, max_window_s=self._lane.info.max_window_s, spans=self._speakers is not None)
        self._rate = rate
        self._pcm = PcmStream(rate)
        self._collected = bytearray()
        """What is too short for a step, or came while one could not be made."""
        self._step_bytes = 2 * FRAME * rate // SAMPLE_RATE

    def _begin_session(self, start: int = 0) -> None:
        self._session = LiveSession(self._vad, self._rule, start=start)
        self._ends: list[float] = []
        """When each of its utterances was over; what a final has waited since then is told to the observer."""

    def _feed_collected(self) -> list[Action]:
        taken, self._collected = bytes(self._collected), bytearray()
        return self._feed(self._pcm.feed(taken))

    def _feed(self, samples: Samples) -> list[Action]:
        if self._speakers is not None:
            self._speakers.hear(samples)
        return self._session.feed(samples)

    def close(self, then: Callable[[], None]) -> None:
        """Take waiting windows back; `then` is called once no run of this session is left in the engine."""
        self._closed = True
        futures: list[Future[Any]] = [running.future for running in self._running.values()]
        self._drop_all()
        self._take_held()
        futures += self._drop_speakers()
        when_done([future for future in futures if not future.done()], then)

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not self._closed and (self._step is not None or not condition()):
            self._changed.clear()
            await self._changed.wait()

    async def _do(self, step: Callable[[], list[Action]], *, in_thread: bool, came: float | None = None) -> None:
        came = came or time.monotonic()
        await self._until(lambda: True)
        if self._closed:
            return
        self._came = came
        if in_thread:
            self._step = asyncio.ensure_future(asyncio.to_thread(step))
            self._step.add_done_callback(self._stepped)
            await asyncio.wait({self._step})
            return
        try:
            actions = step()
        except Exception as error:  # noqa: BLE001 - a model has failed, and the client is told
            self._begin_anew(error)
        else:
            self._act(actions)

    def _stepped(self, step: "asyncio.Future[list[Action]]") -> None:
        self._step = None
        error = None if step.cancelled() else step.exception()
        if not self._closed and not step.cancelled():
            if error is not None:
                self._begin_anew(error)
            else:
                self._act(step.result())
            while self._answers:
                self._take_answer(self._answers.popleft())
        self._changed.set()

    def _act(self, actions: list[Action], asked: float | None = None) -> None:
        """`asked`: when the hypothesis was asked for that has brought these."""
        self._ends += [self._came] * (self._session.ended - len(self._ends))
        for action in actions:
            if isinstance(action, Decode):
                self._decode(action)
                continue
            if self._speakers is not None and isinstance(action, SpeechStarted | SpeechStopped):
                self._speakers.follow(action)
                if not self._rule.turns:
                    continue
            self._tell(action, asked)
        if self._speakers is not None:
            self._speakers.catch_up(open_ended=not self._rule.endpoint)

    def _tell(self, event: Event, asked: float | None = None) -> None:
        """Emit it, in its turn: behind a final that waits for its speakers, unless that delays a client."""
        if self._held and self._is_live():
            self._tell_all_held()
        if self._held or (isinstance(event, Final) and self._waits_for_speakers(event)):
            self._held.append((event, asked))
        else:
            self._tell_now(event, asked)

    def _tell_now(self, event: Event, asked: float | None) -> None:
        if isinstance(event, Final) and self._speakers is not None:
            event = self._speakers.attribute(event)
        self._emit(event)
        if not self._is_live():
            return
        if isinstance(event, Partial) and asked is not None:
            self._observer.partial_told(time.monotonic() - asked)
        elif isinstance(event, Final) and event.number:
            self._observer.final_told(time.monotonic() - self._ends[event.number - 1])

    def _waits_for_speakers(self, final: Final) -> bool:
        if self._speakers is None or self._speakers.knows(final):
            return False
        delays = self._is_live() and final.reason != "stop"
        self._hold = self._loop.call_later(SPEAKERS_WAIT_S if delays else LAST_SPEAKERS_WAIT_S, self._tell_held)
        return True

    def _tell_held(self) -> None:
        """The final that waits has waited long enough; what is behind it goes on."""
        held = self._take_held()
        if held:
            self._tell_now(*held.popleft())
        for event, asked in held:
            self._tell(event, asked)
        self._changed.set()

    def _tell_all_held(self) -> None:
        for event, asked in self._take_held():
            self._tell_now(event, asked)
        self._changed.set()

    def _take_held(self) -> deque[tuple[Event, float | None]]:
        if self._hold is not None:
            self._hold.cancel()
        held, self._held = self._held, deque()
        return held

    def _speakers_advanced(self) -> None:
        """Called in any thread."""
        if not self._closed:
            self._loop.call_soon_threadsafe(self._look_at_held)

    def _look_at_held(self) -> None:
        if self._held and self._speakers is not None:
            waiting, _ = self._held[0]
            if isinstance(waiting, Final) and self._speakers.knows(waiting):
                self._tell_held()
        self._changed.set()

    def _speakers_lag(self) -> bool:
        """Whether a file comes quicker than its speakers are told apart."""
        return self._speakers is not None and not self._is_live() and self._speakers.behind_s > MAX_SPEAKERS_BEHIND_S

    def _drop_speakers(self) -> list[Future[Any]]:
        """Tell none apart any more. What is returned still runs."""
        speakers, self._speakers = self._speakers, None
        return [] if speakers is None else speakers.close()

    def _decode(self, decode: Decode) -> None:
        streamed = self._is_live()
        if decode.is_final:
            priority = Priority.LIVE_FINAL if streamed else Priority.REQUEST
        else:
            priority = Priority.LIVE_PARTIAL if streamed else Priority.REQUEST
        known = self._running.get(decode.id)
        if known is not None and known.future.cancelled():  # a newer partial took its place a moment ago
            self._forget(known)
        elif known is not None:
            self._lane.promote(known.future, priority)
            self._last_partial = None
            return
        replacing = None if decode.is_final else self._last_partial
        future = self._lane.submit(decode.samples, self.options, priority, replacing=replacing)
        timer = None
        if self._timeout_s is not None:
            timer = self._loop.call_later(self._timeout_s, self._timed_out, decode)
        running = _Running(decode, future, timer)
        self._running[decode.id] = running
        if not decode.is_final:
            self._last_partial = future
        future.add_done_callback(lambda _: self._from_worker(running))

    def _is_live(self) -> bool:
        """Whether the audio comes at the pace it was spoken."""
        elapsed = time.monotonic() - (self._started or time.monotonic())
        return seconds(self._session.received) - elapsed < REAL_TIME_SLACK_S

    def _from_worker(self, running: _Running) -> None:
        if not self._closed:
            self._loop.call_soon_threadsafe(self._answered, running)

    def _answered(self, running: _Running) -> None:
        if self._running.get(running.decode.id) is not running:
            return  # of a state that is no more
        self._forget(running)
        if self._step is not None:
            self._answers.append(running)
        else:
            self._take_answer(running)
        self._changed.set()

    def _forget(self, running: _Running) -> None:
        del self._running[running.decode.id]
        if running.timer is not None:
            running.timer.cancel()

    def _take_answer(self, running: _Running) -> None:
        if running.future.cancelled():
            return  # a newer partial took its place
        error = running.future.exception()
        if error is None:
            self._act(self._session.answer(running.decode, running.future.result()), running.asked)
        elif isinstance(error, InferencePanic):
            self._begin_anew(error)
        else:
            if isinstance(error, MolvaError) and not isinstance(error, ShuttingDown):
                self._tell(error)
            self._act(self._session.answer(running.decode, None))

    def _begin_anew(self, error: BaseException) -> None:
        """What is in hand is lost, as the client is told, and the session goes on with a fresh state."""
        if not isinstance(error, InferencePanic):
            log.error("a live session failed unexpectedly", exc_info=error)
            error = InferencePanic()
        self._tell_all_held()
        self._emit(error)
        self._drop_all()
        self._drop_speakers()
        self._rule = replace(self._rule, spans=False)
        self._begin_session(start=self._session.received)

    def _timed_out(self, decode: Decode) -> None:
        running = self._running.get(decode.id)
        if running is None:
            return
        self._lane.give_up(running.future)
        self._tell_all_held()
        self._closed = True
        self._changed.set()
        self._emit(InferenceTimeout())

    def _drop_all(self) -> None:
        for running in self._running.values():
            running.future.cancel()
            if running.timer is not None:
                running.timer.cancel()
        self._running.clear()
        self._answers.clear()
        self._last_partial = None
        self._changed.set()
