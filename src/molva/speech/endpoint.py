"""Probabilities -> spans of speech, by a threshold with hysteresis, as a stream."""

from dataclasses import dataclass
from typing import NamedTuple

from molva.speech.vad import Probabilities


class Span(NamedTuple):
    """Half-open range of frames."""

    start: int
    end: int


@dataclass(frozen=True)
class SpeechRule:
    """When speech begins and when it is over."""

    onset: float = 0.25
    """Probability that begins speech. Low: a false alarm costs a decode, a miss costs words."""
    release: float = 0.15
    """Probability below which a frame counts as silence while speech goes on."""
    min_silence: int = 8
    """Frames of silence that end speech; shorter pauses belong to it. 8 frames are 256 ms."""
    min_speech: int = 2
    """Spans of fewer frames are clicks and are dropped."""


class SpeechDetector:
    """Cuts one stream of probabilities into spans."""

    def __init__(self, rule: SpeechRule) -> None:
        self._rule = rule
        self._position = 0
        self.silence_since: int | None = None
        """First frame of the silence that may end the open span."""
        self.open_since: int | None = None
        """First frame of the span that has not ended yet."""

    def feed(self, probabilities: Probabilities) -> list[Span]:
        """Spans that `probabilities` brings to an end."""
        ended = []
        for probability in probabilities.tolist():
            if self.open_since is None:
                if probability >= self._rule.onset:
                    self.open_since = self._position
            elif probability >= self._rule.release:
                self.silence_since = None
            else:
                if self.silence_since is None:
                    self.silence_since = self._position
                if self._position + 1 - self.silence_since >= self._rule.min_silence:
                    ended += self._close(self.silence_since)
            self._position += 1
        return ended

    def flush(self) -> list[Span]:
        """The span that the end of the stream ends."""
        end = self._position if self.silence_since is None else self.silence_since
        return self._close(end)

    def _close(self, end: int) -> list[Span]:
        start, self.open_since, self.silence_since = self.open_since, None, None
        if start is None or end - start < self._rule.min_speech:
            return []
        return [Span(start, end)]
