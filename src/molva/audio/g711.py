"""G.711, the telephone's 8-bit companding, to PCM16.

Source: ITU-T Recommendation G.711 (1988): a byte is a sign, an exponent and a mantissa of four bits.
"""

import numpy as np
from numpy.typing import NDArray

ULAW_BIAS = 0x84
"""Added before a magnitude was encoded, so that every one of them has a leading bit."""


def ulaw_to_pcm16(data: bytes) -> bytes:
    """Bytes of mu-law to signed 16-bit little-endian samples, two bytes for each."""
    return _ULAW[np.frombuffer(data, np.uint8)].tobytes()


def alaw_to_pcm16(data: bytes) -> bytes:
    """The same for A-law."""
    return _ALAW[np.frombuffer(data, np.uint8)].tobytes()


def _ulaw_table() -> NDArray[np.int16]:
    code = ~np.arange(256) & 0xFF  # it is sent inverted
    exponent, mantissa = code >> 4 & 7, code & 0xF
    magnitude = ((mantissa << 3) + ULAW_BIAS << exponent) - ULAW_BIAS
    return np.where(code & 0x80, -magnitude, magnitude).astype("<i2")


def _alaw_table() -> NDArray[np.int16]:
    code = np.arange(256) ^ 0x55  # every other bit is sent inverted
    exponent, mantissa = code >> 4 & 7, code & 0xF
    magnitude = (mantissa << 4) + 8
    magnitude = np.where(exponent > 0, magnitude + 0x100 << np.maximum(exponent - 1, 0), magnitude)
    return np.where(code & 0x80, magnitude, -magnitude).astype("<i2")


_ULAW, _ALAW = _ulaw_table(), _alaw_table()
