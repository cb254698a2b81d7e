"""The real models on real voices. `MOLVA_SPEAKER_MODELS=FOLDER make test ARGS="-m speakers"`."""

import json
from pathlib import Path

import pytest
from bench.diarization import read_turns
from bench.diarization_error import diarization_error
from bench.live_speakers import LEARNING_S, MIN_RIGHT, right_words

from molva.audio.array import open_audio
from molva.engines.fake import FakeEngine
from molva.models.store import ModelStore
from molva.runtime.speakers import Speakers
from molva.speech.clustering import SpeakerCount
from molva.speech.diarization import Diarizer
from molva.transcript import Turn, Word
from tests.conftest import DATA, read_flac
from tests.http.conftest import serving
from tests.http.wsclient import in_session, of_type

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


def test_four_voices_are_told_apart_live(real_speaker_dir: Path) -> None:
    """Faster than real time: finals wait for their speakers then, so that nothing depends on the machine."""
    folder = DATA / "four_voices"
    speakers = Speakers(ModelStore(real_speaker_dir))
    speakers.load()
    with serving(FakeEngine(), speakers=speakers) as server, in_session(server, diarization=True) as client:
        client.say(read_flac(folder / "conversation.flac"))
        finals = of_type("final", client.stop())
    words = [
        Word(word["word"], word["start"], word["end"], word["confidence"], word.get("speaker"))
        for final in finals
        for word in final["words"]
    ]
    right = right_words(words, read_turns(folder / "turns.json"))
    judged = [good for good, word in zip(right, words, strict=True) if word.start >= LEARNING_S]
    assert judged
    assert sum(judged) / len(judged) >= MIN_RIGHT
