"""The native door's JSON: `text`, `words`, `duration`, and what molva adds."""

import json
from typing import Any

from molva.transcript import Transcript, Word


def word_object(word: Word) -> dict[str, Any]:
    """A word as it goes over the wire; `speaker` only where it is known."""
    body: dict[str, Any] = {
        "word": word.text,
        "start": round(word.start, 3),
        "end": round(word.end, 3),
        "confidence": round(word.confidence, 4),
    }
    if word.speaker is not None:
        body["speaker"] = word.speaker
    return body


def to_json(transcript: Transcript) -> str:
    """The whole transcript as one object."""
    body: dict[str, Any] = {
        "text": transcript.text,
        "words": [word_object(word) for word in transcript.words],
        "duration": round(transcript.duration, 3),
        "language": transcript.language,
        "coverage": {
            "speech": round(transcript.coverage.speech_s, 3),
            "transcribed": round(transcript.coverage.transcribed_s, 3),
        },
    }
    if transcript.declared_duration is not None:
        body["declared_duration"] = round(transcript.declared_duration, 3)
    return json.dumps(body, ensure_ascii=False)
