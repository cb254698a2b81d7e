"""Samples -> speech probability of each 32 ms frame, as a stream. The model is handed in."""

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from molva.samples import SAMPLE_RATE, Samples

FRAME = 512
"""Samples of one frame."""

CONTEXT = 64
"""Samples before the frame that the model sees with it."""

FRAMES_PER_SECOND = SAMPLE_RATE / FRAME

Probabilities = NDArray[np.float32]
"""Speech probability of each frame, shape (n_frames,), 0..1."""


class VadState(NamedTuple):
    """What the model remembers between calls."""

    hidden: NDArray[np.float32]
    cell: NDArray[np.float32]


class VadModel(Protocol):
    """A voice-activity model over consecutive frames. Thread-safe; the state is the caller's."""

    def initial(self) -> VadState: ...

    def __call__(self, frames: NDArray[np.float32], state: VadState) -> tuple[Probabilities, VadState]:
        """Score frames of shape (n_frames, CONTEXT + FRAME) that follow on those scored into `state`."""
        ...


class VadStream:
    """Scores one stream of audio, fed in blocks of any size."""

    def __init__(self, model: VadModel) -> None:
        self._model = model
        self._state = model.initial()
        self._unscored: Samples = np.zeros(CONTEXT, np.float32)

    def feed(self, samples: Samples) -> Probabilities:
        """Probabilities of the frames that `samples` completes."""
        self._unscored = np.concatenate([self._unscored, samples])
        n_frames = (self._unscored.size - CONTEXT) // FRAME
        if n_frames == 0:
            return np.zeros(0, np.float32)
        if n_frames == 1:  # a live stream's usual step, for which making the general view costs more than scoring
            frames = self._unscored[np.newaxis, : CONTEXT + FRAME]
        else:
            frames = np.lib.stride_tricks.sliding_window_view(self._unscored, CONTEXT + FRAME)[::FRAME][:n_frames]
        probabilities, self._state = self._model(np.ascontiguousarray(frames), self._state)
        self._unscored = self._unscored[n_frames * FRAME :].copy()
        return probabilities

    def flush(self) -> Probabilities:
        """The probability of the last, incomplete frame, filled up with silence; nothing where there is none."""
        missing = FRAME + CONTEXT - self._unscored.size
        return self.feed(np.zeros(missing, np.float32)) if missing < FRAME else np.zeros(0, np.float32)
