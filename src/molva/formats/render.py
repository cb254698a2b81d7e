"""Every format by its name."""

from collections.abc import Callable
from dataclasses import dataclass

from molva.errors import InvalidFormat
from molva.formats.cues import Layout
from molva.formats.json import to_json
from molva.formats.markdown import to_markdown
from molva.formats.subtitles import to_srt, to_tsv, to_vtt
from molva.transcript import Transcript

__all__ = ["FORMATS", "Format", "Layout", "parse_format", "render"]


@dataclass(frozen=True, slots=True)
class Format:
    """One way to write a transcript down."""

    name: str
    media_type: str
    extension: str
    write: Callable[[Transcript, Layout], str]


FORMATS = {
    "json": Format("json", "application/json", "json", lambda transcript, _: to_json(transcript)),
    "text": Format("text", "text/plain; charset=utf-8", "txt", lambda transcript, _: transcript.text),
    "srt": Format("srt", "application/x-subrip; charset=utf-8", "srt", to_srt),
    "vtt": Format("vtt", "text/vtt; charset=utf-8", "vtt", to_vtt),
    "md": Format("md", "text/markdown; charset=utf-8", "md", to_markdown),
    "tsv": Format("tsv", "text/tab-separated-values; charset=utf-8", "tsv", to_tsv),
}
ALIASES = {"txt": "text", "markdown": "md"}


def parse_format(name: str) -> Format:
    """The format called `name` in any letter case. Raises InvalidFormat, which lists what is known."""
    lowered = name.lower()
    found = FORMATS.get(ALIASES.get(lowered, lowered))
    if found is None:
        raise InvalidFormat(name, [*FORMATS, *ALIASES])
    return found


def render(transcript: Transcript, chosen: Format, layout: Layout) -> str:
    """The transcript in a format."""
    return chosen.write(transcript, layout)
