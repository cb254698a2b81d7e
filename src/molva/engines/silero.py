"""Silero VAD on ONNX Runtime. Source: the `16k_sequence` graph of silero-vad 6.2 (see assets/NOTICE.md)."""

from functools import cache
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from molva import assets
from molva.engines.onnx import open_session
from molva.errors import InferenceError
from molva.speech.vad import Probabilities, VadState


class SileroVad:
    """The shipped model behind the `VadModel` protocol."""

    def __init__(self) -> None:
        with resources.as_file(resources.files(assets) / "silero_vad.onnx") as path:
            self._session = open_session(path)

    def initial(self) -> VadState:
        return VadState(hidden=np.zeros((1, 1, 128), np.float32), cell=np.zeros((1, 1, 128), np.float32))

    def __call__(self, frames: NDArray[np.float32], state: VadState) -> tuple[Probabilities, VadState]:
        try:
            probabilities, hidden, cell = self._session.run(None, {"input": frames, "h": state.hidden, "c": state.cell})
        except Exception as error:  # onnxruntime's exceptions share no base of their own
            raise InferenceError from error
        return probabilities, VadState(hidden, cell)


@cache
def load_vad() -> SileroVad:
    """The one model of this process; it holds no state of its own."""
    return SileroVad()
