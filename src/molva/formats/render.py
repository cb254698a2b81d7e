"""Which formats there are, what they are called, and the one way into them."""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from molva.errors import InvalidFormat
from molva.formats.cues import build_cues
from molva.formats.json import write_json
from molva.formats.markdown import write_markdown
from molva.formats.subtitles import write_srt, write_tsv, write_vtt
from molva.formats.text import write_text
from molva.transcript import Transcript


@dataclass(frozen=True, slots=True)
class Format:
    """One way to write a transcript down."""

    name: Literal["json", "text", "srt", "vtt", "md", "tsv"]
    media_type: str
    extension: str
    """Of a file, without the dot."""
    alias: str | None = None


@dataclass(frozen=True, slots=True)
class Layout:
    """What the caller chose about lines and tables; a format takes what concerns it."""

    max_chars_per_line: int = 80
    """Of a subtitle; 0 sets no limit."""
    max_words_per_line: int = 14
    """Of a subtitle; 0 sets no limit."""
    word_timestamps: bool = False
    """Append a table of words to Markdown."""


_ALL = (
    Format("json", "application/json", "json"),
    Format("text", "text/plain; charset=utf-8", "txt", alias="txt"),
    Format("srt", "application/x-subrip; charset=utf-8", "srt"),
    Format("vtt", "text/vtt; charset=utf-8", "vtt"),
    Format("md", "text/markdown; charset=utf-8", "md", alias="markdown"),
    Format("tsv", "text/tab-separated-values; charset=utf-8", "tsv"),
)

FORMATS = MappingProxyType({name: fmt for fmt in _ALL for name in (fmt.name, fmt.alias) if name is not None})
"""Every format by its name and its alias."""


def parse_format(name: str) -> Format:
    """The format called `name`, in any letter case. Raises InvalidFormat, which lists what is known."""
    known = FORMATS.get(name.lower())
    if known is None:
        raise InvalidFormat(name, list(FORMATS))
    return known


def render(transcript: Transcript, fmt: Format, layout: Layout) -> str:
    """The transcript in the chosen format."""
    limits = layout.max_chars_per_line, layout.max_words_per_line
    match fmt.name:
        case "json":
            return write_json(transcript)
        case "text":
            return write_text(transcript)
        case "srt":
            return write_srt(build_cues(transcript, *limits))
        case "vtt":
            return write_vtt(build_cues(transcript, *limits))
        case "tsv":
            return write_tsv(build_cues(transcript, *limits))
        case "md":
            return write_markdown(transcript, word_table=layout.word_timestamps)
