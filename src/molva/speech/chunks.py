"""A stream of audio and its speech probabilities -> windows for the engine.

Windows are cut in silence, of which no more goes to the engine than a second at a time. Where speech goes on for longer
than a window, it is cut at its quietest point; where that is not quiet either, two windows overlap and `stitch.py`
joins their words. Audio that fits into one window and has no long pause is one window.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from molva.samples import SAMPLE_RATE, Samples
from molva.speech.buffer import SampleBuffer
from molva.speech.endpoint import Span, SpeechDetector, SpeechRule
from molva.speech.vad import FRAME, FRAMES_PER_SECOND, Probabilities, VadModel, VadStream


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
    max_pause_s: float = 1.0
    """A longer pause always ends a window. Of speech with pauses of up to 4 s the trained small model gets 0.129 of the
    words wrong then, 0.138 with 1.5 s and 0.163 with 3 s; of five minutes of reading 0.145, 0.211 and 0.211."""
    overlap_s: float = 4.0
    quiet: float = 0.25
    """Mean probability of five frames under which a point inside speech is quiet enough for a cut."""
    pause_share: float = 0.5
    """Part of the shortest pause that the window before it may keep; the rest is the next window's."""
    keep_short: bool = True
    """Audio that fits into one window is not cut at pauses that are no longer than `max_pause_s`."""
    edge_s: float = 0.8
    """Silence that is kept around such audio: of utterances that come alone, models are used to some. With 0.4 s the
    trained small model gets 0.40 of the words of unseen ones wrong, with 0.8 s 0.37, as with all there is."""
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
        """Samples of silence kept behind speech."""
        return min(self.padding, int(self.pause_share * self.speech.min_silence * FRAME))

    @property
    def max_pause(self) -> int:
        """Frames."""
        return int(self.max_pause_s * FRAMES_PER_SECOND)

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
        if pause.end - pause.start > rule.max_pause:
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
        self._audio = SampleBuffer()
        self._scores: Probabilities = np.zeros(0, np.float32)
        self._scores_start = 0
        self._speech_until = 0
        """Frame behind the newest speech."""
        self._resume = 0
        """First frame that may go into the next window."""
        self._counted = 0
        """Speech before this frame is part of some window."""
        self._covered = 0
        """The next window starts at this sample or later."""

    @property
    def settled(self) -> int:
        """Samples from the start that are in a window or hold no speech."""
        return self._audio.start

    @property
    def silence(self) -> int:
        """Frames since the newest speech; 0 while it goes on."""
        return self._newest - self._speech_until

    @property
    def _newest(self) -> int:
        return self._scores_start + self._scores.size

    def feed(self, samples: Samples, probabilities: Probabilities) -> list[Window]:
        """Windows that can be told now. `probabilities` may lag behind `samples`."""
        self._audio.append(samples)
        if not probabilities.size:
            return []
        self._score(probabilities)
        if self._rule.keep_short and self._audio.end <= self._rule.max_samples:
            return []
        return self._plan(is_last=False)

    def flush(self, probabilities: Probabilities) -> list[Window]:
        """The remaining windows; `probabilities` are those of the last, incomplete frame."""
        self._score(probabilities)
        self._ended += self._detector.flush()
        n_samples = self._audio.end
        if self._rule.keep_short and n_samples <= self._rule.max_samples and self._is_in_one_go():
            return [self._whole()] if self._ended else []
        return self._plan(is_last=True)

    def close(self) -> list[Window]:
        """The windows of all speech so far, after which the stream goes on. Speech must have ended."""
        return self._plan(is_last=True)

    def peek(self) -> Window | None:
        """The window that would be cut if speech ended here; None where there is no speech or too much."""
        spans = self._waiting()
        if not spans:
            return None
        window = self._shape(spans, Cut(spans[-1].end, self._newest))
        return window if window.samples.size <= self._rule.max_samples else None

    def _is_in_one_go(self) -> bool:
        """Whether no pause between what was said is a long one."""
        pauses = [right.start - left.end for left, right in pairwise(self._ended)]
        return max(pauses, default=0) <= self._rule.max_pause

    def _whole(self) -> Window:
        """All that was said, with the silence around it."""
        n_samples, edge = self._audio.end, int(self._rule.edge_s * SAMPLE_RATE)
        start = max(self._ended[0].start * FRAME - edge, 0)
        end = min(self._ended[-1].end * FRAME + edge, n_samples)
        speech = sum(span.end - span.start for span in self._ended) * FRAME
        return Window(start=start, samples=self._audio.cut_out(start, end), speech=min(speech, n_samples))

    def _score(self, probabilities: Probabilities) -> None:
        self._scores = np.concatenate([self._scores, probabilities])
        ended = self._detector.feed(probabilities)
        self._ended += ended
        if self._detector.open_since is not None:
            silence_since = self._detector.silence_since
            self._speech_until = self._newest if silence_since is None else silence_since
        elif ended:
            self._speech_until = ended[-1].end

    def _plan(self, *, is_last: bool) -> list[Window]:
        windows = []
        while spans := self._waiting():
            scores = self._scores[spans[0].start - self._scores_start :]
            is_open = self._detector.open_since is not None
            cut = find_cut(spans, scores, is_open=is_open, is_last=is_last, rule=self._rule)
            if cut is None:
                break
            window = self._shape(spans, cut)
            self._resume, self._counted, self._covered = cut.resume, cut.end, window.end - window.overlap
            windows.append(window)
        self._let_go(spans)
        return windows

    def _waiting(self) -> list[Span]:
        """Spans that are in no window yet; an open one reaches to the newest frame."""
        self._ended = [span for span in self._ended if span.end > self._resume]
        spans = list(self._ended)
        if self._detector.open_since is not None and self._newest > self._resume:
            spans.append(Span(self._detector.open_since, self._newest))
        return [Span(max(span.start, self._resume), span.end) for span in spans]

    def _shape(self, spans: Sequence[Span], cut: Cut) -> Window:
        pause_behind = max(cut.resume - cut.end, 0) * FRAME
        start = max(spans[0].start * FRAME - self._rule.padding, self._covered)
        end = min(cut.end * FRAME + min(self._rule.padding_behind, pause_behind), self._audio.end)
        uncounted = [min(span.end, cut.end) - max(span.start, self._counted) for span in spans]
        return Window(
            start=start,
            samples=self._audio.cut_out(start, end),
            speech=sum(max(frames, 0) for frames in uncounted) * FRAME,
            overlap=max(end - cut.resume * FRAME, 0),
        )

    def _let_go(self, spans: Sequence[Span]) -> None:
        """Drop audio and scores that no window will need."""
        first = spans[0].start if spans else self._newest
        self._audio.drop_before(first * FRAME - self._rule.padding)
        self._scores = self._scores[first - self._scores_start :].copy()
        self._scores_start = first


class WindowStream:
    """The windows of a recording, or of one side of it, fed in blocks of any size."""

    def __init__(self, vad: VadModel, rule: WindowRule) -> None:
        self._vad = VadStream(vad)
        self._planner = WindowPlanner(rule)
        self.probabilities: Probabilities = np.zeros(0, np.float32)
        """Of speech, in the frames that the last call has scored."""

    @property
    def settled(self) -> int:
        """Samples from the start that are in a window or hold no speech."""
        return self._planner.settled

    def feed(self, samples: Samples) -> list[Window]:
        """Windows that can be told now."""
        self.probabilities = self._vad.feed(samples)
        return self._planner.feed(samples, self.probabilities)

    def flush(self) -> list[Window]:
        """The remaining windows, at the end of the recording."""
        self.probabilities = self._vad.flush()
        return self._planner.flush(self.probabilities)
