"""What a job is, the states it goes through, and its document."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import Any

from molva.engines.base import Task
from molva.samples import Channels
from molva.speech.clustering import SpeakerCount
from molva.timestamps import rfc3339
from molva.transcript import Segment, Transcript, Word


class Status(StrEnum):
    """Where a job is. The last three are terminal: nothing changes a job that has come there."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


TERMINAL = frozenset({Status.DONE, Status.FAILED, Status.CANCELLED})

TRANSITIONS: Mapping[Status, frozenset[Status]] = MappingProxyType(
    {
        Status.QUEUED: frozenset({Status.RUNNING, Status.CANCELLED}),
        # Back to queued: a server that stops hands back what it has not finished.
        Status.RUNNING: frozenset({Status.QUEUED, *TERMINAL}),
        **{status: frozenset[Status]() for status in TERMINAL},
    }
)


class JobPriority(IntEnum):
    """Which waiting job is taken first; among equals the one that came first."""

    LOW = -1
    NORMAL = 0
    HIGH = 1


@dataclass(frozen=True, slots=True)
class Submission:
    """What a client asks for."""

    model: str
    """Catalog name of the one that serves it."""
    task: Task = "transcribe"
    language: str | None = None
    """ISO 639-1; None lets the model tell."""
    priority: JobPriority = JobPriority.NORMAL
    webhook_url: str | None = None
    filename: str | None = None
    """As the client called it; shown, and never used as a path."""
    channels: Channels = "mix"
    """Split, each is transcribed by itself, as the speaker of its number."""
    speakers: SpeakerCount | None = None
    """How many there may be; None does not tell them apart."""


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it stands. Times are Unix seconds."""

    id: str
    """UUID, version 4."""
    submission: Submission
    status: Status
    created_at: float
    completed_at: float | None = None
    language: str | None = None
    """Asked for, or heard once it is known."""
    windows_done: int = 0
    windows_planned: int | None = None
    """None until the recording has been looked through."""
    duration_s: float | None = None
    """Of the recording; known with the windows."""
    error: str | None = None
    """Why it failed, for people."""
    attempts: int = 0
    """How often a server has taken it up since its last finished window; one that stops in order does not count."""

    @property
    def percent(self) -> int:
        """0..100 of the windows; 100 only when it is done."""
        if self.status == Status.DONE:
            return 100
        if not self.windows_planned:
            return 0
        return min(100 * self.windows_done // self.windows_planned, 99)


def summary(job: Job) -> dict[str, Any]:
    """The job without its segments. What is not known is absent."""
    fields = {
        "id": job.id,
        "status": str(job.status),
        "task": job.submission.task,
        "language": job.language,
        "priority": job.submission.priority.name.lower(),
        "model": job.submission.model,
        "progress": job.percent,
        "duration_secs": None if job.duration_s is None else round(job.duration_s, 3),
        "error": job.error,
        "webhook_url": job.submission.webhook_url,
        "channels": "split" if job.submission.channels == "split" else None,
        "filename": job.submission.filename,
        "created_at": rfc3339(job.created_at),
        "completed_at": None if job.completed_at is None else rfc3339(job.completed_at),
    }
    return {name: value for name, value in fields.items() if value is not None}


def document(job: Job, transcript: Transcript | None) -> dict[str, Any]:
    """The whole job, with the segments of its `transcript` once it is done."""
    segments = transcript.segments if transcript is not None else ()
    whole = summary(job) | {"segments": [_segment(index, segment) for index, segment in enumerate(segments)]}
    if transcript is not None and transcript.diarization is not None:
        whole["diarization"] = transcript.diarization
    return whole


def _segment(index: int, segment: Segment) -> dict[str, Any]:
    return {
        "index": index,
        "start": round(segment.start, 3),
        "end": round(segment.end, 3),
        "text": segment.text,
        "words": [_word(word) for word in segment.words],
    }


def _word(word: Word) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "text": word.text,
        "start": round(word.start, 3),
        "end": round(word.end, 3),
        "probability": round(word.confidence, 4),
    }
    if word.speaker is not None:
        fields["speaker"] = word.speaker
    return fields
