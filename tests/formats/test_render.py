"""The names of formats, and the way from a name to text."""

import pytest

from molva.errors import InvalidFormat
from molva.formats.cues import build_cues
from molva.formats.json import write_json
from molva.formats.markdown import write_markdown
from molva.formats.render import FORMATS, Layout, parse_format, render
from molva.formats.subtitles import write_srt, write_tsv, write_vtt
from molva.formats.text import write_text
from tests.formats.transcripts import DIALOGUE


@pytest.mark.parametrize(
    ("name", "media_type", "extension"),
    [
        ("json", "application/json", "json"),
        ("text", "text/plain; charset=utf-8", "txt"),
        ("srt", "application/x-subrip; charset=utf-8", "srt"),
        ("vtt", "text/vtt; charset=utf-8", "vtt"),
        ("md", "text/markdown; charset=utf-8", "md"),
        ("tsv", "text/tab-separated-values; charset=utf-8", "tsv"),
    ],
)
def test_each_format_has_its_media_type_and_extension(name: str, media_type: str, extension: str) -> None:
    chosen = parse_format(name)
    assert (chosen.name, chosen.media_type, chosen.extension) == (name, media_type, extension)


def test_aliases_and_letter_case() -> None:
    assert parse_format("TXT") is parse_format("Text")
    assert parse_format("Markdown") is parse_format("MD")
    assert set(FORMATS) == {"json", "text", "txt", "srt", "vtt", "md", "markdown", "tsv"}


@pytest.mark.parametrize("name", ["", "docx", "json "])
def test_an_unknown_format_is_refused_with_what_is_known(name: str) -> None:
    with pytest.raises(InvalidFormat, match="json, text, txt, srt, vtt, md, markdown, tsv") as caught:
        parse_format(name)
    assert caught.value.option == "format"


def test_the_layout_reaches_the_format_it_concerns() -> None:
    narrow = Layout(max_chars_per_line=20, max_words_per_line=2, word_timestamps=True)
    cues = build_cues(DIALOGUE, 20, 2)
    assert cues != build_cues(DIALOGUE)
    assert {name: render(DIALOGUE, fmt, narrow) for name, fmt in FORMATS.items() if name == fmt.name} == {
        "json": write_json(DIALOGUE),
        "text": write_text(DIALOGUE),
        "srt": write_srt(cues),
        "vtt": write_vtt(cues),
        "tsv": write_tsv(cues),
        "md": write_markdown(DIALOGUE, word_table=True),
    }


def test_the_default_layout_is_the_contracts() -> None:
    assert Layout() == Layout(max_chars_per_line=80, max_words_per_line=14, word_timestamps=False)
