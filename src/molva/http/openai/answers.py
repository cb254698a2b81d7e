"""A transcript -> the bodies of OpenAI's response formats. Pure functions."""

import itertools
import math
import zlib
from collections.abc import Sequence
from typing import Any

from molva.formats.cues import build_cues
from molva.formats.subtitles import write_srt, write_vtt
from molva.http.openai.form import ResponseFormat, Wishes
from molva.http.openai.languages import english_name
from molva.transcript import Segment, Transcript, Word, word_separator

SHORT_S = 25.0
"""Audio that is decoded in one piece is one segment, from its start to its end."""

MEDIA_TYPES: dict[ResponseFormat, str] = {
    "text": "text/plain; charset=utf-8",
    "srt": "text/plain; charset=utf-8",
    "vtt": "text/vtt; charset=utf-8",
}
"""Of the formats that are not JSON."""


def text_body(transcript: Transcript, response_format: ResponseFormat) -> str:
    """The body of a format that is not JSON."""
    if response_format == "text":
        return transcript.text
    cues = build_cues(transcript)
    body = write_srt(cues) if response_format == "srt" else write_vtt(cues)
    return f"{body}\n" if cues else body  # OpenAI has a blank line after the last cue too


def json_body(transcript: Transcript, wishes: Wishes, *, task: str) -> dict[str, Any]:
    """The body of json, verbose_json or diarized_json."""
    if wishes.response_format == "verbose_json":
        return _verbose(transcript, wishes, task)
    if wishes.response_format == "diarized_json":
        return {
            "task": task,
            "duration": _time(transcript.duration),
            "text": transcript.text,
            "segments": speaker_segments(transcript, tuple(wishes.known_speakers)),
            "usage": usage(transcript.duration),
        }
    body: dict[str, Any] = {"text": transcript.text, "usage": usage(transcript.duration)}
    if wishes.logprobs:
        separator = word_separator(transcript.language)
        body["logprobs"] = [
            token
            for i, segment in enumerate(transcript.segments)
            for token in logprobs(separator + segment.text if i else segment.text, segment)
        ]
    return body


def usage(duration_s: float) -> dict[str, Any]:
    """What was used: whole seconds of audio."""
    return {"type": "duration", "seconds": math.ceil(duration_s)}


def logprobs(text: str, segment: Segment) -> list[dict[str, Any]]:
    """A token for each word of a segment; together they are `text`, which is the segment's with what stands before it.

    The engines' own tokens end where windows are joined; words are what the text is made of.
    """
    pieces = zip(_pieces(text, segment.words), segment.words, strict=True)
    tokens = [_token(piece, _log(word.confidence)) for piece, word in pieces]
    return tokens or [_token(text, round(segment.avg_logprob or 0.0, 4))]


def _pieces(text: str, words: Sequence[Word]) -> list[str]:
    """Each word of a text, with what stands before it; the last one also with what is behind it."""
    pieces, position = [], 0
    for i, word in enumerate(words):
        found = text.find(word.text, position)
        end = len(text) if i == len(words) - 1 else max(found + len(word.text), position)
        pieces.append(text[position:end])
        position = end
    return pieces


def _token(text: str, logprob: float) -> dict[str, Any]:
    return {"token": text, "bytes": list(text.encode()), "logprob": logprob}


def speaker_segments(transcript: Transcript, known: Sequence[str] = ()) -> list[dict[str, Any]]:
    """The segments of diarized_json, which are events of a stream too: segments of speech, cut where speakers change.

    `known`: names of the voices that were known beforehand. The others are A, B, ..., as they appear.
    """
    names = _speaker_names(transcript, known)
    return [
        {
            "type": "transcript.text.segment",
            "id": f"seg_{number}",
            "start": _time(part.start),
            "end": _time(part.end),
            "speaker": names[part.words[0].speaker if part.words else None],
            "text": part.text,
        }
        for number, part in enumerate(part for segment in transcript.segments for part in _turns(segment))
    ]


def _speaker_names(transcript: Transcript, known: Sequence[str]) -> dict[int | None, str]:
    """Whoever is not told apart is the first one."""
    names: dict[int | None, str] = {}
    speakers = sorted({word.speaker for word in transcript.words if word.speaker is not None})
    free = (label for label in map(_letters, itertools.count()) if label not in known)
    for speaker in speakers:
        voice = transcript.recognized.get(speaker)
        names[speaker] = next(free) if voice is None else known[voice]
    names[None] = names[speakers[0]] if speakers else next(free)
    return names


def _letters(number: int) -> str:
    """A to Z, then AA, AB, ..."""
    rest, last = divmod(number, 26)
    return (_letters(rest - 1) if rest else "") + chr(ord("A") + last)


def _turns(segment: Segment) -> list[Segment]:
    """A segment for each speaker in turn; their texts together are its text."""
    pieces = zip(_pieces(segment.text, segment.words), segment.words, strict=True)
    groups = [list(group) for _, group in itertools.groupby(pieces, key=lambda pair: pair[1].speaker)]
    if len(groups) < 2:
        return [segment]
    return [
        Segment(
            start=segment.start if i == 0 else group[0][1].start,
            end=segment.end if i == len(groups) - 1 else group[-1][1].end,
            text="".join(piece for piece, _ in group).strip(),
            words=tuple(word for _, word in group),
        )
        for i, group in enumerate(groups)
    ]


def _verbose(transcript: Transcript, wishes: Wishes, task: str) -> dict[str, Any]:
    body: dict[str, Any] = {
        "task": task,
        "language": english_name(transcript.language),
        "duration": _time(transcript.duration),
        "text": transcript.text,
    }
    if wishes.segments:
        whole = len(transcript.segments) == 1 and transcript.duration <= SHORT_S
        body["segments"] = [
            _segment(i, segment, (0.0, transcript.duration) if whole else (segment.start, segment.end))
            for i, segment in enumerate(transcript.segments)
        ]
    if wishes.words:
        body["words"] = [
            {"word": word.text, "start": _time(word.start), "end": _time(word.end)} for word in transcript.words
        ]
    body["usage"] = usage(transcript.duration)
    return body


def _segment(number: int, segment: Segment, bounds: tuple[float, float]) -> dict[str, Any]:
    return {
        "id": number,
        "seek": 0,
        "start": _time(bounds[0]),
        "end": _time(bounds[1]),
        "text": segment.text,
        "tokens": [],
        "temperature": 0.0,
        "avg_logprob": round(segment.avg_logprob if segment.avg_logprob is not None else 0.0, 4),
        "compression_ratio": round(compression_ratio(segment.text), 4),
        "no_speech_prob": round(segment.no_speech_prob or 0.0, 4),
    }


def compression_ratio(text: str) -> float:
    """Bytes of the text for each byte of its zlib form; repetition makes it large. 0 for no text."""
    data = text.encode()
    return len(data) / len(zlib.compress(data)) if data else 0.0


def _time(seconds: float) -> float:
    return max(round(seconds, 3), 0.0)


def _log(probability: float) -> float:
    return round(math.log(min(max(probability, 1e-9), 1.0)), 4)
