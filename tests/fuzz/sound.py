"""Bytes that are said to be audio."""

import tempfile
from contextlib import suppress
from pathlib import Path

import numpy as np

from molva.audio.decode import AudioReader
from molva.audio.g711 import alaw_to_pcm16, ulaw_to_pcm16
from molva.audio.pcm import PcmStream
from molva.engines.speakers.embedding import SpeakerEmbedding
from molva.engines.speakers.segmentation import Segmentation
from molva.errors import AudioError, OptionError
from molva.http.openai.known_speakers import known_voices
from molva.models.catalog import SPEAKERS
from molva.runtime.speakers import SpeakerModels
from molva.samples import Channels, Samples
from tests.speaker_models import write_speaker_models

ENCODINGS = (bytes, ulaw_to_pcm16, alaw_to_pcm16)
RATES = (8_000, 16_000, 24_000, 44_100, 48_000, 999, 1_000, 192_000)
MAX_DURATION_S = 60.0


def pcm(data: bytes) -> None:
    """A byte for encoding and rate, a byte for the size of messages, then audio."""
    if len(data) < 2:
        return
    to_pcm16, rate, size = ENCODINGS[data[0] // len(RATES) % 3], RATES[data[0] % len(RATES)], data[1] + 1
    try:
        stream = PcmStream(rate)
    except AudioError:
        assert rate < 1_000
        return
    for start in range(2, len(data), size):
        _check(stream.feed(to_pcm16(data[start : start + size])))
    _check(stream.flush())


def decode(data: bytes) -> None:
    """A byte for what is wanted, then a file."""
    channels: Channels = "split" if data[:1] == b"s" else "mix"
    try:
        with AudioReader(data[1:], max_duration_s=MAX_DURATION_S) as reader:
            for block in reader.blocks(channels):
                for side in block:
                    _check(side)
            assert reader.duration <= MAX_DURATION_S + 1
    except AudioError:
        pass


def known_speakers(data: bytes) -> None:
    """What a form has in the place of a data URL: text in UTF-8."""
    with suppress(OptionError):
        known_voices({"Anna": data.decode("utf-8", "replace")}, MODELS)


def _check(samples: Samples) -> None:
    assert samples.dtype == np.float32
    assert samples.ndim == 1
    assert not samples.size or (np.isfinite(samples).all() and np.abs(samples).max() <= 1)


def _models() -> SpeakerModels:
    with tempfile.TemporaryDirectory() as folder:
        write_speaker_models(Path(folder))
        segmentation, embedding = (Path(folder) / file.name for file in SPEAKERS.files)
        return SpeakerModels(Segmentation(segmentation), SpeakerEmbedding(embedding))


MODELS = _models()
