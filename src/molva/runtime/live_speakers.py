"""Who speaks in a live session, found out beside it, in a thread of its own.

Each utterance is looked at while it goes on, so that little is left to do at its end. As with recordings, nothing here
may spoil the text: what goes wrong is logged, and the words have no speakers then.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from molva.runtime.futures import in_context
from molva.runtime.speakers import SpeakerModels
from molva.samples import SAMPLE_RATE, Samples, seconds
from molva.speech.attribution import speakers_of
from molva.speech.buffer import SampleBuffer
from molva.speech.clustering import Embedding
from molva.speech.diarization import FRAME, WINDOW, Diarizer, Pace, Stretch
from molva.speech.live import Final, SpeechStarted, SpeechStopped
from molva.speech.voices import Voice, Voices
from molva.threads import ThreadPool
from molva.transcript import Turn

log = logging.getLogger(__name__)

T = TypeVar("T")

PACE = Pace(hop=74, unsettled=60)
"""A window every 1.25 s, and all but its last second is settled: at the end of an utterance there is little to do."""
LEAD = WINDOW - PACE.hop * FRAME
"""Samples of silence before each utterance, so that its first window is full after one hop."""
STEP = SAMPLE_RATE
"""Samples that are worth handing to the thread while an utterance goes on."""
BEFORE = 2 * SAMPLE_RATE
"""Samples that are kept while nobody speaks: an utterance begins before it is noticed."""
MAX_BEHIND_S = 30.0
"""Audio that may wait for the models. An utterance of which more does is given up, and so memory stays bounded."""


@dataclass
class _Utterance:
    """One that goes on, or whose final is not told yet."""

    start: int
    """In samples of the stream."""
    diarizer: Diarizer
    given: int
    """Up to here the thread has it."""
    given_up: bool = False
    guess: tuple[Turn, ...] = ()
    """Who speaks in what has been listened to so far, in case that the whole comes too late."""
    turns: Future[tuple[Turn, ...]] | None = None
    """Once it has ended."""

    @property
    def known(self) -> bool:
        return self.given_up or (self.turns is not None and self.turns.done())


class LiveSpeakers:
    """One session. Used by one thread at a time, but for its own; the session's end must close it."""

    def __init__(self, models: SpeakerModels, on_progress: Callable[[], None]) -> None:
        """`on_progress` is called, in any thread, whenever some work has ended."""
        self._models = models
        self._on_progress = on_progress
        self._thread = ThreadPool(1, "live-speakers")
        self._closed = threading.Event()
        self._work: deque[tuple[int, Future[Any]]] = deque()
        """What the thread was given, with the number of samples."""
        self._audio = SampleBuffer()
        self._utterance: _Utterance | None = None
        self._ended: dict[int, _Utterance] = {}
        """Those whose finals are not told yet, by their spans."""
        self._voices = Voices()
        self._numbers: dict[int, int] = {}
        """What voices are called in finals: numbers in the order in which their words appear."""

    @property
    def behind_s(self) -> float:
        """Seconds of audio that wait for the models."""
        while self._work and self._work[0][1].done():
            self._work.popleft()
        return seconds(sum(size for size, _ in self._work))

    def hear(self, samples: Samples) -> None:
        """The stream's next samples."""
        self._audio.append(samples)

    def follow(self, event: SpeechStarted | SpeechStopped) -> None:
        """Where utterances begin and end."""
        if isinstance(event, SpeechStarted):
            self._begin(round(event.start_s * SAMPLE_RATE))
            return
        utterance = self._utterance
        if utterance is None:
            return  # the end of the stream, or of a long silence
        self._give(utterance, round(event.end_s * SAMPLE_RATE))
        self._utterance = None
        self._ended[event.span] = utterance
        if not utterance.given_up:
            utterance.turns = self._submit(utterance, 0, lambda: self._finish(utterance))

    def catch_up(self, *, open_ended: bool) -> None:
        """Have the thread look at what has been heard of the utterance that goes on, and forget the audio.

        `open_ended`: all that is heard belongs to one.
        """
        if self._utterance is None and not open_ended:
            self._audio.drop_before(self._audio.end - BEFORE)
            return
        utterance = self._utterance or self._begin(self._audio.start)
        if self._audio.end - utterance.given >= STEP:
            self._give(utterance, self._audio.end)

    def forget(self) -> None:
        """The utterance that goes on is none."""
        self._utterance = None
        self._audio.drop_before(self._audio.end)

    def knows(self, final: Final) -> bool:
        """Whether all is known about its speakers that ever will be."""
        utterance = self._ended.get(final.span)
        return utterance is None or utterance.known

    def attribute(self, final: Final) -> Final:
        """The final with what is known or guessed of its speakers. Finals come in their order, each once."""
        utterance = self._ended.get(final.span)
        self._ended = {span: later for span, later in self._ended.items() if span > final.span}
        if utterance is None or not final.words:
            return final
        turns = utterance.guess
        if utterance.turns is not None and utterance.turns.done() and not utterance.turns.cancelled():
            turns = utterance.turns.result()
        if not turns:
            return final
        named = [self._numbers.setdefault(voice, len(self._numbers)) for voice in speakers_of(final.words, turns)]
        words = (replace(word, speaker=number) for word, number in zip(final.words, named, strict=True))
        return replace(final, words=tuple(words))

    def close(self) -> list[Future[Any]]:
        """Take back what waits. What still runs is returned, and stops at the next window."""
        self._closed.set()
        self._thread.shutdown(wait=False, cancel_futures=True)
        return [future for _, future in self._work if not future.done()]

    def _begin(self, start: int) -> _Utterance:
        start = max(start, self._audio.start)
        diarizer = Diarizer(self._models.segment, lambda pieces: self._embed(utterance, pieces), PACE)
        diarizer.feed(np.zeros(LEAD, np.float32))
        utterance: _Utterance = _Utterance(start, diarizer, given=start)
        self._utterance = utterance
        return utterance

    def _give(self, utterance: _Utterance, end: int) -> None:
        end = min(max(end, utterance.given), self._audio.end)
        samples = self._audio.cut_out(utterance.given, end)
        utterance.given = end
        self._audio.drop_before(end)
        if self.behind_s > MAX_BEHIND_S and not utterance.given_up:
            log.warning("speakers of an utterance are not told apart: there is too much to do")
            utterance.given_up = True
        if samples.size and not utterance.given_up:
            self._submit(utterance, samples.size, lambda: self._look(utterance, samples))

    def _submit(self, utterance: _Utterance, size: int, work: Callable[[], T]) -> Future[T] | None:
        try:
            future = self._thread.submit(in_context(work))
        except RuntimeError as error:
            log.warning("speakers of an utterance are not told apart: %s", error)
            utterance.given_up = True
            return None
        self._work.append((size, future))
        future.add_done_callback(lambda _: self._on_progress())
        return future

    # What the thread does.

    def _look(self, utterance: _Utterance, samples: Samples) -> None:
        if utterance.given_up:
            return
        try:
            utterance.diarizer.feed(samples, self._closed.is_set)
        except BaseException:  # the words have no right to wait for it
            log.warning("speakers of an utterance are not told apart", exc_info=True)
            utterance.given_up = True

    def _embed(self, utterance: _Utterance, pieces: Sequence[Samples]) -> Embedding | None:
        """Each takes its time, so that what is known before is worth a guess."""
        stretches = utterance.diarizer.so_far
        utterance.guess = _turns(utterance, stretches, self._voices.nearest(_voices(stretches)))
        return self._models.embed(pieces)

    def _finish(self, utterance: _Utterance) -> tuple[Turn, ...]:
        if utterance.given_up:
            return ()
        try:
            stretches = utterance.diarizer.stretches()
            return _turns(utterance, stretches, self._voices.tell_apart(_voices(stretches)))
        except BaseException:  # the words have no right to wait for it
            log.warning("speakers of an utterance are not told apart", exc_info=True)
            return ()


def _voices(stretches: Sequence[Stretch]) -> list[Voice]:
    return [Voice(stretch.embedding, stretch.speech_s) for stretch in stretches]


def _turns(utterance: _Utterance, stretches: Sequence[Stretch], numbers: Sequence[int]) -> tuple[Turn, ...]:
    """In seconds of the stream."""
    offset_s = seconds(utterance.start - LEAD)
    return tuple(
        Turn(offset_s + stretch.start_s, offset_s + stretch.end_s, number)
        for stretch, number in zip(stretches, numbers, strict=True)
    )
