"""What a recording looks like: how loud it is from moment to moment, and where somebody speaks. For people to see."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from molva.samples import SAMPLE_RATE, Samples
from molva.speech.endpoint import Span, SpeechDetector, SpeechRule
from molva.speech.vad import FRAMES_PER_SECOND, Probabilities

STEP_S = 0.1
"""What one peak stands for, in recordings of up to half an hour."""
MAX_PEAKS = 20_000
"""An even number. When there are so many, each two become one."""


@dataclass(frozen=True, slots=True)
class Waveform:
    """The picture of a recording. Its size does not depend on the length. Times in seconds."""

    duration_s: float
    step_s: float
    """What one peak stands for: STEP_S, or that doubled as often as it takes."""
    peaks: bytes
    """0..255 for each step: the loudest sample in it, 255 for full scale."""
    speech: tuple[tuple[float, float], ...]
    """Spans of speech in order. Pauses too short to be seen are part of them."""


class WaveformPainter:
    """Paints one stream, fed in blocks of any size. Memory does not grow with its length."""

    def __init__(self, rule: SpeechRule) -> None:
        self._detector = SpeechDetector(rule)
        self._speech: list[Span] = []
        self._peaks = bytearray()
        self._steps_per_peak = 1
        self._steps_in_hand = bytearray()
        """Loudest samples of steps that make no whole peak yet."""
        self._rest: Samples = np.zeros(0, np.float32)
        """Samples that make no whole step yet."""
        self._n_samples = 0

    def feed(self, samples: Samples, probabilities: Probabilities) -> None:
        """`probabilities` may lag behind `samples`."""
        self._n_samples += samples.size
        self._rest = np.concatenate([self._rest, samples])
        step = int(STEP_S * SAMPLE_RATE)
        whole = self._rest.size // step * step
        for loudest in np.abs(self._rest[:whole]).reshape(-1, step).max(axis=1):
            self._add(loudest)
        self._rest = self._rest[whole:].copy()
        self._speak(self._detector.feed(probabilities))

    def finish(self, probabilities: Probabilities) -> Waveform:
        """The picture; `probabilities` are those of the last, incomplete frame."""
        if self._rest.size:
            self._add(np.abs(self._rest).max())
        if self._steps_in_hand:
            self._peaks.append(max(self._steps_in_hand))
        self._speak(self._detector.feed(probabilities))
        self._speak(self._detector.flush())
        duration_s = self._n_samples / SAMPLE_RATE
        return Waveform(
            duration_s=round(duration_s, 3),
            step_s=self._step_s,
            peaks=bytes(self._peaks),
            speech=tuple(
                (round(span.start / FRAMES_PER_SECOND, 3), round(min(span.end / FRAMES_PER_SECOND, duration_s), 3))
                for span in self._speech
            ),
        )

    @property
    def _step_s(self) -> float:
        return STEP_S * self._steps_per_peak

    def _add(self, loudest: np.floating) -> None:
        """One more step."""
        self._steps_in_hand.append(min(round(255 * float(loudest)), 255))
        if len(self._steps_in_hand) < self._steps_per_peak:
            return
        if len(self._peaks) == MAX_PEAKS:
            self._peaks = bytearray(map(max, self._peaks[::2], self._peaks[1::2]))
            self._steps_per_peak *= 2
            self._speech = list(_joined(self._speech, self._step_s * FRAMES_PER_SECOND))
            return  # what is in hand is half a peak now
        self._peaks.append(max(self._steps_in_hand))
        self._steps_in_hand.clear()

    def _speak(self, spans: Sequence[Span]) -> None:
        shortest = self._step_s * FRAMES_PER_SECOND
        self._speech[-1:] = _joined([*self._speech[-1:], *spans], shortest)


def _joined(spans: Sequence[Span], shortest: float) -> Iterator[Span]:
    """Spans without the pauses between them that are shorter than so many frames."""
    joined: Span | None = None
    for span in spans:
        if joined is None:
            joined = span
        elif span.start - joined.end < shortest:
            joined = Span(joined.start, span.end)
        else:
            yield joined
            joined = span
    if joined is not None:
        yield joined
