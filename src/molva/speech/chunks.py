"""A stream of audio and its speech probabilities -> windows for the engine.

Windows are cut in silence. Where speech goes on for longer than a window, it is cut at its quietest point; where
that is not quiet either, two windows overlap and `stitch.py` joins their words. Audio that fits into one window is
one window, so that a short request gets exactly what the engine makes of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from molva.samples import SAMPLE_RATE, Samples
from molva.speech.endpoint import Span, SpeechDetector, SpeechRule
from molva.speech.vad import FRAME, FRAMES_PER_SECOND, Probabilities


@dataclass(frozen=True)
class Window:
    """A stretch of audio to decode in one go. Positions are samples from the start of the stream."""

    start: int
    samples: Samples
    speech: int
    """Samples of speech that no earlier window has."""
    overlap: int = 0
    """Samples at the end that the next window has too."""

    @property
    def end(self) -> int:
        return self.start + self.samples.size


@dataclass(frozen=True)
class WindowRule:
    """Where windows may be cut. Lengths in seconds."""

    max_s: float = 25.0
    padding_s: float = 0.2
    """Silence kept around speech."""
    max_pause_s: float = 3.0
    """A longer pause always ends a window."""
    overlap_s: float = 4.0
    quiet: float = 0.25
    """Mean probability of five frames under which a point inside speech is quiet enough for a cut."""
    speech: SpeechRule = field(default_factory=SpeechRule)

    @property
    def max_samples(self) -> int:
        return int(self.max_s * SAMPLE_RATE)

    @property
    def padding(self) -> int:
        """Samples of silence kept before speech."""
        return int(self.padding_s * SAMPLE_RATE)

    @property
    def padding_behind(self) -> int:
        """Samples of silence kept behind speech: half of the shortest pause, the rest is the next window's."""
        return min(self.padding, self.speech.min_silence * FRAME // 2)

    @property
    def max_frames(self) -> int:
        """Frames between the paddings of the longest window."""
        return (self.max_samples - 2 * self.padding) // FRAME


class Cut(NamedTuple):
    """The frame that ends a window's speech, and the first frame of what is left for the next window."""

    end: int
    resume: int


def find_cut(
    spans: Sequence[Span], scores: Probabilities, *, is_open: bool, is_last: bool, rule: WindowRule
) -> Cut | None:
    """Where the window that starts with the first span ends; None while more audio could change the answer.

    `scores` begin with the first span's first frame and reach to the newest frame. `is_open`: the last span goes on.
    `is_last`: there is no more audio.
    """
    first, last = spans[0].start, spans[-1]
    limit, newest = first + rule.max_frames, first + len(scores)
    pauses = [Span(left.end, right.start) for left, right in pairwise(spans) if left.end <= limit]
    if not is_open and last.end <= limit:
        pauses.append(Span(last.end, max(newest, last.end)))
    for pause in pauses:
        if pause.end - pause.start > rule.max_pause_s * FRAMES_PER_SECOND:
            return Cut(pause.start, pause.end)
    if not is_last and newest < limit + rule.speech.min_silence:
        return None  # speech that seems to go on past the limit may turn out to have ended before it
    if pauses:
        late = [pause for pause in pauses if pause.start >= first + rule.max_frames // 2]
        cut = max(late, key=lambda pause: pause.end - pause.start) if late else pauses[-1]
        if (is_last and last.end <= limit) or pauses[-1].end > limit:
            cut = pauses[-1]  # all that is left, or all until the limit, fits
        return Cut(cut.start, cut.end)
    begin = rule.max_frames // 2
    loudness = np.convolve(scores[begin : rule.max_frames], np.full(5, 0.2, np.float32), mode="valid")
    quietest = int(loudness.argmin())
    if loudness[quietest] < rule.quiet:
        middle = first + begin + quietest + 2
        return Cut(middle, middle)
    return Cut(limit, limit - int(rule.overlap_s * FRAMES_PER_SECOND))


class WindowPlanner:
    """Plans windows over one stream. Holds no more audio than one window and what is not yet decided."""

    def __init__(self, rule: WindowRule | None = None) -> None:
        self._rule = rule or WindowRule()
        self._detector = SpeechDetector(self._rule.speech)
        self._ended: list[Span] = []
        self._audio: Samples = np.zeros(0, np.float32)
        self._audio_start = 0
        self._scores: Probabilities = np.zeros(0, np.float32)
        self._scores_start = 0
        self._resume = 0
        """First frame that may go into the next window."""
        self._counted = 0
        """Speech before this frame is part of some window."""
        self._covered = 0
        """The next window starts at this sample or later."""

    @property
    def settled(self) -> int:
        """Samples from the start that are in a window or hold no speech."""
        return self._audio_start

    def feed(self, samples: Samples, probabilities: Probabilities) -> list[Window]:
        """Windows that can be told now. `probabilities` may lag behind `samples` by less than a frame."""
        self._audio = np.concatenate([self._audio, samples])
        self._scores = np.concatenate([self._scores, probabilities])
        self._ended += self._detector.feed(probabilities)
        if self._audio_start + self._audio.size <= self._rule.max_samples:
            return []
        return self._plan(is_last=False)

    def flush(self, probabilities: Probabilities) -> list[Window]:
        """The remaining windows; `probabilities` are those of the last, incomplete frame."""
        self._scores = np.concatenate([self._scores, probabilities])
        self._ended += self._detector.feed(probabilities) + self._detector.flush()
        n_samples = self._audio_start + self._audio.size
        if n_samples <= self._rule.max_samples:
            speech = sum(span.end - span.start for span in self._ended) * FRAME
            return [Window(start=0, samples=self._audio, speech=min(speech, n_samples))] if speech else []
        return self._plan(is_last=True)

    def _plan(self, *, is_last: bool) -> list[Window]:
        windows = []
        while spans := self._waiting():
            scores = self._scores[spans[0].start - self._scores_start :]
            is_open = self._detector.open_since is not None
            cut = find_cut(spans, scores, is_open=is_open, is_last=is_last, rule=self._rule)
            if cut is None:
                break
            windows.append(self._window(spans, cut))
        self._let_go(spans)
        return windows

    def _waiting(self) -> list[Span]:
        """Spans that are in no window yet; an open one reaches to the newest frame."""
        self._ended = [span for span in self._ended if span.end > self._resume]
        spans = list(self._ended)
        newest = self._scores_start + self._scores.size
        if self._detector.open_since is not None and newest > self._resume:
            spans.append(Span(self._detector.open_since, newest))
        return [Span(max(span.start, self._resume), span.end) for span in spans]

    def _window(self, spans: Sequence[Span], cut: Cut) -> Window:
        pause_behind = max(cut.resume - cut.end, 0) * FRAME
        start = max(spans[0].start * FRAME - self._rule.padding, self._covered)
        end = min(cut.end * FRAME + min(self._rule.padding_behind, pause_behind), self._audio_start + self._audio.size)
        uncounted = [min(span.end, cut.end) - max(span.start, self._counted) for span in spans]
        self._resume, self._counted = cut.resume, cut.end
        self._covered = min(cut.resume * FRAME, end)
        return Window(
            start=start,
            samples=self._audio[start - self._audio_start : end - self._audio_start],
            speech=sum(max(frames, 0) for frames in uncounted) * FRAME,
            overlap=end - self._covered,
        )

    def _let_go(self, spans: Sequence[Span]) -> None:
        """Drop audio and scores that no window will need."""
        first = spans[0].start if spans else self._scores_start + self._scores.size
        keep = max(first * FRAME - self._rule.padding, self._audio_start)
        self._audio = self._audio[keep - self._audio_start :].copy()
        self._audio_start = keep
        self._scores = self._scores[first - self._scores_start :].copy()
        self._scores_start = first
