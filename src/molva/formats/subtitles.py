"""Cues -> SubRip, WebVTT and tab-separated values."""

from collections.abc import Sequence

from molva.formats.cues import Cue


def write_srt(cues: Sequence[Cue]) -> str:
    """SubRip: numbered from 1, one blank line between cues, times `HH:MM:SS,mmm`."""
    return "\n".join(
        f"{number}\n{_clock(cue.start_ms, ',')} --> {_clock(cue.end_ms, ',')}\n{cue.text}\n"
        for number, cue in enumerate(cues, start=1)
    )


def write_vtt(cues: Sequence[Cue]) -> str:
    """WebVTT: times `HH:MM:SS.mmm`, text escaped as https://www.w3.org/TR/webvtt1/#webvtt-cue-text-span asks."""
    return "WEBVTT\n\n" + "\n".join(
        f"{_clock(cue.start_ms, '.')} --> {_clock(cue.end_ms, '.')}\n{_escape_vtt(cue.text)}\n" for cue in cues
    )


def write_tsv(cues: Sequence[Cue]) -> str:
    """What openai-whisper writes: a header, then start and end in whole milliseconds and the text of each cue."""
    rows = [f"{cue.start_ms}\t{cue.end_ms}\t{cue.text}\n" for cue in cues]
    return "start\tend\ttext\n" + "".join(rows)


def _clock(milliseconds: int, decimal_mark: str) -> str:
    """`HH:MM:SS,mmm`; hours take as many digits as they need."""
    seconds, milliseconds = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{decimal_mark}{milliseconds:03}"


def _escape_vtt(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
