"""Log-mels against an independent float64 reference."""

import numpy as np
import pytest
from numpy.typing import NDArray

from molva.engines.gigaam.features import SPECS, FeatureSpec, log_mel, to_bfloat16
from molva.samples import Samples
from tests.conftest import CLIPS, Clip


def reference_log_mel(samples: Samples, spec: FeatureSpec) -> NDArray[np.float64]:
    """The recipe spelled out frame by frame and filter by filter, in float64, with a plain DFT."""
    n = spec.n_fft
    signal = samples.astype(np.float64)
    if spec.center:
        half = n // 2
        signal = np.concatenate([signal[half:0:-1], signal, signal[-2 : -half - 2 : -1]])
    t = np.arange(n)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * t / n)
    dft = np.exp(-2j * np.pi * np.outer(t, np.arange(n // 2 + 1)) / n)
    edges = [700 * (10 ** (mel / 2595) - 1) for mel in np.linspace(0, 2595 * np.log10(1 + 8000 / 700), 66)]
    filters = np.zeros((n // 2 + 1, 64))
    for k in range(n // 2 + 1):
        frequency = k * 16_000 / n
        for m in range(64):
            if edges[m] < frequency <= edges[m + 1]:
                filters[k, m] = (frequency - edges[m]) / (edges[m + 1] - edges[m])
            elif edges[m + 1] < frequency < edges[m + 2]:
                filters[k, m] = (edges[m + 2] - frequency) / (edges[m + 2] - edges[m + 1])
    # The same constants: they are float32, and in v3 bfloat16.
    window, filters = (array.astype(np.float32).astype(np.float64) for array in (window, filters))
    if spec.rounded:
        window, filters = bfloat16(window), bfloat16(filters)
    frames = [signal[i : i + n] * window for i in range(0, len(signal) - n + 1, 160)]
    power = np.abs(np.array(frames) @ dft) ** 2
    log_mels: NDArray[np.float64] = np.log(np.clip(power @ filters, 1e-9, 1e9)).T
    return log_mels


def bfloat16(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Eight significant bits, ties to even, by arithmetic."""
    mantissa, exponent = np.frexp(values.astype(np.float32).astype(np.float64))
    return np.ldexp(np.round(mantissa * 256) / 256, exponent)


@pytest.mark.parametrize("version", ["v2", "v3"])
@pytest.mark.parametrize("clip", CLIPS[:3] + CLIPS[-2:], ids=lambda clip: clip.path.stem)
def test_features_agree_with_the_float64_reference(version: str, clip: Clip) -> None:
    spec = SPECS["v2" if version == "v2" else "v3"]
    samples = clip.samples[: 6 * 16_000]
    features = log_mel(samples, spec)
    expected = reference_log_mel(samples, spec)
    assert features.shape == expected.shape
    assert features.dtype == np.float32
    assert np.abs(features - expected).max() < 1e-4


@pytest.mark.parametrize("version", ["v2", "v3"])
def test_the_number_of_frames_is_known_beforehand(version: str) -> None:
    spec = SPECS["v2" if version == "v2" else "v3"]
    for n_samples in [0, 1, 199, 200, 201, 319, 320, 321, 479, 480, 481, 16_000]:
        assert log_mel(np.ones(n_samples, np.float32), spec).shape == (64, spec.frames(n_samples))


def test_bfloat16_keeps_eight_significant_bits_and_rounds_ties_to_even() -> None:
    values = np.array([1.0, 1.00390625, 1.01171875, 1.0 + 2**-9, -3.14159, 0.0], np.float32)
    assert to_bfloat16(values).tolist() == [1.0, 1.0, 1.015625, 1.0, -3.140625, 0.0]
