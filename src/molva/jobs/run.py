"""One job, from its recording to its end in the store. Blocking; runs in a thread of its own."""

import errno
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from molva import tracing
from molva.engines.base import Hypothesis, Options
from molva.errors import Cancelled, ClaimLost, MolvaError, ShuttingDown, StoreError
from molva.jobs.job import Job
from molva.jobs.store import Claim, JobStore
from molva.runtime.diarization import Diarization
from molva.runtime.plan import plan
from molva.runtime.queue import Priority
from molva.runtime.scheduler import Lane
from molva.runtime.speakers import SpeakerModels
from molva.runtime.transcription import Resumption, Transcription
from molva.speech.chunks import WindowRule
from molva.speech.vad import VadModel
from molva.transcript import Transcript

log = logging.getLogger(__name__)

T = TypeVar("T")

STORE_RETRY_S = 1.0
"""Between tries of a write that the store refuses, as on a full disk: what is decoded is not thrown away for that."""

WANTING = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""Of what others may give back at any moment, so no job fails for the lack of it."""

INTERNAL = "Transcription failed unexpectedly; the server's log has the reason."
MISSING = "The recording is no longer on the server. Submit it again."


@dataclass(frozen=True)
class Workshop:
    """What every job needs."""

    store: JobStore
    vad: VadModel
    window_timeout_s: float | None
    """Longest wait for one window."""
    changed: Callable[[str], None]
    """Told the id of a job whenever it has changed; called from any thread."""
    ended: Callable[[Job], None]
    """Told a job that has ended."""


def run(
    claim: Claim,
    recording: Path,
    lane: Lane,
    workshop: Workshop,
    stopped: threading.Event,
    speakers: SpeakerModels | None = None,
) -> bool:
    """Take a claimed job to its end, or as far as it goes until `stopped`. Whether it has ended.

    `speakers` tells them apart, where the job wants that.
    One for which the system lacks descriptors or memory at present is handed back, after a pause.
    A job that was cancelled, purged or claimed by somebody else is left alone from the next window on.
    """
    try:
        transcript = _transcribe(claim, recording, lane, workshop, stopped, speakers)
    except (Cancelled, ClaimLost, ShuttingDown):
        return False
    except MolvaError as error:
        problem = str(error)
    except FileNotFoundError:
        problem = MISSING
    except OSError as error:
        if error.errno in WANTING:
            log.warning("a job waits for what the system has too little of: %s", error)
            stopped.wait(STORE_RETRY_S)
            return False
        log.exception("job %s failed unexpectedly", claim.job.id)
        problem = INTERNAL
    except Exception:
        log.exception("job %s failed unexpectedly", claim.job.id)
        problem = INTERNAL
    else:
        return _end(workshop, stopped, claim, lambda: workshop.store.done(claim, transcript))
    return fail(claim, problem, workshop, stopped)


def fail(claim: Claim, problem: str, workshop: Workshop, stopped: threading.Event) -> bool:
    """End a claimed job with the reason why it cannot be done. Whether that was still to be told."""
    return _end(workshop, stopped, claim, lambda: workshop.store.failed(claim, problem))


def _transcribe(
    claim: Claim,
    recording: Path,
    lane: Lane,
    workshop: Workshop,
    stopped: threading.Event,
    speakers: SpeakerModels | None,
) -> Transcript:
    submission, info, store = claim.job.submission, lane.info, workshop.store
    options = Options(language=submission.language, task=submission.task)
    info.check(options)
    recipe = f"{info.model} {info.precision} {info.device}"
    windows, finished = claim.plan, claim.finished
    if windows is None or claim.recipe != recipe:
        rule = replace(WindowRule(), max_s=info.max_window_s)
        with tracing.span("find speech"):
            looked_through, waveform = plan(
                recording, workshop.vad, rule, cancelled=stopped, channels=submission.channels
            )
        windows, finished = looked_through, ()
        _insist(lambda: store.planned(claim, looked_through, recipe, waveform), stopped)
        workshop.changed(claim.job.id)

    def on_finished(index: int, hypothesis: Hypothesis, language: str | None) -> None:
        _insist(lambda: store.finished(claim, index, replace(hypothesis, tokens=()), language), stopped)
        workshop.changed(claim.job.id)

    diarization = None
    if speakers is not None and submission.speakers is not None:
        # Beside the windows, which take longer. Whoever takes the job up again reads the whole recording in any case,
        # so nothing of this is kept and the speakers are the same.
        diarization = Diarization(speakers, submission.speakers)
    transcription = Transcription(
        recording,
        lane,
        workshop.vad,
        options,
        cancelled=stopped,
        priority=Priority.JOB,
        resumption=Resumption(windows, finished, on_finished),
        window_timeout_s=workshop.window_timeout_s,
        channels=submission.channels,
        repetitions=not info.may_repeat,
        diarization=diarization,
    )
    for _ in transcription:
        pass
    transcript = transcription.transcript
    assert transcript is not None  # noqa: S101 - set by the end of the iteration
    return transcript


def _end(workshop: Workshop, stopped: threading.Event, claim: Claim, write: Callable[[], Job]) -> bool:
    """The job's last transition. One that cannot be written is made by whoever takes the job up next."""
    try:
        job = _insist(write, stopped)
    except (Cancelled, ClaimLost):
        return False
    log.info("job %s is %s", job.id, job.status)
    workshop.ended(job)
    workshop.changed(claim.job.id)
    return True


def _insist(write: Callable[[], T], stopped: threading.Event) -> T:
    """Write, again and again while the store refuses. Raises Cancelled once `stopped`, ClaimLost."""
    while True:
        try:
            return write()
        except StoreError as error:
            log.warning("a job cannot be written down: %s", error)
            if stopped.wait(STORE_RETRY_S):
                raise Cancelled from error
