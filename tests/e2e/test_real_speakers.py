"""The real models on real voices. `MOLVA_SPEAKER_MODELS=FOLDER make test ARGS="-m speakers"`."""

import json
from pathlib import Path

import pytest
from bench.diarization_error import diarization_error

from molva.audio.array import open_audio
from molva.models.store import ModelStore
from molva.runtime.speakers import Speakers
from molva.speech.clustering import SpeakerCount
from molva.speech.diarization import Diarizer
from molva.transcript import Turn
from tests.conftest import DATA

pytestmark = pytest.mark.speakers


def diarize(path: Path, models: Path, count: SpeakerCount) -> tuple[Turn, ...]:
    segment, embed = Speakers(ModelStore(models)).load()
    diarizer = Diarizer(segment, embed)
    with open_audio(path) as reader:
        for block in reader:
            diarizer.feed(block)
    return diarizer.finish(count)


@pytest.mark.parametrize("count", [SpeakerCount(), SpeakerCount.of(4)], ids=["found out", "told"])
def test_four_voices_have_all_their_turns(real_speaker_dir: Path, count: SpeakerCount) -> None:
    folder = DATA / "four_voices"
    told = json.loads((folder / "turns.json").read_text(encoding="utf-8"))
    names = list(dict.fromkeys(turn["speaker"] for turn in told))
    reference = [Turn(turn["start_s"], turn["end_s"], names.index(turn["speaker"])) for turn in told]
    found = diarize(folder / "conversation.flac", real_speaker_dir, count)
    assert len({turn.speaker for turn in found}) == 4
    assert [turn.speaker for turn in found] == [turn.speaker for turn in reference]
    assert diarization_error(reference, found).rate < 0.1


def test_one_voice_is_one_speaker(real_speaker_dir: Path) -> None:
    found = diarize(DATA / "festvox" / "minute.flac", real_speaker_dir, SpeakerCount())
    assert {turn.speaker for turn in found} == {0}
