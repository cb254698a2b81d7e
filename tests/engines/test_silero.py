"""The shipped voice-activity model."""

import numpy as np
import pytest

from molva.engines.silero import load_vad
from molva.errors import InferenceError


def test_what_it_cannot_take_is_told_as_a_failed_run() -> None:
    vad = load_vad()
    with pytest.raises(InferenceError):
        vad(np.zeros((1, 3), np.float64), vad.initial())
