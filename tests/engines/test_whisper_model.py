"""faster-whisper's model where it fails by itself."""

from pathlib import Path
from typing import Any

import pytest
from faster_whisper import WhisperModel

from molva.engines.whisper_model import MendedWhisperModel
from molva.runtime.loading import sample_speech
from molva.samples import SAMPLE_RATE


def texts(kind: type[WhisperModel], folder: Path, duration_s: float) -> list[str]:
    """What it hears at once, however improbable."""
    model = kind(str(folder), device="cpu", compute_type="int8", local_files_only=True)
    samples = sample_speech()[SAMPLE_RATE : SAMPLE_RATE + round(duration_s * SAMPLE_RATE)]
    settings: dict[str, Any] = {"temperature": 0.0, "no_speech_threshold": None, "word_timestamps": True}
    return [segment.text for segment in model.transcribe(samples, language="ru", **settings)[0]]


def test_ten_milliseconds_are_no_text(whisper_base_dir: Path) -> None:
    assert texts(MendedWhisperModel, whisper_base_dir, 0.01) == []


def test_faster_whisper_itself_fails_there(whisper_base_dir: Path) -> None:
    """Once it does not, the mending can go."""
    with pytest.raises(IndexError):
        texts(WhisperModel, whisper_base_dir, 0.01)


def test_whatever_is_longer_is_heard_as_by_faster_whisper(whisper_base_dir: Path) -> None:
    heard = texts(MendedWhisperModel, whisper_base_dir, 2.0)
    assert heard
    assert heard == texts(WhisperModel, whisper_base_dir, 2.0)
