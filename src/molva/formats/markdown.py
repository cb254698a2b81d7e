"""Markdown with YAML front matter: a document to read and to edit."""

from itertools import groupby

from molva.formats.cues import Layout, clock, one_line, speaker_mark
from molva.transcript import Segment, Transcript, word_separator


def to_markdown(transcript: Transcript, layout: Layout) -> str:
    """A paragraph a segment, split where the speaker changes; a table of words where the layout asks for it."""
    speakers = {word.speaker for word in transcript.words} - {None}
    head = (
        f"---\nduration: {transcript.duration:.2f}\nlanguage: {transcript.language}\nspeakers: {len(speakers)}\n---\n"
    )
    separator = word_separator(transcript.language)
    paragraphs = [text for segment in transcript.segments for text in _paragraphs(segment, separator)]
    parts = [head, "# Transcript\n", *(f"{paragraph}\n" for paragraph in paragraphs)]
    if layout.word_timestamps:
        parts.append(_table(transcript))
    return "\n".join(parts)


def _paragraphs(segment: Segment, separator: str) -> list[str]:
    if all(word.speaker is None for word in segment.words):
        return [text] if (text := one_line(segment.text)) else []
    return [
        f"**{speaker_mark(speaker).strip()}** {separator.join(word.text for word in words)}"
        for speaker, words in groupby(segment.words, key=lambda word: word.speaker)
    ]


def _table(transcript: Transcript) -> str:
    rows = [
        f"| {one_line(word.text).replace('|', chr(92) + '|')} | {clock(word.start, '.')} | {clock(word.end, '.')} "
        f"| {word.confidence:.2f} |\n"
        for word in transcript.words
    ]
    return "## Words\n\n| word | start | end | confidence |\n|---|---|---|---|\n" + "".join(rows)
