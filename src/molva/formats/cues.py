"""Words -> subtitle cues. What SRT, WebVTT and TSV share; they differ in spelling only."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from molva.transcript import Segment, Transcript, Word, word_separator

MAX_PAUSE_S = 2.0
"""A longer pause between two words ends the cue: no text hangs over silence."""

MIN_DISPLAY_MS = 300
"""How long a cue is shown at least where the next one leaves room: an engine may place a whole word in one instant."""


@dataclass(frozen=True, slots=True)
class Cue:
    """One line of subtitles; milliseconds from the start, `start_ms < end_ms`."""

    start_ms: int
    end_ms: int
    text: str
    """One line, not empty, marked with the speaker where one is known; not escaped for any format."""


@dataclass(frozen=True, slots=True)
class _Line:
    """A cue as it was spoken: seconds, which may be equal or overlap the next line's."""

    start: float
    end: float
    text: str
    speaker: int | None


def build_cues(transcript: Transcript, max_chars: int = 80, max_words: int = 14) -> list[Cue]:
    """The whole transcript as cues that do not overlap, in order; those of several channels may, by their start.

    A cue ends at a segment's end, at a change of speaker, at a pause, and where the next word would make it longer
    than `max_chars` characters (the speaker's mark included) or `max_words` words; 0 sets no limit. A single longer
    word stands alone. A segment without words is one cue, however long.
    """
    separator = word_separator(transcript.language)
    lines = [line for segment in transcript.segments for line in _lines_of(segment, separator, max_chars, max_words)]
    if transcript.channels is None:
        return _place(lines, transcript.duration)
    # Who is talked over is not cut short for that: each side has cues of its own.
    sides = [[line for line in lines if line.speaker == speaker] for speaker in {line.speaker for line in lines}]
    cues = [cue for side in sides for cue in _place(side, transcript.duration)]
    return sorted(cues, key=lambda cue: (cue.start_ms, cue.end_ms, cue.text))


def speaker_name(speaker: int) -> str:
    """What a speaker is called in every text format."""
    return f"SPEAKER_{speaker}"


def one_line(text: str) -> str:
    """`text` with single spaces for all white space, line breaks included."""
    return " ".join(text.split())


def _lines_of(segment: Segment, separator: str, max_chars: int, max_words: int) -> Iterable[_Line]:
    words = [word for word in segment.words if one_line(word.text)]
    if not words:
        text = one_line(segment.text)
        return [_Line(segment.start, segment.end, text, None)] if text else []
    groups = [words[:1]]
    for word in words[1:]:
        longer = [*groups[-1], word]
        if (
            word.speaker != groups[-1][-1].speaker
            or word.start - groups[-1][-1].end > MAX_PAUSE_S
            or 0 < max_words < len(longer)
            or 0 < max_chars < len(_text_of(longer, separator))
        ):
            groups.append([word])
        else:
            groups[-1] = longer
    return [_Line(group[0].start, group[-1].end, _text_of(group, separator), group[0].speaker) for group in groups]


def _text_of(words: Sequence[Word], separator: str) -> str:
    """The words of one speaker, marked with who it is."""
    text = separator.join(one_line(word.text) for word in words)
    speaker = words[0].speaker
    return text if speaker is None else f"[{speaker_name(speaker)}] {text}"


def _place(lines: Sequence[_Line], duration: float) -> list[Cue]:
    """Whole milliseconds for every line: it starts after the line before it has, and ends before the next one does."""
    starts: list[int] = []
    for line in lines:
        earliest = starts[-1] + 1 if starts else 0
        starts.append(max(round(line.start * 1000), earliest))
    limits = [*starts[1:], max(round(duration * 1000), starts[-1] + 1)] if starts else []
    return [
        Cue(start, min(max(round(line.end * 1000), start + MIN_DISPLAY_MS), limit), line.text)
        for line, start, limit in zip(lines, starts, limits, strict=True)
    ]
