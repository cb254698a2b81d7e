"""The one road from audio to transcript, used by every door: find speech, plan windows, decode, stitch.

Blocking; runs in the caller's thread. Only a few windows are in memory at a time, whatever the length.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any

from molva import tracing
from molva.audio.array import AnySource, ArrayReader, open_audio
from molva.audio.decode import AudioReader
from molva.engines.base import Hypothesis, Options
from molva.errors import Cancelled, InferenceTimeout
from molva.runtime.diarization import Diarization
from molva.runtime.plan import Plan, cut
from molva.runtime.queue import Priority
from molva.runtime.scheduler import Lane
from molva.samples import Samples, seconds
from molva.speech.attribution import attribute_all
from molva.speech.chunks import Window, WindowPlanner, WindowRule
from molva.speech.stitch import Stitcher
from molva.speech.vad import VadModel, VadStream
from molva.transcript import UNDETERMINED, Coverage, Segment, Transcript

TRANSLATED = "en"
"""What translations are written in, whatever was heard."""


@dataclass(frozen=True, slots=True)
class Resumption:
    """A recording that has been looked through, and of which windows may be decoded already."""

    plan: Plan
    finished: Sequence[Hypothesis]
    """Of its first windows."""
    on_finished: Callable[[int, Hypothesis, str | None], None]
    """Told the number of each further window, in order, what was heard, and its language where that is known."""


class Transcription:
    """One recording on its way. Iterate for the segments as they become final, then take the transcript."""

    def __init__(
        self,
        source: AnySource,
        lane: Lane,
        vad: VadModel,
        options: Options,
        *,
        max_duration_s: float | None = None,
        cancelled: threading.Event | None = None,
        deadline: float | None = None,
        rule: WindowRule | None = None,
        priority: Priority = Priority.REQUEST,
        resumption: Resumption | None = None,
        window_timeout_s: float | None = None,
        diarization: Diarization | None = None,
    ) -> None:
        """`rule`: where windows are cut; they are never longer than the engine takes. `deadline`, in
        `time.monotonic()`: no window is begun later, and the iteration raises InferenceTimeout. It does so too when
        `window_timeout_s` pass while it waits for one window. `resumption`: in the place of a rule. `diarization`: told
        all audio, and closed with the iteration; the words of the transcript have speakers then, those of the segments
        that were yielded before do not.
        """
        self._deadline = deadline
        self._source = source
        self._max_duration_s = max_duration_s
        self._lane = lane
        self._vad = VadStream(vad)
        self._options = options
        self._cancelled = cancelled or threading.Event()
        self._planner = WindowPlanner(replace(rule or WindowRule(), max_s=lane.info.max_window_s))
        self._priority = priority
        self._resumption = resumption
        self._window_timeout_s = window_timeout_s
        self._diarization = diarization
        self._submitted = self._finished = 0
        self._stitcher = Stitcher()
        self._in_flight: deque[tuple[Window, Future[Hypothesis]]] = deque()
        self._speech = self._transcribed = 0
        self._segments: list[Segment] = []
        self._language = options.language
        self.declared_duration: float | None = None
        """Seconds that the container promises, known once the first segment is."""
        self.transcript: Transcript | None = None
        """The result, once the iteration has ended."""

    @property
    def done_s(self) -> float:
        """Seconds from the start that are decoded to text or known to be silent."""
        if self.transcript is not None:
            return self.transcript.duration
        return seconds(self._in_flight[0][0].start if self._in_flight else self._planner.settled)

    def __iter__(self) -> Generator[Segment, None, None]:
        """Yields segments in order; closing the generator closes the audio and takes waiting windows back.

        Raises AudioError, InferenceError and OptionError from the parts; Cancelled once the event is set.
        """
        started = time.perf_counter()
        try:
            with open_audio(self._source, max_duration_s=self._max_duration_s) as reader:
                self.declared_duration = reader.declared_duration
                for window in self._planned(reader) if self._resumption else self._windows(reader):
                    if self._language is None and len(self._lane.info.languages) > 1:
                        # The first window tells the language of the whole: short later ones would guess.
                        yield from self._collect(until=0)
                    yield from self._collect(until=self._lane.lookahead - 1)
                    self._submit(window)
                if self._resumption is None:
                    tracing.record("find speech", started, time.perf_counter())
                yield from self._collect(until=0)
                yield from self._keep(self._stitcher.flush())
                self.transcript = self._result(reader)
        finally:
            for _, future in self._in_flight:
                future.cancel()
            if self._diarization is not None:
                self._diarization.close()

    @property
    def running(self) -> list[Future[Any]]:
        """What still runs although the iteration has ended: nothing in hand is interrupted."""
        futures: list[Future[Any]] = [future for _, future in self._in_flight]
        if self._diarization is not None:
            futures += self._diarization.running
        return [future for future in futures if not future.done()]

    def give_up(self) -> None:
        """Wait for no window any more, also where the engine hangs. May be called from another thread."""
        for _, future in list(self._in_flight):
            self._lane.give_up(future)

    @property
    def language(self) -> str:
        """Of the text, as far as it is known; settled with the first segment."""
        if self._options.task == "translate":
            return TRANSLATED
        languages = self._lane.info.languages
        return self._language or (languages[0] if len(languages) == 1 else UNDETERMINED)

    def _result(self, reader: AudioReader | ArrayReader) -> Transcript:
        turns = None if self._diarization is None else self._diarization.finish()
        self._check_cancelled()
        segments, numbers = attribute_all(self._segments, turns or ())
        recognized = {} if self._diarization is None else self._diarization.recognized
        return Transcript(
            segments=segments,
            duration=round(reader.duration, 3),
            language=self.language,
            coverage=Coverage(speech_s=seconds(self._speech), transcribed_s=seconds(self._transcribed)),
            declared_duration=reader.declared_duration if reader.shortfall_s > 0 else None,
            diarization=None if self._diarization is None else "failed" if turns is None else "done",
            recognized={numbers[speaker]: voice for speaker, voice in recognized.items() if speaker in numbers},
        )

    def _submit(self, window: Window) -> None:
        self._speech += window.speech
        if self._resumption is not None and self._submitted < len(self._resumption.finished):
            future: Future[Hypothesis] = Future()
            future.set_result(self._resumption.finished[self._submitted])
        else:
            options = replace(self._options, language=self._language)
            future = self._lane.submit(window.samples, options, self._priority, deadline=self._deadline)
        self._submitted += 1
        self._in_flight.append((window, future))

    def _blocks(self, reader: AudioReader | ArrayReader) -> Iterator[Samples]:
        for block in reader:
            self._check_cancelled()
            if self._diarization is not None:
                self._diarization.feed(block)
            yield block

    def _windows(self, reader: AudioReader | ArrayReader) -> Iterator[Window]:
        for block in self._blocks(reader):
            yield from self._planner.feed(block, self._vad.feed(block))
        yield from self._planner.flush(self._vad.flush())

    def _planned(self, reader: AudioReader | ArrayReader) -> Iterator[Window]:
        assert self._resumption is not None  # noqa: S101 - the only caller has asked
        for window in cut(self._blocks(reader), self._resumption.plan.windows):
            self._check_cancelled()
            yield window

    def _collect(self, until: int) -> Iterator[Segment]:
        """Wait for the oldest windows while more than `until` are in flight."""
        while len(self._in_flight) > until:
            self._check_cancelled()
            window, future = self._in_flight[0]
            try:
                hypothesis = future.result(self._window_timeout_s)
            except TimeoutError:
                self.give_up()
                raise InferenceTimeout from None
            self._in_flight.popleft()
            if hypothesis.language != UNDETERMINED:
                self._language = self._language or hypothesis.language
            if self._resumption is not None and self._finished >= len(self._resumption.finished):
                self._resumption.on_finished(self._finished, hypothesis, self._language)
            self._finished += 1
            self._transcribed += window.speech
            if self._options.task == "translate":
                hypothesis = replace(hypothesis, language=TRANSLATED)
            yield from self._keep(self._stitcher.feed(window, hypothesis))

    def _keep(self, segments: list[Segment]) -> Iterator[Segment]:
        self._segments += segments
        yield from segments

    def _check_cancelled(self) -> None:
        if self._cancelled.is_set():
            raise Cancelled


def transcribe_all(
    source: AnySource,
    lane: Lane,
    vad: VadModel,
    options: Options,
    *,
    on_progress: Callable[[Transcription], None] | None = None,
    diarization: Diarization | None = None,
) -> Transcript:
    """The whole of one recording in one call; `on_progress` is told after every segment."""
    transcription = Transcription(source, lane, vad, options, diarization=diarization)
    for _ in transcription:
        if on_progress is not None:
            on_progress(transcription)
    assert transcription.transcript is not None  # noqa: S101 - set by the end of the iteration
    return transcription.transcript
