"""G.711 against FFmpeg's own decoders, code by code."""

from collections.abc import Callable

import av
import numpy as np
import pytest

from molva.audio.g711 import alaw_to_pcm16, ulaw_to_pcm16

CODES = bytes(range(256))


def by_ffmpeg(codec: str, data: bytes) -> bytes:
    decoder = av.CodecContext.create(codec, "r")
    decoder.sample_rate, decoder.layout = 8000, "mono"  # type: ignore[attr-defined]
    frames = decoder.decode(av.Packet(data))  # type: ignore[attr-defined]
    return b"".join(frame.to_ndarray().astype("<i2").tobytes() for frame in frames)


@pytest.mark.parametrize(("codec", "decode"), [("pcm_mulaw", ulaw_to_pcm16), ("pcm_alaw", alaw_to_pcm16)])
def test_every_code_is_the_sample_that_ffmpeg_makes_of_it(codec: str, decode: Callable[[bytes], bytes]) -> None:
    assert decode(CODES) == by_ffmpeg(codec, CODES)


def test_silence_is_silence() -> None:
    assert np.frombuffer(ulaw_to_pcm16(b"\xff\x7f"), "<i2").tolist() == [0, 0]
    assert np.abs(np.frombuffer(alaw_to_pcm16(b"\xd5\x55"), "<i2")).tolist() == [8, 8]


@pytest.mark.parametrize("decode", [ulaw_to_pcm16, alaw_to_pcm16])
def test_nothing_is_nothing(decode: Callable[[bytes], bytes]) -> None:
    assert decode(b"") == b""
