"""Log-mel features as GigaAM was trained on them.

Source: `gigaam/preprocess.py` of the published model (torchaudio MelSpectrogram, HTK mels, no norm, power 2) and
the constants that its ONNX exports were checked with.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from molva.samples import SAMPLE_RATE, Samples

Features = NDArray[np.float32]
"""Log-mel features, shape (n_mels, n_frames)."""

HOP = 160
"""Samples between two frames: 10 ms."""

FRAMES_PER_BLOCK = 128
"""Frames whose spectrum is computed at once. What 128 need stays in the cache of a core: 0.15 ms for a second of audio,
against 0.35 for all frames of a window together."""

POWER_FLOOR, POWER_CEILING = 1e-9, 1e9


@dataclass(frozen=True)
class FeatureSpec:
    """How one generation of the model wants its features."""

    n_fft: int
    """Window and FFT length in samples."""
    center: bool
    """Whether half a window is mirrored on to both ends, so that frame i is centred on sample i * HOP."""
    rounded: bool
    """Whether window and filterbank are rounded to bfloat16.

    The v3 checkpoint stores them so. In quiet high bands this moves the log-mel by up to 8, and texts by a letter.
    """
    n_mels: int = 64

    def frames(self, n_samples: int) -> int:
        """Number of frames for `n_samples` of audio."""
        if self.center:
            return n_samples // HOP + 1 if n_samples > self.n_fft // 2 else 0
        return max((n_samples - self.n_fft) // HOP + 1, 0)

    @cached_property
    def window(self) -> NDArray[np.float32]:
        """Periodic Hann, shape (n_fft,)."""
        hann = np.hanning(self.n_fft + 1)[:-1].astype(np.float32)
        return to_bfloat16(hann) if self.rounded else hann

    @cached_property
    def filterbank(self) -> NDArray[np.float32]:
        """Triangular HTK mel filters over 0..8000 Hz, shape (n_fft // 2 + 1, n_mels)."""
        nyquist = SAMPLE_RATE / 2
        frequencies = np.linspace(0, nyquist, self.n_fft // 2 + 1)[:, None]
        corners = mel_to_hz(np.linspace(0, hz_to_mel(nyquist), self.n_mels + 2))
        lower, middle, upper = corners[:-2], corners[1:-1], corners[2:]
        rising = (frequencies - lower) / (middle - lower)
        falling = (upper - frequencies) / (upper - middle)
        triangles = np.maximum(0, np.minimum(rising, falling)).astype(np.float32)
        return to_bfloat16(triangles) if self.rounded else triangles


SPECS: dict[Literal["v2", "v3"], FeatureSpec] = {
    "v2": FeatureSpec(n_fft=400, center=True, rounded=False),
    "v3": FeatureSpec(n_fft=320, center=False, rounded=True),
}


def log_mel(samples: Samples, spec: FeatureSpec) -> Features:
    """Features of one window of audio; shape (n_mels, 0) where it is shorter than one frame."""
    n_frames = spec.frames(samples.size)
    if n_frames == 0:
        return np.zeros((spec.n_mels, 0), np.float32)
    if spec.center:
        samples = np.pad(samples, spec.n_fft // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(samples, spec.n_fft)[::HOP]
    # In float32 the FFT's own noise reaches quiet bands beside loud ones and moves their log by up to 0.005.
    window = spec.window.astype(np.float64)
    mel = np.empty((n_frames, spec.n_mels), np.float32)
    for start in range(0, n_frames, FRAMES_PER_BLOCK):
        block = slice(start, start + FRAMES_PER_BLOCK)
        spectrum = np.fft.rfft(frames[block] * window, axis=1)
        power = np.square(spectrum.real)
        power += np.square(spectrum.imag)
        np.matmul(power.astype(np.float32), spec.filterbank, out=mel[block])
    np.clip(mel, POWER_FLOOR, POWER_CEILING, out=mel)
    return np.ascontiguousarray(np.log(mel, out=mel).T)


def hz_to_mel(hz: float) -> float:
    """HTK mel scale."""
    return float(2595.0 * np.log10(1.0 + hz / 700.0))


def mel_to_hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    """Inverse of `hz_to_mel`."""
    return np.asarray(700.0 * (10.0 ** (mel / 2595.0) - 1.0))


def to_bfloat16(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Round to the nearest bfloat16, ties to even, and keep as float32."""
    bits = values.view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)
    return rounded.astype(np.uint32).view(np.float32)
