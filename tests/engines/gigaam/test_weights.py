"""Rounding to the formats."""

from typing import Literal

import numpy as np
import pytest

from molva.engines.gigaam.weights import quantize


@pytest.mark.parametrize(("form", "largest"), [("s8", 127), ("s7", 63), ("u8", 127)])
def test_each_channel_uses_its_whole_range(form: Literal["s8", "s7", "u8"], largest: int) -> None:
    weight = (np.random.default_rng(0).standard_normal((50, 7)) * np.arange(1, 8)).astype(np.float32)
    quantized = quantize(weight, form)
    centred = quantized.weight.astype(int) - int(quantized.zero_point)
    assert (np.abs(centred).max(axis=0) == largest).all()
    assert (np.abs(centred * quantized.scale - weight) <= quantized.scale * 0.501).all()


def test_a_channel_of_zeros_stays_so() -> None:
    quantized = quantize(np.zeros((4, 2), np.float32), "u8")
    assert (quantized.weight == 128).all()
    assert np.isfinite(quantized.scale).all()
