"""Plain text, with and without speakers."""

from molva.formats.text import write_text
from molva.transcript import Coverage, Segment, Transcript, Word


def transcript(*segments: tuple[tuple[str, int | None], ...], language: str = "en") -> Transcript:
    told = []
    for words in segments:
        spoken = tuple(Word(text, 0.0, 0.1, 1.0, speaker) for text, speaker in words)
        told.append(Segment(0.0, 0.1, " ".join(text for text, _ in words), spoken))
    return Transcript(tuple(told), 1.0, language, Coverage(0, 0))


def test_without_speakers_it_is_the_text() -> None:
    plain = transcript((("Good", None), ("morning.", None)), (("Hello.", None),))
    assert write_text(plain) == plain.text == "Good morning. Hello."


def test_a_turn_is_a_line_whatever_its_segments() -> None:
    talk = transcript((("How", 0), ("are", 0), ("Fine", 1)), (("thanks.", 1),), (("Good.", 0),))
    assert write_text(talk) == "[SPEAKER_0] How are\n[SPEAKER_1] Fine thanks.\n[SPEAKER_0] Good."


def test_words_of_nobody_have_no_mark() -> None:
    assert write_text(transcript((("Yes.", 0), ("Hm", None)))) == "[SPEAKER_0] Yes.\nHm"


def test_a_segment_without_words_is_told_as_it_is() -> None:
    talk = transcript((("Yes.", 0),))
    wordless = Segment(1.0, 2.0, "no  words", ())
    assert write_text(Transcript((*talk.segments, wordless), 2.0, "en", Coverage(0, 0))) == "[SPEAKER_0] Yes.\nno words"


def test_languages_without_spaces_have_none() -> None:
    assert write_text(transcript((("你", 0), ("好", 0)), (("吗", 0),), language="zh")) == "[SPEAKER_0] 你好吗"


def test_an_empty_transcript_is_empty() -> None:
    assert write_text(transcript()) == ""
