"""pyannote's segmentation-3.0 on ONNX Runtime: who of up to three speaks in each frame of a ten-second window.

The model scores seven classes, one for each set of at most two of three speakers (the powerset of Plaquet & Bredin,
"Powerset multi-class cross entropy loss for neural speaker diarization", 2023). Which of the three is whom differs from
window to window.
"""

from pathlib import Path

import numpy as np

from molva.engines.files import reading
from molva.engines.onnx import open_session
from molva.errors import InferenceError, ModelFilesInvalid
from molva.samples import Samples
from molva.speech.diarization import LOCAL_SPEAKERS, WINDOW, Activity

POWERSET = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, 1], [0, 1, 1]], np.bool_)
"""Which speakers each class stands for, shape (7, 3)."""


class Segmentation:
    """The model behind the `Segment` protocol. Thread-safe; each call uses the caller's thread only."""

    def __init__(self, path: Path) -> None:
        """Raises ModelFilesInvalid where the file is not this model."""
        self._session = open_session(path)
        what = "it is no segmentation model for three speakers, two at once"
        with reading(path, what):
            [source] = self._session.get_inputs()
            self._input = source.name
            # The declared shapes may say anything.
            scores = self._session.run(None, {self._input: np.zeros((1, 1, WINDOW), np.float32)})[0]
        if scores.ndim != 3 or scores.shape[::2] != (1, len(POWERSET)) or not 0 < scores.shape[1] < WINDOW:
            raise ModelFilesInvalid(path.name, what)
        if scores.dtype != np.float32 or not np.isfinite(scores).all():
            raise ModelFilesInvalid(path.name, "gives values that are no numbers")

    def __call__(self, window: Samples) -> Activity:
        """Activity of a window of `WINDOW` samples, shape (n_frames, LOCAL_SPEAKERS). Raises InferenceError."""
        assert window.size == WINDOW  # noqa: S101 - the model knows no other
        try:
            scores = self._session.run(None, {self._input: window[np.newaxis, np.newaxis]})[0]
        except Exception as error:  # onnxruntime's exceptions share no base of their own
            raise InferenceError("The segmentation of speakers failed.") from error
        activity: Activity = POWERSET[scores[0].argmax(axis=-1)]
        assert activity.shape[1] == LOCAL_SPEAKERS  # noqa: S101
        return activity
