"""One live session without I/O: samples in, decode requests out; hypotheses in, partials and finals out.

It has no clock, socket or thread. Time is the audio's own; at real-time pace, audio that came in while a hypothesis
was being made tells how long that took.

A final is what a file would give: the same windows, decoded whole. In the pause that may end an utterance, its window
is already decoded, as a partial; when the pause turns out to be the end, that hypothesis is the final. Other partials
decode the tail of their window only.
"""

import copy
import itertools
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np

from molva.samples import SAMPLE_RATE, Samples, seconds
from molva.speech.chunks import Window, WindowPlanner, WindowRule
from molva.speech.drafts import Drafts
from molva.speech.endpoint import SpeechRule
from molva.speech.stable import StablePrefix
from molva.speech.stitch import Stitcher
from molva.speech.vad import FRAME, FRAMES_PER_SECOND, VadModel, VadStream
from molva.transcript import UNDETERMINED, Hypothesis, Segment, Word, word_separator

EndpointReason = Literal["vad", "stop", "commit"]


VAD_LAG = 1
"""Frames that are taken off the endpoint silence: speech that has ended still looks like speech for one to three."""


@dataclass(frozen=True)
class LiveRule:
    """When partials are due and utterances end."""

    min_silence_ms: int = 500
    """Silence that ends an utterance."""
    endpoint: bool = True
    """Whether silence ends utterances at all; otherwise only the end of the stream does."""
    first_s: float = 0.4
    """Speech before the first partial. The voice-activity model takes another 0.1 s to notice speech."""
    stride_s: float = 0.5
    """Audio between two partials, at least."""
    lag_factor: float = 2.0
    """Partials are at least so many times further apart than they take, so that they thin out under load."""
    max_utterance_s: float = 300.0
    """Longer utterances are told in several finals, which bounds messages and memory."""
    max_window_s: float = 25.0
    """Longest window of the engine."""
    onset: float = SpeechRule.onset
    release: float = SpeechRule.release
    """As in SpeechRule."""
    padding_s: float = WindowRule.padding_s
    """Audio before speech that belongs to it."""
    turns: bool = False
    """Tell the start and the end of each utterance, and its final also where it is empty, instead of partials."""
    spans: bool = False
    """Tell the start and the end of each utterance beside the partials."""

    @property
    def min_silence(self) -> int:
        """Frames without speech that end an utterance."""
        return max(round(self.min_silence_ms / 1000 * FRAMES_PER_SECOND) - VAD_LAG, 1)

    @property
    def windows(self) -> WindowRule:
        """As for files, but nobody else wants the pause behind an utterance, and a shorter endpoint ends it earlier."""
        usual = SpeechRule()
        min_silence = min(self.min_silence, usual.min_silence) if self.endpoint else usual.min_silence
        return WindowRule(
            max_s=self.max_window_s,
            padding_s=self.padding_s,
            pause_share=1.0,
            keep_short=False,
            speech=SpeechRule(onset=self.onset, release=self.release, min_silence=min_silence),
        )


@dataclass(frozen=True, eq=False)
class Decode:
    """A request to decode some audio. One that was a partial's may come again as a final's, with the same `id`."""

    id: int
    samples: Samples
    is_final: bool


@dataclass(frozen=True)
class Partial:
    """What is heard so far of the utterance that goes on."""

    words: tuple[Word, ...]
    text: str
    n_stable: int
    """Characters at the start of `text` that no later partial changes."""


@dataclass(frozen=True)
class Final:
    """One utterance, or one stretch of a very long one."""

    words: tuple[Word, ...]
    text: str
    reason: EndpointReason | None
    """What ended the utterance; None where it goes on in the next final."""
    failed: bool = False
    """Whether the engine failed on some of it: words may be missing."""
    number: int = field(default=0, compare=False)
    """Of the utterance, from 1; 0 where it goes on."""
    span: int = field(default=0, compare=False)
    """Of the stretch that it tells, from 1: its SpeechStopped has the same."""


@dataclass(frozen=True)
class SpeechStarted:
    """An utterance begins; its SpeechStopped follows, unless it is cleared. Not told where only commits end them."""

    start_s: float
    """Seconds of the stream, padding included."""


@dataclass(frozen=True)
class SpeechStopped:
    """An utterance is over; its Final follows."""

    start_s: float
    """Seconds of the stream. Where only commits end utterances, the end of the one before."""
    end_s: float
    """The silence that ended it included."""
    reason: EndpointReason | None
    """As in its Final."""
    span: int = field(default=0, compare=False)
    """As in its Final."""


Action: TypeAlias = Decode | Partial | Final | SpeechStarted | SpeechStopped


@dataclass
class _Part:
    """A window of an utterance that waits for its turn to become text, or the mere end of an utterance."""

    window: Window | None
    decode_id: int | None = None
    hypothesis: Hypothesis | None = None
    draft: Hypothesis | None = None
    """Of a shorter window with the same start: what is shown until the hypothesis is there."""
    ends: bool = False
    number: int = 0
    span: int = 0
    reason: EndpointReason | None = None
    failed: bool = False


@dataclass
class _Shown:
    """What the client has seen of the utterance that its next final is about."""

    prefix: StablePrefix = field(default_factory=StablePrefix)
    anything: bool = False


_NO_SAMPLES: Samples = np.zeros(0, np.float32)


class LiveSession:
    """The state of one stream. Not thread-safe."""

    def __init__(self, vad: VadModel, rule: LiveRule, *, start: int = 0) -> None:
        """`start`: samples of the stream before the first one fed here; times count from the stream's start."""
        self._model = vad
        self._stitcher = Stitcher()
        self._ids = itertools.count()
        self._parts: deque[_Part] = deque()
        self._segments: list[Segment] = []
        """Of the utterance at the head of the parts."""
        self._separator = " "
        self._failed = False
        """Whether a window of that utterance has."""
        self._shown = _Shown()
        self._utterance_s = 0.0
        """Audio of the utterance that is in parts already."""
        self._drafts = Drafts()
        self._next_partial = 0
        self._lag = 0
        """Samples that came in while the last partial was decoded."""
        self.received = start
        """Samples of the stream so far."""
        self.ended = 0
        """Utterances that are over; the finals of the last ones may be still to come."""
        self._spans = 0
        """The same of stretches that a final tells, which are more where an utterance is very long."""
        self.configure(rule)

    def configure(self, rule: LiveRule) -> None:
        """The rule for what comes next. An utterance that goes on is forgotten."""
        self._rule = rule
        self._pause = rule.windows.speech.min_silence
        """Frames of silence after which the utterance may be over."""
        self._begin_anew()

    @property
    def is_open(self) -> bool:
        """Whether an utterance goes on. Where only commits end utterances, any audio makes one."""
        return self._in_utterance if self._rule.endpoint else self.received > self._turn

    @property
    def waiting(self) -> int:
        """Windows of finals that have no hypothesis yet."""
        return sum(part.window is not None and part.hypothesis is None for part in self._parts)

    @property
    def done(self) -> bool:
        """Whether every utterance that has ended is told."""
        return not self._parts

    def feed(self, samples: Samples) -> list[Action]:
        """Audio of any length. How it is cut into blocks changes partials only."""
        self.received += samples.size
        probabilities = self._vad.feed(samples)
        actions = self._queue(self._planner.feed(samples, probabilities[:0]))
        for i in range(probabilities.size):
            self._scored += FRAME
            actions += self._queue(self._planner.feed(_NO_SAMPLES, probabilities[i : i + 1]))
            actions += self._step()
        return newest_only(actions)

    def flush(self) -> list[Action]:
        """The end of the stream: exactly one more Final with the reason `stop` comes, empty where nothing is left."""
        actions = self._queue(self._planner.flush(self._vad.flush()))
        return actions + self._end("stop")

    def commit(self) -> list[Action]:
        """End the utterance that goes on; its Final follows, also an empty one. What comes next begins anew."""
        actions = self._queue(self._planner.flush(self._vad.flush())) + self._end("commit")
        self._begin_anew()
        return actions

    def clear(self) -> None:
        """Forget the utterance that goes on and whatever else has been heard since the last one."""
        while self._parts and not self._parts[-1].ends:
            self._parts.pop()
        if self._parts:
            self._parts[-1].reason = self._parts[-1].reason or "commit"  # it does not go on
        else:
            self._stitcher, self._segments, self._shown, self._failed = Stitcher(), [], _Shown(), False
        self._begin_anew()

    def answer(self, decode: Decode, hypothesis: Hypothesis | None) -> list[Action]:
        """The hypothesis for a request; None where the engine failed, which costs no more than that window."""
        for part in self._parts:
            if part.decode_id == decode.id:
                part.hypothesis, part.failed = hypothesis or part.draft or _nothing(), hypothesis is None
                return self._tell()
        draft = self._drafts.answer(decode.id, hypothesis) if hypothesis else None
        if draft is None or draft.hypothesis is None:
            return []
        self._lag = self.received - draft.window.end
        return [] if self._rule.turns else self._partial(draft.window, draft.hypothesis)

    def _begin_anew(self) -> None:
        """What comes next has nothing to do with what came before."""
        self._vad = VadStream(self._model)
        self._planner = WindowPlanner(self._rule.windows)
        self._start = self.received
        """Samples of the stream before those that the planner knows."""
        self._scored = 0
        """Samples since then that have been looked at."""
        self._turn = self.received
        """Where the utterance that goes on has begun, or the last one has ended."""
        self._in_utterance = False
        self._drafts.clear()

    def _step(self) -> list[Action]:
        """What the newest frame brings."""
        silence = self._planner.silence
        if silence == 0:
            started: list[Action] = []
            if not self._in_utterance:
                self._in_utterance = True
                self._utterance_s = 0.0
                self._next_partial = self._scored + int(self._rule.first_s * SAMPLE_RATE)
                started = self._started(self._start + self._scored - FRAME - self._rule.windows.padding)
            if self._rule.turns or self._scored < self._next_partial:
                return started
            return started + self._request_partial()
        if not self._in_utterance:
            return []
        if self._rule.endpoint and silence >= self._rule.min_silence:
            return self._queue(self._planner.close()) + self._end("vad")
        pause = silence == self._pause and (self._rule.endpoint or not self._rule.turns)
        return self._request_partial(whole=True) if pause else []

    @property
    def _stride(self) -> int:
        return int(max(self._rule.stride_s * SAMPLE_RATE, self._rule.lag_factor * self._lag))

    def _request_partial(self, *, whole: bool = False) -> list[Action]:
        """`whole`: it may become a final."""
        window = self._planner.peek()
        if window is None:
            return []
        self._next_partial = self._scored + self._stride
        decode_id = next(self._ids)
        samples = self._drafts.add(self._placed(window), decode_id, whole=whole)
        return [Decode(decode_id, samples, is_final=False)]

    def _queue(self, windows: Sequence[Window]) -> list[Action]:
        """Ask for the hypotheses of windows that are final."""
        actions: list[Action] = []
        for window in map(self._placed, windows):
            part = _Part(window)
            self._parts.append(part)
            self._utterance_s += seconds(window.samples.size)
            part.draft = self._drafts.heard(window)
            draft = self._drafts.same(window)
            if draft is not None and not window.overlap:
                part.decode_id, part.hypothesis = draft.decode_id, draft.hypothesis
            self._drafts.clear()
            if part.decode_id is None:
                part.decode_id = next(self._ids)
            if part.hypothesis is None:
                actions.append(Decode(part.decode_id, window.samples, is_final=True))
            if self._utterance_s > self._rule.max_utterance_s:
                self._spans += 1
                self._parts.append(_Part(None, ends=True, span=self._spans))
                self._utterance_s = 0.0
                cut = window.end - window.overlap
                actions += self._stopped(cut, None) + self._started(cut)
        return actions + self._tell()

    def _end(self, reason: EndpointReason) -> list[Action]:
        """The utterance is over, and what has been queued is all of it."""
        self._in_utterance = False
        self._drafts.clear()
        self.ended += 1
        self._spans += 1
        self._parts.append(_Part(None, ends=True, number=self.ended, span=self._spans, reason=reason))
        return self._stopped(self.received if reason == "commit" else self._start + self._scored, reason) + self._tell()

    def _started(self, position: int) -> list[Action]:
        """What is told of an utterance that begins at this sample of the stream."""
        if not (self._tells_spans and self._rule.endpoint):
            return []
        self._turn = max(position, self._turn)
        return [SpeechStarted(seconds(self._turn))]

    def _stopped(self, position: int, reason: EndpointReason | None) -> list[Action]:
        """What is told of an utterance that ends before this sample of the stream."""
        start, self._turn = self._turn, position
        return [SpeechStopped(seconds(start), seconds(position), reason, self._spans)] if self._tells_spans else []

    @property
    def _tells_spans(self) -> bool:
        return self._rule.turns or self._rule.spans

    def _tell(self) -> list[Action]:
        """Finals of the utterances whose windows all have hypotheses, in order."""
        actions: list[Action] = []
        while self._parts:
            part = self._parts[0]
            if part.window is not None:
                if part.hypothesis is None:
                    break
                self._separator = word_separator(part.hypothesis.language)
                self._segments += self._stitcher.feed(part.window, part.hypothesis)
                self._failed = self._failed or part.failed
            if part.ends:
                actions += self._finish(part)
            self._parts.popleft()
        return actions

    def _finish(self, end: _Part) -> list[Action]:
        if end.reason is not None:
            self._segments += self._stitcher.flush()
        words = tuple(word for segment in self._segments for word in segment.words)
        text = self._separator.join(segment.text for segment in self._segments if segment.text)
        shown, self._shown, self._segments = self._shown, _Shown(), []
        failed, self._failed = self._failed, False
        if not text and not shown.anything and end.reason != "stop" and not self._rule.turns:
            return []  # noise
        return [Final(words, text, end.reason, failed, end.number, end.span)]

    def _partial(self, window: Window, hypothesis: Hypothesis) -> list[Action]:
        if any(part.ends for part in self._parts):
            return []  # the utterance before this one comes first
        stitcher, segments = copy.copy(self._stitcher), list(self._segments)
        for part in self._parts:
            heard = part.hypothesis or part.draft
            if part.window is None or heard is None:
                return []
            segments += stitcher.feed(part.window, heard)
        segments += stitcher.feed(window, hypothesis) + stitcher.flush()
        words, n_stable = self._shown.prefix.read([word for segment in segments for word in segment.words])
        if not words:
            return []
        self._shown.anything = True
        separator = word_separator(hypothesis.language)
        text = separator.join(word.text for word in words)
        return [Partial(words, text, len(separator.join(word.text for word in words[:n_stable])))]

    def _placed(self, window: Window) -> Window:
        """The window in the stream's own time."""
        return Window(self._start + window.start, window.samples, window.speech, window.overlap)


def newest_only(actions: list[Action]) -> list[Action]:
    """Without partials' requests that a later request of the same block makes needless."""
    requests = [action for action in actions if isinstance(action, Decode)]
    return [a for a in actions if not isinstance(a, Decode) or a.is_final or a is requests[-1]]


def _nothing() -> Hypothesis:
    return Hypothesis(text="", tokens=(), words=(), language=UNDETERMINED)
