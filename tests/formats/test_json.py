"""The native body, key by key."""

import json

from hypothesis import given

from molva.formats.json import word_object, write_json
from molva.transcript import Coverage, Segment, Transcript, Word
from tests.formats.transcripts import EMPTY, TALKED_OVER, segment, transcript, transcripts


def test_exactly() -> None:
    greeting = Segment(
        0.5, 1.0, "Привет, мир.", (Word("Привет,", 0.5, 0.8, 0.97), Word("мир.", 0.84006, 0.9996, 0.123456, 2))
    )
    cut_short = Transcript((greeting,), 2.50004, "ru", Coverage(1.25, 1.0), declared_duration=7.2)
    assert write_json(cut_short) == (
        '{"text":"Привет, мир.","words":[{"word":"Привет,","start":0.5,"end":0.8,"confidence":0.97},'
        '{"word":"мир.","start":0.84,"end":1.0,"confidence":0.1235,"speaker":2}],"duration":2.5,"language":"ru",'
        '"coverage":{"speech":1.25,"transcribed":1.0},"declared_duration":7.2}'
    )


def test_nothing_said() -> None:
    assert json.loads(write_json(EMPTY)) == {
        "text": "",
        "words": [],
        "duration": 0.0,
        "language": "ru",
        "coverage": {"speech": 0.0, "transcribed": 0.0},
    }


def test_a_speaker_is_told_only_where_known() -> None:
    assert "speaker" not in word_object(Word("да", 0, 1, 1.0))
    assert word_object(Word("да", 0, 1, 1.0, speaker=0))["speaker"] == 0


def test_words_of_several_channels_are_in_the_order_of_time_and_the_text_in_that_of_the_turns() -> None:
    body = json.loads(write_json(TALKED_OVER))
    assert body["channels"] == 2
    assert body["text"] == "Я говорю угу долго"
    assert [(word["word"], word["speaker"]) for word in body["words"]] == [
        ("Я", 0),
        ("говорю", 0),
        ("угу", 1),
        ("долго", 0),
    ]
    together = transcript(segment(("раз", 0, 1, 0), ("два", 2, 3, 0)), segment(("да", 1, 2, 1)), channels=2)
    assert [word["word"] for word in json.loads(write_json(together))["words"]] == ["раз", "да", "два"]


def test_channels_are_told_only_where_they_were_split() -> None:
    assert "channels" not in json.loads(write_json(EMPTY))


def test_segments_are_joined_as_the_language_is_written() -> None:
    two = (segment(("今", 0, 1)), segment(("まで", 1, 2)))
    assert json.loads(write_json(transcript(*two, language="ja")))["text"] == "今まで"
    assert json.loads(write_json(transcript(*two, language="ru")))["text"] == "今 まで"


@given(transcripts())
def test_every_word_is_there_to_the_millisecond(transcript: Transcript) -> None:
    read = json.loads(write_json(transcript))
    assert read["text"] == transcript.text
    assert len(read["words"]) == len(transcript.words)
    for told, word in zip(read["words"], transcript.words, strict=True):
        assert told["word"] == word.text
        assert told.get("speaker") == word.speaker
        assert abs(told["start"] - word.start) <= 0.0005 + 1e-9
        assert abs(told["end"] - word.end) <= 0.0005 + 1e-9
        assert abs(told["confidence"] - word.confidence) <= 0.00005 + 1e-9
