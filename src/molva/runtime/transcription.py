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
from molva.samples import Channels, Sides, seconds
from molva.speech.attribution import attribute_all
from molva.speech.chunks import Window, WindowRule, WindowStream
from molva.speech.dialogue import interleave
from molva.speech.repetition import without_repetitions
from molva.speech.stitch import Stitcher
from molva.speech.vad import VadModel
from molva.transcript import UNDETERMINED, Coverage, Segment, Transcript, word_separator

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


class _Side:
    """What is transcribed by itself: all channels mixed, or one of them."""

    def __init__(self, vad: VadModel, rule: WindowRule, speaker: int | None, language: str | None) -> None:
        self.windows = WindowStream(vad, rule)
        self.waiting: deque[Window] = deque()
        """Planned, and not handed out yet."""
        self.stitcher = Stitcher()
        self.segments: list[Segment] = []
        self.language = language
        self._speaker = speaker

    def hand_out(self, windows: Sequence[Window]) -> Iterator[tuple["_Side", Window]]:
        """One by one."""
        self.waiting.extend(windows)
        while self.waiting:
            yield self, self.waiting[0]
            self.waiting.popleft()

    def keep(self, segments: list[Segment]) -> list[Segment]:
        """Segments of the stitcher, with the speaker of this side."""
        if self._speaker is not None:
            segments = [
                replace(segment, words=tuple(replace(word, speaker=self._speaker) for word in segment.words))
                for segment in segments
            ]
        self.segments += segments
        return segments


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
        channels: Channels = "mix",
        repetitions: bool = True,
    ) -> None:
        """`rule`: where windows are cut; they are never longer than the engine takes. `deadline`, in
        `time.monotonic()`: no window is begun later, and the iteration raises InferenceTimeout. It does so too when
        `window_timeout_s` pass while it waits for one window. `resumption`: in the place of a rule. `diarization`: told
        all audio, and closed with the iteration; the words of the transcript have speakers then, those of the segments
        that were yielded before do not. `channels`: split, each is transcribed as if it were alone, and is the speaker
        of its words; segments come as they become final then, and only the transcript has them as a dialogue.
        `repetitions`: False takes those that a decoder made up out of the transcript.
        """
        self._deadline = deadline
        self._source = source
        self._max_duration_s = max_duration_s
        self._lane = lane
        self._vad = vad
        self._options = options
        self._cancelled = cancelled or threading.Event()
        self._rule = replace(rule or WindowRule(), max_s=lane.info.max_window_s)
        self._priority = priority
        self._resumption = resumption
        self._window_timeout_s = window_timeout_s
        self._diarization = diarization
        self._channels = channels
        self._repetitions = repetitions
        self._submitted = self._finished = 0
        self._sides: list[_Side] = []
        """Known with the first block."""
        self._in_flight: deque[tuple[_Side, Window, Future[Hypothesis]]] = deque()
        self._speech = self._transcribed = 0
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
        settled = [side.windows.settled for side in self._sides]
        windows = [window for _, window, _ in list(self._in_flight)]
        windows += [window for side in self._sides for window in list(side.waiting)]
        return seconds(min([window.start for window in windows] + settled, default=0))

    def __iter__(self) -> Generator[Segment, None, None]:
        """Yields the segments of each side in order. Closing the generator closes the audio and takes waiting windows
        back.

        Raises AudioError, InferenceError and OptionError from the parts; Cancelled once the event is set.
        """
        started = time.perf_counter()
        try:
            with open_audio(self._source, max_duration_s=self._max_duration_s) as reader:
                self.declared_duration = reader.declared_duration
                for side, window in self._planned(reader) if self._resumption else self._windows(reader):
                    if side.language is None and len(self._lane.info.languages) > 1:
                        # The first window tells the language of the side: short later ones would guess.
                        yield from self._collect(until=0)
                    yield from self._collect(until=self._lane.lookahead - 1)
                    self._submit(side, window)
                if self._resumption is None:
                    tracing.record("find speech", started, time.perf_counter())
                yield from self._collect(until=0)
                for side in self._sides:
                    yield from side.keep(side.stitcher.flush())
                self.transcript = self._result(reader)
        finally:
            for _, _, future in self._in_flight:
                future.cancel()
            if self._diarization is not None:
                self._diarization.close()

    @property
    def running(self) -> list[Future[Any]]:
        """What still runs although the iteration has ended: nothing in hand is interrupted."""
        futures: list[Future[Any]] = [future for _, _, future in self._in_flight]
        if self._diarization is not None:
            futures += self._diarization.running
        return [future for future in futures if not future.done()]

    def give_up(self) -> None:
        """Wait for no window any more, also where the engine hangs. May be called from another thread."""
        for _, _, future in list(self._in_flight):
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
        separator = word_separator(self.language)
        sides: list[Sequence[Segment]] = [side.segments for side in self._sides]
        if not self._repetitions:
            sides = [without_repetitions(segments, separator) for segments in sides]
        segments, numbers = attribute_all(interleave(sides, separator), turns or ())
        recognized = {} if self._diarization is None else self._diarization.recognized
        return Transcript(
            segments=segments,
            duration=round(reader.duration, 3),
            language=self.language,
            coverage=Coverage(speech_s=seconds(self._speech), transcribed_s=seconds(self._transcribed)),
            declared_duration=reader.declared_duration if reader.shortfall_s > 0 else None,
            diarization=None if self._diarization is None else "failed" if turns is None else "done",
            channels=None if self._channels == "mix" else len(sides),
            recognized={numbers[speaker]: voice for speaker, voice in recognized.items() if speaker in numbers},
        )

    def _submit(self, side: _Side, window: Window) -> None:
        self._speech += window.speech
        if self._resumption is not None and self._submitted < len(self._resumption.finished):
            future: Future[Hypothesis] = Future()
            future.set_result(self._resumption.finished[self._submitted])
        else:
            options = replace(self._options, language=side.language)
            future = self._lane.submit(window.samples, options, self._priority, deadline=self._deadline)
        self._submitted += 1
        self._in_flight.append((side, window, future))

    def _blocks(self, reader: AudioReader | ArrayReader) -> Iterator[Sides]:
        for block in reader.blocks(self._channels):
            self._check_cancelled()
            self._sides = self._sides or [self._side(number) for number in range(len(block))]
            if self._diarization is not None:
                self._diarization.feed(block[0])
            yield block

    def _side(self, number: int) -> _Side:
        speaker = number if self._channels == "split" else None
        return _Side(self._vad, self._rule, speaker, self._options.language)

    def _windows(self, reader: AudioReader | ArrayReader) -> Iterator[tuple[_Side, Window]]:
        for block in self._blocks(reader):
            for side, samples in zip(self._sides, block, strict=True):
                yield from side.hand_out(side.windows.feed(samples))
        for side in self._sides:
            yield from side.hand_out(side.windows.flush())

    def _planned(self, reader: AudioReader | ArrayReader) -> Iterator[tuple[_Side, Window]]:
        assert self._resumption is not None  # noqa: S101 - the only caller has asked
        for number, window in cut(self._blocks(reader), self._resumption.plan.windows):
            self._check_cancelled()
            yield self._sides[number], window

    def _collect(self, until: int) -> Iterator[Segment]:
        """Wait for the oldest windows while more than `until` are in flight."""
        while len(self._in_flight) > until:
            self._check_cancelled()
            side, window, future = self._in_flight[0]
            try:
                hypothesis = future.result(self._window_timeout_s)
            except TimeoutError:
                self.give_up()
                raise InferenceTimeout from None
            self._in_flight.popleft()
            if hypothesis.language != UNDETERMINED:
                side.language = side.language or hypothesis.language
                self._language = self._language or hypothesis.language
            if self._resumption is not None and self._finished >= len(self._resumption.finished):
                self._resumption.on_finished(self._finished, hypothesis, self._language)
            self._finished += 1
            self._transcribed += window.speech
            if self._options.task == "translate":
                hypothesis = replace(hypothesis, language=TRANSLATED)
            yield from side.keep(side.stitcher.feed(window, hypothesis))

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
    channels: Channels = "mix",
) -> Transcript:
    """The whole of one recording in one call; `on_progress` is told after every segment."""
    transcription = Transcription(source, lane, vad, options, diarization=diarization, channels=channels)
    for _ in transcription:
        if on_progress is not None:
            on_progress(transcription)
    assert transcription.transcript is not None  # noqa: S101 - set by the end of the iteration
    return transcription.transcript
