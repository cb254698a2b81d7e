"""Number formats of the encoder's weights, and which of them a processor multiplies right and fast.

Weights are symmetric, one scale for each output channel; activations become u8 on the fly.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Format = Literal["fp32", "fp16", "s8", "s7", "u8"]
"""`s8`: 8 bits, for processors that add products in 32 bits. `s7`: 7 bits, right everywhere: x86 without VNNI adds
pairs of u8*s8 products in 16 bits, which saturate with 8 (centred cosine to FP32 0.64). `u8`: 8 bits, right everywhere,
and half as fast with VNNI. `fp16`: for GPUs, with arithmetic in FP16 too."""


@dataclass(frozen=True)
class Quantized:
    """value = (weight - zero_point) * scale."""

    weight: NDArray[np.int8] | NDArray[np.uint8]
    """Shape (n_in, n_out)."""
    scale: NDArray[np.float32]
    """Shape (n_out,)."""
    zero_point: NDArray[np.int8] | NDArray[np.uint8]
    """One number."""


def quantize(weight: NDArray[np.float32], form: Literal["s8", "s7", "u8"]) -> Quantized:
    """Round a matrix of shape (n_in, n_out) to the nearest values of a format."""
    largest = 63 if form == "s7" else 127
    scale = np.abs(weight).max(axis=0) / np.float32(largest)
    scale[scale == 0] = 1
    rounded = np.rint(weight / scale)
    if form == "u8":
        return Quantized((rounded + 128).astype(np.uint8), scale, np.array(128, np.uint8))
    return Quantized(rounded.astype(np.int8), scale, np.array(0, np.int8))
