"""Cues -> SRT, WebVTT and TSV."""

import html

from molva.formats.cues import Layout, clock, split_cues
from molva.transcript import Transcript


def to_srt(transcript: Transcript, layout: Layout) -> str:
    """SubRip: numbered from 1, a blank line between cues."""
    blocks = (
        f"{number}\n{clock(cue.start, ',')} --> {clock(cue.end, ',')}\n{cue.text.replace('-->', '->')}\n"
        for number, cue in enumerate(split_cues(transcript, layout), start=1)
    )
    return "\n".join(blocks)


def to_vtt(transcript: Transcript, layout: Layout) -> str:
    """WebVTT; `&`, `<` and `>` are escaped, so no text is taken for a tag or an arrow."""
    blocks = (
        f"\n{clock(cue.start, '.')} --> {clock(cue.end, '.')}\n{html.escape(cue.text, quote=False)}\n"
        for cue in split_cues(transcript, layout)
    )
    return "WEBVTT\n" + "".join(blocks)


def to_tsv(transcript: Transcript, layout: Layout) -> str:
    """A row a cue: start and end in milliseconds, text; the header that openai-whisper writes."""
    rows = (f"{round(cue.start * 1000)}\t{round(cue.end * 1000)}\t{cue.text}" for cue in split_cues(transcript, layout))
    return "\n".join(["start\tend\ttext", *rows]) + "\n"
