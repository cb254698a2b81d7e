"""Plain text: all of it in one line, or a line for each turn where speakers are known."""

from collections.abc import Iterator
from itertools import groupby

from molva.formats.cues import one_line, speaker_name
from molva.transcript import Segment, Transcript, word_separator


def write_text(transcript: Transcript) -> str:
    """Turns are marked as subtitles are: `[SPEAKER_0] …`."""
    if all(word.speaker is None for word in transcript.words):
        return transcript.text
    separator = word_separator(transcript.language)
    pieces = [piece for segment in transcript.segments for piece in _pieces(segment, separator)]
    lines = []
    for speaker, turn in groupby(pieces, key=lambda piece: piece[0]):
        text = separator.join(text for _, text in turn)
        lines.append(text if speaker is None else f"[{speaker_name(speaker)}] {text}")
    return "\n".join(lines)


def _pieces(segment: Segment, separator: str) -> Iterator[tuple[int | None, str]]:
    """The text of a segment by speaker."""
    if not segment.words and segment.text:
        yield None, one_line(segment.text)
    for speaker, words in groupby(segment.words, key=lambda word: word.speaker):
        text = one_line(separator.join(word.text for word in words))
        if text:
            yield speaker, text
