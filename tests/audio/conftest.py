"""Real speech, read without the code under test, and the files made of it."""

import wave
from importlib.resources import files

import numpy as np
import pytest

from molva.samples import SAMPLE_RATE, Samples
from tests.media import VARIANTS


def read_wav(file: str) -> Samples:
    with wave.open(file) as audio:
        assert (audio.getframerate(), audio.getnchannels(), audio.getsampwidth()) == (SAMPLE_RATE, 1, 2)
        frames = audio.readframes(audio.getnframes())
    return np.frombuffer(frames, "<i2").astype(np.float32) / np.float32(32768)


@pytest.fixture(scope="session")
def speech() -> Samples:
    """Five seconds."""
    return read_wav(str(files("molva.assets") / "speech.wav"))


@pytest.fixture(scope="session")
def clips(speech: Samples) -> dict[str, bytes]:
    """`speech` in every variant."""
    return {name: variant.encode(speech) for name, variant in VARIANTS.items()}
