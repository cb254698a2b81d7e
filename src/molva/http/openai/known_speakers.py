"""Samples of known voices, as data URLs -> what these voices sound like. Nothing is ever fetched."""

import base64
import re
from collections.abc import Mapping

from molva.audio.decode import decode
from molva.errors import AudioError, OptionError
from molva.runtime.diarization import voice_in
from molva.runtime.speakers import SpeakerModels
from molva.samples import seconds
from molva.speech.clustering import Embedding

MIN_S, MAX_S = 2.0, 10.0
"""Length of a sample."""
TOLERANCE_S = 0.1
"""Encoders add as much, or lose it."""

DATA_URL = re.compile(r"data:[^,;]*(?:;[^,;]+)*;base64,", re.ASCII | re.IGNORECASE)


def known_voices(references: Mapping[str, str], models: SpeakerModels) -> list[Embedding]:
    """The voices, in the order of their names. Blocking. The form has bounded how long the data URLs are.

    Raises OptionError for what is no such sample.
    """
    return [_voice(name, url, models) for name, url in references.items()]


def _voice(name: str, url: str, models: SpeakerModels) -> Embedding:
    head = DATA_URL.match(url)
    if head is None:
        raise _refused(name, "must be a data URL in base64, as data:audio/wav;base64,...")
    try:
        data = base64.b64decode(url[head.end() :], validate=True)
    except ValueError as error:  # of which binascii's is one; letters beyond ASCII are not even worth that
        raise _refused(name, "is no base64") from error
    try:
        samples = decode(data, max_duration_s=MAX_S + TOLERANCE_S)
    except AudioError as error:
        raise _refused(name, f"cannot be used: {error}") from error
    if seconds(samples.size) < MIN_S - TOLERANCE_S:
        raise _refused(name, f"is shorter than {MIN_S:g} s")
    voice = voice_in(samples, models)
    if voice is None:
        raise _refused(name, "has nobody who speaks")
    return voice


def _refused(name: str, reason: str) -> OptionError:
    return OptionError("known_speaker_references", f"known_speaker_references: the one of '{name}' {reason}")
