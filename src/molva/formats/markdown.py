"""A Markdown document: YAML front matter, a paragraph for each segment, a table of words if asked for."""

from collections.abc import Iterator
from itertools import groupby

from molva.formats.cues import one_line, speaker_name
from molva.transcript import Segment, Transcript, Word, word_separator


def write_markdown(transcript: Transcript, *, word_table: bool = False) -> str:
    """`speakers` in the front matter counts them; 0 where nobody looked."""
    speakers = {word.speaker for word in transcript.words} - {None}
    # YAML 1.1 reads a bare `no` as false; it is Norwegian.
    language = '"no"' if transcript.language == "no" else transcript.language
    front_matter = (
        f"---\nduration: {round(transcript.duration, 3)}\nlanguage: {language}\nspeakers: {len(speakers)}\n---"
    )
    separator = word_separator(transcript.language)
    blocks = [front_matter, "# Transcript"]
    for segment in transcript.segments:
        blocks += filter(None, _paragraphs(segment, separator))
    if word_table and transcript.words:
        blocks += ["# Word timings", _word_table(transcript.words)]
    return "\n\n".join(blocks) + "\n"


def _paragraphs(segment: Segment, separator: str) -> Iterator[str]:
    """The segment's text, cut at each change of speaker."""
    if all(word.speaker is None for word in segment.words):
        yield one_line(segment.text)
        return
    for speaker, words in groupby(segment.words, key=lambda word: word.speaker):
        text = one_line(separator.join(word.text for word in words))
        yield text if speaker is None else f"**{speaker_name(speaker)}:** {text}"


def _word_table(words: tuple[Word, ...]) -> str:
    rows = [
        f"| {_escape_cell(word.text)} | {word.start:.3f}s | {word.end:.3f}s | {word.confidence:.3f} | "
        f"{'-' if word.speaker is None else speaker_name(word.speaker)} |"
        for word in words
    ]
    return "\n".join(["| Word | Start | End | Confidence | Speaker |", "|---|---|---|---|---|", *rows])


def _escape_cell(text: str) -> str:
    return one_line(text).replace("\\", "\\\\").replace("|", "\\|")
