"""The Markdown document."""

from hypothesis import given

from molva.formats.markdown import write_markdown
from molva.transcript import Segment, Transcript
from tests.formats.transcripts import DIALOGUE, EMPTY, segment, transcript, transcripts


def test_a_dialogue_exactly() -> None:
    assert write_markdown(DIALOGUE) == (
        "---\nduration: 3730.25\nlanguage: ru\nspeakers: 2\n---\n\n# Transcript\n\n"
        "**SPEAKER_0:** Привет, как дела?\n\n**SPEAKER_1:** Хорошо.\n\n**SPEAKER_1:** А R&D <a|b>?\n"
    )


def test_the_table_of_words_exactly() -> None:
    talk = transcript(segment(("раз", 0.5, 0.75), ("a|b\\", 1.0, 1.0)), duration=2.0)
    assert write_markdown(talk, word_table=True) == (
        "---\nduration: 2.0\nlanguage: ru\nspeakers: 0\n---\n\n# Transcript\n\nраз a|b\\\n\n# Word timings\n\n"
        "| Word | Start | End | Confidence | Speaker |\n"
        "|---|---|---|---|---|\n"
        "| раз | 0.500s | 0.750s | 0.900 | - |\n"
        "| a\\|b\\\\ | 1.000s | 1.000s | 0.900 | - |\n"
    )


def test_nothing_said() -> None:
    nothing = "---\nduration: 0.0\nlanguage: ru\nspeakers: 0\n---\n\n# Transcript\n"
    assert write_markdown(EMPTY) == nothing
    assert write_markdown(EMPTY, word_table=True) == nothing


def test_a_paragraph_for_each_segment() -> None:
    talk = transcript(segment(("Раз.", 0, 1)), Segment(1, 2, "Без\nслов.", ()), segment(("Три.", 2, 3)))
    assert write_markdown(talk).endswith("# Transcript\n\nРаз.\n\nБез слов.\n\nТри.\n")


def test_words_of_nobody_between_speakers_have_no_label() -> None:
    talk = transcript(segment(("раз", 0, 1, 0), ("два", 1, 2), ("три", 2, 3, 1)))
    assert write_markdown(talk).endswith("**SPEAKER_0:** раз\n\nдва\n\n**SPEAKER_1:** три\n")


def test_norwegian_is_not_false() -> None:
    assert '\nlanguage: "no"\n' in write_markdown(transcript(language="no"))


@given(transcripts())
def test_every_row_of_the_table_has_five_cells(transcript: Transcript) -> None:
    _, _, table = write_markdown(transcript, word_table=True).rpartition("# Word timings\n\n")
    rows = table.split("\n")[:-1] if transcript.words else []
    assert len(rows) == (len(transcript.words) + 2 if transcript.words else 0)
    for row in rows:
        assert row.replace("\\\\", "").replace("\\|", "").count("|") == 6
