"""The picture of a recording."""

import numpy as np
import pytest

from molva.samples import SAMPLE_RATE, Samples
from molva.speech.endpoint import SpeechRule
from molva.speech.vad import FRAME
from molva.speech.waveform import MAX_PEAKS, STEP_S, Waveform, WaveformPainter

STEP = int(STEP_S * SAMPLE_RATE)
NOBODY = np.zeros(0, np.float32)


def painted(samples: Samples, block: int = SAMPLE_RATE, speech: tuple[tuple[int, int], ...] = ()) -> Waveform:
    """`speech`: frames in which somebody speaks."""
    scores = np.zeros(-(-samples.size // FRAME), np.float32)
    for start, end in speech:
        scores[start:end] = 1
    painter = WaveformPainter(SpeechRule())
    for start in range(0, samples.size, block):
        first, last = start // FRAME, min(start + block, samples.size) // FRAME
        painter.feed(samples[start : start + block], scores[first:last])
    return painter.finish(scores[samples.size // FRAME :])


def test_a_peak_is_the_loudest_sample_of_its_step() -> None:
    samples = np.zeros(3 * STEP + 10, np.float32)
    samples[5], samples[STEP], samples[2 * STEP - 1], samples[-1] = 0.5, 0.1, -1.0, 1.7
    assert painted(samples) == Waveform(0.301, 0.1, bytes([128, 255, 0, 255]), ())


@pytest.mark.parametrize("block", [1, 7, STEP, 3 * STEP + 1])
def test_it_does_not_matter_how_the_audio_comes(block: int) -> None:
    samples = np.random.default_rng(1).uniform(-1, 1, 4 * STEP + 3).astype(np.float32)
    assert painted(samples, block).peaks == painted(samples).peaks


@pytest.mark.parametrize("steps", [MAX_PEAKS, MAX_PEAKS + 1, MAX_PEAKS + 2, 2 * MAX_PEAKS + 1, 5 * MAX_PEAKS + 3])
def test_long_recordings_get_longer_steps(steps: int) -> None:
    loudness = np.random.default_rng(steps).integers(0, 256, steps).astype(np.float32)
    painter = WaveformPainter(SpeechRule())
    for level in loudness / 255:
        painter.feed(np.full(STEP, level, np.float32), NOBODY)
    waveform = painter.finish(NOBODY)
    merged = round(waveform.step_s / STEP_S)
    assert len(waveform.peaks) <= MAX_PEAKS + 1
    expected = [max(loudness[start : start + merged]) for start in range(0, steps, merged)]
    assert list(waveform.peaks) == expected


def test_speech_is_told_in_seconds() -> None:
    samples = np.zeros(100 * FRAME, np.float32)
    waveform = painted(samples, speech=((10, 20), (50, 100)))
    assert waveform.speech == ((0.32, 0.64), (1.6, 3.2))


def test_pauses_that_nobody_could_see_are_left_out() -> None:
    painter = WaveformPainter(SpeechRule())
    scores = np.zeros(int(SAMPLE_RATE / FRAME * STEP_S * MAX_PEAKS * 5), np.float32)
    scores.reshape(-1, 25)[:, :10] = 1  # 320 ms of speech, 480 ms of silence, for hours
    for start in range(0, scores.size, 25):
        painter.feed(np.zeros(25 * FRAME, np.float32), scores[start : start + 25])
    waveform = painter.finish(NOBODY)
    assert waveform.step_s == pytest.approx(0.8)
    [(begin, end)] = waveform.speech
    assert begin == 0
    assert end == pytest.approx(waveform.duration_s - 0.48)
