"""The windows of a whole recording, told before any of them is decoded.

Looking through a recording costs a small part of decoding it. It makes progress a plain count, and what a later
attempt takes up again the very same windows.
"""

import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from molva.audio.array import AnySource, open_audio
from molva.errors import Cancelled
from molva.samples import MAX_SIDES, Channels, Samples, Sides
from molva.speech.buffer import SampleBuffer
from molva.speech.chunks import Window, WindowRule, WindowStream
from molva.speech.vad import Probabilities, VadModel
from molva.speech.waveform import Waveform, WaveformPainter


@dataclass(frozen=True, slots=True)
class PlannedWindow:
    """A window without its audio. All in samples, as in Window."""

    start: int
    size: int
    speech: int
    overlap: int
    side: int = 0
    """Number of the channel that it is of; 0 where they are mixed."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Where a recording is cut."""

    windows: tuple[PlannedWindow, ...]
    """By their end, and then by their side."""
    duration_s: float
    """Of the recording."""


def plan(
    source: AnySource, vad: VadModel, rule: WindowRule, *, cancelled: threading.Event, channels: Channels = "mix"
) -> tuple[Plan, Waveform]:
    """Look through a recording, and paint it by the way. Blocking; of the audio no more than a window is in memory.

    The picture is of all sides at once. Raises AudioError, and Cancelled once the event is set.
    """
    painter = WaveformPainter(rule.speech)
    sides: list[WindowStream] = []
    windows: list[PlannedWindow] = []

    def take(side: int, ready: Sequence[Window]) -> None:
        windows.extend(PlannedWindow(w.start, w.samples.size, w.speech, w.overlap, side) for w in ready)

    with open_audio(source, max_duration_s=None) as reader:
        for block in reader.blocks(channels):
            if cancelled.is_set():
                raise Cancelled
            sides = sides or [WindowStream(vad, rule) for _ in block]
            for number, (side, samples) in enumerate(zip(sides, block, strict=True)):
                take(number, side.feed(samples))
            painter.feed(np.abs(block).max(axis=0), _loudest(sides))
        for number, side in enumerate(sides):
            take(number, side.flush())
        windows.sort(key=lambda window: (window.start + window.size, window.side))
        return Plan(tuple(windows), round(reader.duration, 3)), painter.finish(_loudest(sides))


def _loudest(sides: Sequence[WindowStream]) -> Probabilities:
    """Whether anybody speaks, in the frames that were scored last."""
    return np.max([side.probabilities for side in sides], axis=0) if sides else np.zeros(0, np.float32)


def cut(blocks: Iterable[Sides], windows: Sequence[PlannedWindow]) -> Iterator[tuple[int, Window]]:
    """The planned windows with their audio and their sides, from the recording that they were planned for."""
    sides = [_Cutter(window for window in windows if window.side == number) for number in range(MAX_SIDES)]
    for block in blocks:
        ready = [(number, window) for number, samples in enumerate(block) for window in sides[number].feed(samples)]
        yield from sorted(ready, key=lambda one: (one[1].end, one[0]))


class _Cutter:
    """Cuts the windows of one side. Holds no more audio than those that are not yet complete."""

    def __init__(self, windows: Iterable[PlannedWindow]) -> None:
        self._waiting = deque(windows)
        self._audio = SampleBuffer()

    def feed(self, samples: Samples) -> list[Window]:
        audio, waiting = self._audio, self._waiting
        audio.append(samples)
        ready = []
        while waiting and waiting[0].start + waiting[0].size <= audio.end:
            window = waiting.popleft()
            cut_out = audio.cut_out(window.start, window.start + window.size)
            ready.append(Window(window.start, cut_out, window.speech, window.overlap))
        audio.drop_before(min(waiting[0].start, audio.end) if waiting else audio.end)
        return ready
