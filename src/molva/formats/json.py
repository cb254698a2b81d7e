"""The native JSON body."""

import json
from typing import Any

from molva.transcript import Transcript, Word


def write_json(transcript: Transcript) -> str:
    """Text, words and duration, with what is known about the language and the coverage."""
    body: dict[str, Any] = {
        "text": transcript.text,
        "words": [word_object(word) for word in transcript.words],
        "duration": _milliseconds(transcript.duration),
        "language": transcript.language,
        "coverage": {
            "speech": _milliseconds(transcript.coverage.speech_s),
            "transcribed": _milliseconds(transcript.coverage.transcribed_s),
        },
    }
    if transcript.declared_duration is not None:
        body["declared_duration"] = _milliseconds(transcript.declared_duration)
    if transcript.diarization is not None:
        body["diarization"] = transcript.diarization
    if transcript.channels is not None:
        body["channels"] = transcript.channels
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"))


def word_object(word: Word) -> dict[str, Any]:
    """One word as every native door sends it; `speaker` only where it is known."""
    fields: dict[str, Any] = {
        "word": word.text,
        "start": _milliseconds(word.start),
        "end": _milliseconds(word.end),
        "confidence": round(word.confidence, 4),
    }
    if word.speaker is not None:
        fields["speaker"] = word.speaker
    return fields


def _milliseconds(time: float) -> float:
    """Seconds, to the millisecond."""
    return round(time, 3)
