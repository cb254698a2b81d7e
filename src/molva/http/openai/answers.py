"""A transcript -> the bodies of OpenAI's response formats. Pure functions."""

import math
import zlib
from typing import Any

from molva.formats.cues import build_cues
from molva.formats.subtitles import write_srt, write_vtt
from molva.http.openai.form import ResponseFormat, Wishes
from molva.http.openai.languages import english_name
from molva.transcript import Segment, Transcript, word_separator

SHORT_S = 25.0
"""Audio that is decoded in one piece is one segment, from its start to its end."""

MEDIA_TYPES: dict[ResponseFormat, str] = {
    "text": "text/plain; charset=utf-8",
    "srt": "text/plain; charset=utf-8",
    "vtt": "text/vtt; charset=utf-8",
}
"""Of the formats that are not JSON."""

ONLY_SPEAKER = "A"
"""Speakers are not told apart yet, so everybody is the first one."""


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
            "segments": [speaker_segment(i, segment) for i, segment in enumerate(transcript.segments)],
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
    tokens, position = [], 0
    for i, word in enumerate(segment.words):
        found = text.find(word.text, position)
        end = len(text) if i == len(segment.words) - 1 else max(found + len(word.text), position)
        tokens.append(_token(text[position:end], _log(word.confidence)))
        position = end
    return tokens or [_token(text, round(segment.avg_logprob or 0.0, 4))]


def _token(text: str, logprob: float) -> dict[str, Any]:
    return {"token": text, "bytes": list(text.encode()), "logprob": logprob}


def speaker_segment(number: int, segment: Segment) -> dict[str, Any]:
    """A segment of diarized_json; in a stream an event of its own."""
    return {
        "type": "transcript.text.segment",
        "id": f"seg_{number}",
        "start": _time(segment.start),
        "end": _time(segment.end),
        "speaker": ONLY_SPEAKER,
        "text": segment.text,
    }


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
