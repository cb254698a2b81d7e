"""The windows of a whole recording, told before any of them is decoded.

Looking through a recording costs a small part of decoding it. It makes progress a plain count, and what a later
attempt takes up again the very same windows.
"""

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from molva.audio.array import AnySource, open_audio
from molva.errors import Cancelled
from molva.samples import Samples
from molva.speech.buffer import SampleBuffer
from molva.speech.chunks import Window, WindowPlanner, WindowRule
from molva.speech.vad import VadModel, VadStream
from molva.speech.waveform import Waveform, WaveformPainter


@dataclass(frozen=True, slots=True)
class PlannedWindow:
    """A window without its audio. All in samples, as in Window."""

    start: int
    size: int
    speech: int
    overlap: int


@dataclass(frozen=True, slots=True)
class Plan:
    """Where a recording is cut."""

    windows: tuple[PlannedWindow, ...]
    duration_s: float
    """Of the recording."""


def plan(source: AnySource, vad: VadModel, rule: WindowRule, *, cancelled: threading.Event) -> tuple[Plan, Waveform]:
    """Look through a recording, and paint it by the way. Blocking; of the audio no more than a window is in memory.

    Raises AudioError, and Cancelled once the event is set.
    """
    planner, speech, painter = WindowPlanner(rule), VadStream(vad), WaveformPainter(rule.speech)
    windows: list[PlannedWindow] = []

    def take(ready: Sequence[Window]) -> None:
        windows.extend(PlannedWindow(w.start, w.samples.size, w.speech, w.overlap) for w in ready)

    with open_audio(source, max_duration_s=None) as reader:
        for block in reader:
            if cancelled.is_set():
                raise Cancelled
            probabilities = speech.feed(block)
            painter.feed(block, probabilities)
            take(planner.feed(block, probabilities))
        probabilities = speech.flush()
        take(planner.flush(probabilities))
        return Plan(tuple(windows), round(reader.duration, 3)), painter.finish(probabilities)


def cut(blocks: Iterable[Samples], windows: Sequence[PlannedWindow]) -> Iterator[Window]:
    """The planned windows with their audio, which comes from the recording that they were planned for."""
    audio, waiting = SampleBuffer(), list(reversed(windows))
    for block in blocks:
        audio.append(block)
        while waiting and waiting[-1].start + waiting[-1].size <= audio.end:
            window = waiting.pop()
            samples = audio.cut_out(window.start, window.start + window.size)
            yield Window(window.start, samples, window.speech, window.overlap)
        audio.drop_before(min(waiting[-1].start, audio.end) if waiting else audio.end)
