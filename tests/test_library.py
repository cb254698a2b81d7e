"""`molva` as a library."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import molva
from molva import library
from tests.conftest import SEEN

CLIP = SEEN[0]


@pytest.fixture(scope="module")
def transcriber(tiny_dir: Path) -> Iterator[molva.Transcriber]:
    with molva.Transcriber("gigaam-v3-rnnt", model_dir=tiny_dir, precision="fp32") as transcriber:
        yield transcriber


def test_any_kind_of_source_gives_the_same(transcriber: molva.Transcriber) -> None:
    with CLIP.path.open("rb") as file:
        sources: list[library.Recording] = [
            CLIP.path,
            str(CLIP.path),
            CLIP.path.read_bytes(),
            file,
            CLIP.samples,
            CLIP.samples.astype("float64"),
        ]
        assert [transcriber.transcribe(source).text for source in sources] == [CLIP.rnnt] * len(sources)


def test_a_transcript_has_typed_parts(transcriber: molva.Transcriber) -> None:
    transcript = transcriber.transcribe(CLIP.path)
    assert isinstance(transcript, molva.Transcript)
    assert [word.text for word in transcript.words] == CLIP.rnnt.split()
    assert transcript.segments[0].words == transcript.words
    assert transcript.language == "ru"
    assert transcriber.reason == "asked for by name; it was already here"


def test_channels_that_are_split_are_speakers(transcriber: molva.Transcriber) -> None:
    both = np.stack([CLIP.samples, CLIP.samples])
    transcript = transcriber.transcribe(both, channels="split")
    assert transcript.channels == 2
    assert [segment.text for segment in transcript.segments] == [CLIP.rnnt, CLIP.rnnt]
    assert [segment.words[0].speaker for segment in transcript.segments] == [0, 1]
    with pytest.raises(molva.MolvaError) as caught:
        transcriber.transcribe(both, channels="split", speakers=molva.SpeakerCount())
    assert caught.value.code == "invalid_option"


def test_one_call_is_enough_and_the_model_stays(tiny_dir: Path) -> None:
    for _ in range(2):
        assert molva.transcribe(CLIP.path, "gigaam-v3-ctc", model_dir=tiny_dir).text == CLIP.ctc
    assert library._loaded.cache_info().hits >= 1


def test_every_error_is_a_molva_error(transcriber: molva.Transcriber) -> None:
    for source, options in [
        (b"", {}),
        (b"junk", {}),
        (CLIP.path, {"language": "xx"}),
        (CLIP.path, {"task": "translate"}),
    ]:
        with pytest.raises(molva.MolvaError):
            transcriber.transcribe(source, **options)  # type: ignore[arg-type]


def test_a_missing_file_is_the_systems_own_error(transcriber: molva.Transcriber, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        transcriber.transcribe(tmp_path / "missing.wav")
