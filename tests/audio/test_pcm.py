"""PCM16 off a socket: no border of a message can be heard."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from molva.audio.pcm import PcmStream, from_pcm16
from molva.samples import Samples


def through(data: bytes, cuts: list[int], rate: int) -> Samples:
    stream = PcmStream(rate)
    bounds = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    pieces = [stream.feed(data[a:b]) for a, b in pairwise(bounds)]
    return np.concatenate([*pieces, stream.flush()])


@pytest.mark.parametrize("rate", [8000, 16000, 24000, 44100, 48000])
@given(st.lists(st.integers(0, 10_000), max_size=20), st.integers(0, 4001))
def test_borders_do_not_matter(rate: int, cuts: list[int], n_bytes: int) -> None:
    data = np.random.default_rng(1).integers(0, 256, n_bytes, np.uint8).tobytes()
    assert (through(data, cuts, rate) == through(data, [], rate)).all()


def test_single_bytes_make_samples() -> None:
    data = np.array([0, 1, -1, 32767, -32768], "<i2").tobytes()
    assert (through(data, list(range(10)), 16_000) == from_pcm16(data)).all()


def test_half_a_sample_at_the_end_is_dropped() -> None:
    assert through(b"\x00\x40\x00", [], 16_000).tolist() == [0.5]


def test_full_scale_is_one() -> None:
    assert from_pcm16(b"\x00\x80\xff\x7f").tolist() == [-1.0, 32767 / 32768]
