"""WeSpeaker's ResNet34 on ONNX Runtime: a voice as a vector. The cosine of two tells whether they are one voice."""

from collections.abc import Sequence
from pathlib import Path

import kaldi_native_fbank
import numpy as np
from numpy.typing import NDArray

from molva.engines.files import reading
from molva.engines.onnx import open_session
from molva.errors import InferenceError, ModelFilesInvalid
from molva.samples import SAMPLE_RATE, Samples
from molva.speech.clustering import Embedding

MEL_BANDS = 80
FRAME = 400
"""Samples under one frame of features; a shorter piece has none."""
MIN_FRAMES = 10
"""Fewer frames do not get through the network's strides with anything left to pool."""
FULL_SCALE = np.float32(32768)
"""The model was trained on features of 16-bit values."""


class SpeakerEmbedding:
    """The model behind the `Embed` protocol. Thread-safe; each call uses the caller's thread only."""

    def __init__(self, path: Path) -> None:
        """Raises ModelFilesInvalid where the file is not such a model."""
        self._session = open_session(path)
        what = f"it is no model from {MEL_BANDS} mel bands to an embedding"
        with reading(path, what):
            [source] = self._session.get_inputs()
            self._input = source.name
            # The declared shapes may say anything.
            vector = self._session.run(None, {self._input: np.zeros((1, 2 * MIN_FRAMES, MEL_BANDS), np.float32)})[0]
        if vector.ndim != 2 or len(vector) != 1 or vector.dtype != np.float32 or not np.isfinite(vector).all():
            raise ModelFilesInvalid(path.name, what)
        self._options = kaldi_native_fbank.FbankOptions()
        self._options.frame_opts.samp_freq = SAMPLE_RATE
        self._options.frame_opts.dither = 0.0  # the same speech gives the same vector
        self._options.frame_opts.window_type = "hamming"
        self._options.mel_opts.num_bins = MEL_BANDS

    def __call__(self, pieces: Sequence[Samples]) -> Embedding | None:
        """The voice that speaks in `pieces`, of length 1; None where they are too short, 0.1 s and less.

        Nobody else should speak in them. From about a second on the vector is reliable. Raises InferenceError.
        """
        features = [self._features(piece) for piece in pieces if piece.size >= FRAME]
        if sum(len(piece) for piece in features) < MIN_FRAMES:
            return None
        joined = np.concatenate(features)
        joined -= joined.mean(axis=0)  # takes the microphone and the room out
        try:
            vector = self._session.run(None, {self._input: joined[np.newaxis]})[0][0]
        except Exception as error:  # onnxruntime's exceptions share no base of their own
            raise InferenceError("The embedding of a voice failed.") from error
        length = float(np.linalg.norm(vector))
        if not np.isfinite(length) or length == 0:
            return None
        return np.asarray(vector / length, np.float32)

    def _features(self, piece: Samples) -> NDArray[np.float32]:
        """Kaldi's log mel filterbank, shape (n_frames, MEL_BANDS)."""
        bank = kaldi_native_fbank.OnlineFbank(self._options)
        bank.accept_waveform(SAMPLE_RATE, piece * FULL_SCALE)
        bank.input_finished()
        return np.stack([bank.get_frame(i) for i in range(bank.num_frames_ready)])
