"""The resampler against soxr in one piece, against ideal sines, and against what clients send by mistake."""

import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from molva.audio.resample import MAX_RATE, MIN_RATE, Resampler
from molva.errors import AudioError
from molva.samples import SAMPLE_RATE, Samples

RATES = [8_000, 11_025, 22_050, 44_100, 48_000, 96_000, 192_000]


def noise(n: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, n).astype(np.float32)


def sine(hz: float, rate: int, seconds: float) -> NDArray[np.float32]:
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(round(rate * seconds)) / rate)).astype(np.float32)


def resample(samples: NDArray[np.float32], rate: int, cuts: list[int] | None = None) -> Samples:
    """All of `samples`, fed in pieces that end at `cuts`."""
    resampler = Resampler(rate)
    pieces = [resampler.feed(piece) for piece in np.split(samples, sorted(cuts or []))]
    return np.concatenate([*pieces, resampler.flush()])


def test_16_khz_passes_through_untouched() -> None:
    samples = noise(5_000)
    assert np.array_equal(resample(samples, SAMPLE_RATE, cuts=[1, 1_000]), samples)


@given(
    rate=st.sampled_from([SAMPLE_RATE, *RATES]),
    length=st.integers(0, 20_000),
    cuts=st.lists(st.integers(0, 20_000), max_size=30),
)
@settings(max_examples=60, deadline=None)
def test_where_the_input_is_cut_makes_no_difference(rate: int, length: int, cuts: list[int]) -> None:
    samples = noise(length)
    assert np.array_equal(resample(samples, rate, cuts), resample(samples, rate))


@pytest.mark.parametrize("rate", RATES)
def test_the_stream_is_what_soxr_makes_of_the_whole(rate: int) -> None:
    samples = noise(rate)
    expected = soxr.resample(samples, rate, SAMPLE_RATE, quality="HQ")
    # 1e-6: soxr takes other steps inside for a whole signal, so the last bit of a float32 may differ.
    np.testing.assert_allclose(resample(samples, rate, cuts=[10, 777, 5_000]), expected, atol=1e-6)


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
def test_a_tone_stays_the_same_tone(rate: int) -> None:
    out = resample(sine(440, rate, 1.0), rate)
    expected = sine(440, SAMPLE_RATE, 1.0)
    assert len(out) == len(expected)
    inner = slice(800, -800)  # 50 ms at each end are the filter's, where the tone starts and stops
    np.testing.assert_allclose(out[inner], expected[inner], atol=1e-3)


def test_what_16_khz_cannot_hold_does_not_fold_back() -> None:
    out = resample(sine(10_000, 48_000, 1.0), 48_000)
    assert np.abs(out[800:-800]).max() < 1e-4


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("rate", [SAMPLE_RATE, 44_100])
def test_what_is_not_finite_becomes_silence(value: float, rate: int) -> None:
    samples = noise(rate)
    broken, silenced = samples.copy(), samples.copy()
    broken[1000:1010] = value
    silenced[1000:1010] = 0
    assert np.array_equal(resample(broken, rate), resample(silenced, rate))


@pytest.mark.parametrize("rate", [SAMPLE_RATE, 8_000, 44_100])
def test_the_output_stays_within_full_scale(rate: int) -> None:
    square = np.where(np.arange(rate) % 40 < 20, np.float32(3e38), np.float32(-3e38))
    out = resample(square, rate)
    assert np.isfinite(out).all()
    assert np.abs(out).max() == 1


def test_the_callers_array_is_left_alone() -> None:
    samples = np.full(100, np.nan, np.float32)
    out = Resampler(SAMPLE_RATE).feed(samples)
    out[:] = 1
    assert np.isnan(samples).all()


@pytest.mark.parametrize("rate", [MIN_RATE, MAX_RATE])
def test_the_lowest_and_the_highest_rate_are_taken(rate: int) -> None:
    assert len(resample(np.zeros(rate, np.float32), rate)) == SAMPLE_RATE


@pytest.mark.parametrize("rate", [-1, 0, 1, MIN_RATE - 1, MAX_RATE + 1])
def test_rates_beyond_are_refused(rate: int) -> None:
    with pytest.raises(AudioError):
        Resampler(rate)
