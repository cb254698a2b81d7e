"""The form of a submission -> what is asked for, as far as its fields tell."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from molva.engines.base import Task
from molva.errors import EmptyAudio, MissingAudio, OptionError
from molva.http.multipart import Form
from molva.http.speakers import SpeakerWish
from molva.jobs.job import JobPriority
from molva.samples import Channels
from molva.speech.clustering import SpeakerCount

TASKS: tuple[Task, ...] = ("transcribe", "translate")
CHANNELS: tuple[Channels, ...] = ("mix", "split")
PRIORITIES = {priority.name.lower(): priority for priority in JobPriority}


@dataclass(frozen=True, slots=True)
class Wishes:
    """A submission whose fields make sense. Addresses and names are still to be checked."""

    task: Task
    language: str | None
    """ISO 639-1 in lower case."""
    model: str | None
    """A name or an alias."""
    priority: JobPriority
    webhook_url: str | None
    audio_url: str | None
    """Where the recording is, in place of one that was sent."""
    channels: Channels = "mix"
    speakers: SpeakerCount | None = None
    """How many there may be; None does not tell them apart."""


def parse_form(form: Form) -> Wishes:
    """The wishes in a form; fields that are not known are ignored, and of one that is repeated the last counts.

    Raises MissingAudio, EmptyAudio, OptionError.
    """
    fields = {name: value.strip() for name, value in form.fields}
    audio_url = fields.get("audio_url") or None
    if form.file is None and audio_url is None:
        raise MissingAudio
    if form.file is not None and audio_url is not None:
        raise OptionError("audio_url", "send either audio or audio_url")
    if form.file is not None and not form.file.size:
        raise EmptyAudio("audio field is empty")
    task = fields.get("task", "transcribe")
    if task not in TASKS:
        raise OptionError("task", "task must be 'transcribe' or 'translate'")
    language = fields.get("language")
    if language is not None and language.lower() in ("", "auto"):
        raise OptionError("language", "language: leave it out to let the model tell; 'auto' is no language")
    channels = fields.get("channels", "mix")
    if channels not in CHANNELS:
        raise OptionError("channels", "channels must be 'mix' or 'split'")
    priority = fields.get("priority") or "normal"
    if priority not in PRIORITIES:
        raise OptionError("priority", f"priority must be one of {', '.join(PRIORITIES)}")
    return Wishes(
        task=task,
        language=language.lower() if language else None,
        model=fields.get("model") or None,
        priority=PRIORITIES[priority],
        webhook_url=fields.get("webhook_url") or None,
        audio_url=audio_url,
        channels=channels,
        speakers=_speakers(fields, channels),
    )


def _speakers(fields: Mapping[str, str], channels: Channels) -> SpeakerCount | None:
    diarization = fields.get("diarization", "").lower()
    if diarization not in ("", "true", "false"):
        raise OptionError("diarization", "diarization must be true or false")
    wish = SpeakerWish(
        diarization == "true",
        _number(fields, "num_speakers"),
        _number(fields, "min_speakers"),
        _number(fields, "max_speakers"),
        channels,
    )
    return wish.count(by_default=False)


def _number(fields: Mapping[str, str], name: str) -> int | None:
    value = fields.get(name, "")
    if not (value.isascii() and value.isdecimal() and len(value) < 10) and value:
        raise OptionError(name, f"{name} must be a whole number")
    return int(value) if value else None


def digest_of(form: Form, audio: Path) -> str:
    """What tells one submission from another: all its fields in any order, and the bytes of `audio`. Blocking."""
    with audio.open("rb") as content:
        sha256 = hashlib.file_digest(content, "sha256").hexdigest()
    return hashlib.sha256(json.dumps([sorted(form.fields), sha256]).encode()).hexdigest()
