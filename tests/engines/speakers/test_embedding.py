"""Stretches of speech -> a vector of length 1."""

from pathlib import Path

import numpy as np
import pytest

from molva.engines.speakers.embedding import SpeakerEmbedding
from molva.errors import ModelFilesInvalid
from tests.speaker_models import voice


@pytest.fixture(scope="module")
def embed(speaker_dir: Path) -> SpeakerEmbedding:
    return SpeakerEmbedding(speaker_dir / "wespeaker_resnet34.onnx")


def test_it_has_length_1(embed: SpeakerEmbedding) -> None:
    vector = embed([voice(200, 2)])
    assert vector is not None
    assert np.linalg.norm(vector) == pytest.approx(1)
    assert vector.dtype == np.float32


def test_one_voice_is_nearer_to_itself_than_to_another(embed: SpeakerEmbedding) -> None:
    one, again, other = embed([voice(200, 2)]), embed([voice(200, 3)]), embed([voice(2000, 2)])
    assert one is not None
    assert again is not None
    assert other is not None
    assert one @ again > 0.9
    assert one @ other < 0.5


def test_pieces_are_one_voice(embed: SpeakerEmbedding) -> None:
    whole, pieces = embed([voice(300, 2)]), embed([voice(300, 1), voice(300, 1)])
    assert whole is not None
    assert pieces is not None
    assert whole @ pieces > 0.95


def test_the_same_speech_gives_the_same_vector(embed: SpeakerEmbedding) -> None:
    one, again = embed([voice(200, 2)]), embed([voice(200, 2)])
    assert one is not None
    assert again is not None
    assert np.array_equal(one, again)


@pytest.mark.parametrize("lengths", [[], [0.02], [0.02] * 50, [0.1]])
def test_too_little_speech_has_none(embed: SpeakerEmbedding, lengths: list[float]) -> None:
    assert embed([voice(200, length) for length in lengths]) is None


def test_another_model_is_refused(speaker_dir: Path) -> None:
    with pytest.raises(ModelFilesInvalid, match="80 mel bands"):
        SpeakerEmbedding(speaker_dir / "segmentation-3.0.onnx")
