"""The shipped VAD on real speech."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from molva.engines.silero import load_vad
from molva.samples import Samples
from molva.speech.vad import FRAME, VadStream
from tests.conftest import UNSEEN

CLIP = UNSEEN[0]


def score(samples: Samples, block: int) -> list[float]:
    stream = VadStream(load_vad())
    scored = [stream.feed(samples[i : i + block]) for i in range(0, samples.size, block)]
    return [float(p) for p in np.concatenate([*scored, stream.flush()])]


@settings(max_examples=10, deadline=None)
@given(block=st.integers(1_000, 40_000), length=st.integers(0, 48_000))
def test_blocks_of_any_size_give_the_same_scores(block: int, length: int) -> None:
    samples = CLIP.samples[:length]
    whole = score(samples, max(length, 1))
    assert len(whole) == -(-length // FRAME)
    assert score(samples, block) == pytest.approx(whole, abs=1e-4)


def test_speech_scores_high_and_silence_low() -> None:
    scores = np.array(score(CLIP.samples, 16_000))
    assert CLIP.speech_start is not None
    before = int(CLIP.speech_start * 16_000 / FRAME) - 3
    assert scores[:before].max() < 0.15
    assert scores[before : before + 200].mean() > 0.7


@pytest.mark.parametrize("level", [0.0, 0.01, 0.2])
def test_noise_is_not_speech(level: float) -> None:
    noise = np.random.default_rng(0).normal(0, 1, 80_000).astype(np.float32) * np.float32(level)
    assert max(score(noise, 16_000)) < 0.15
