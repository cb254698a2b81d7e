"""Where jobs are kept."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from molva.jobs.job import Job, Status, Submission
from molva.runtime.plan import Plan
from molva.speech.waveform import Waveform
from molva.transcript import Hypothesis, Transcript


@dataclass(frozen=True, slots=True)
class Idempotency:
    """What tells a repeated submission from another one."""

    scope: str
    """Whose key it is: the name of the API key, or empty."""
    key: str
    digest: str
    """Of all that was submitted."""


@dataclass(frozen=True, slots=True)
class Page:
    """Part of a list, newest first."""

    jobs: Sequence[Job]
    following: str | None
    """What to ask for to get the next part; None at the end."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A job that a server has taken up, and what earlier attempts have left for it."""

    job: Job
    token: str
    """Tells this claim from earlier and later ones of the same job."""
    plan: Plan | None
    finished: Sequence[Hypothesis]
    """Of the first windows of the plan."""
    recipe: str | None
    """What made them."""


class JobStore(Protocol):
    """Keeps jobs over restarts. Calls block, may come from any thread, and are on the disk when they return.

    States move along TRANSITIONS only. A transition that ends a job takes the delivery to its webhook along, all or
    nothing. All raise StoreError, and StoreFull where the disk is full.
    """

    def submit(self, job_id: str, submission: Submission, idempotency: Idempotency | None = None) -> Job:
        """A new queued job; the one that `idempotency` belongs to, where it has been submitted before.

        Raises IdempotencyMismatch where the same key came with something else.
        """
        ...

    def submitted_before(self, idempotency: Idempotency) -> Job | None:
        """The job that the same submission made. Raises IdempotencyMismatch."""
        ...

    def get(self, job_id: str) -> Job:
        """Raises JobNotFound."""
        ...

    def transcript(self, job_id: str) -> Transcript | None:
        """The result; None where there is no such job or it is not done."""
        ...

    def waveform(self, job_id: str) -> Waveform | None:
        """What its recording looks like; None where there is no such job or nobody has looked through it."""
        ...

    def page(self, *, statuses: Collection[Status] = (), limit: int = 50, cursor: str | None = None) -> Page:
        """Jobs in these states, or in any. Raises OptionError for a cursor that is none."""
        ...

    def waiting(self) -> int:
        """How many jobs are queued."""
        ...

    def counts(self) -> Mapping[Status, int]:
        """How many jobs are in each state; states without jobs may be absent."""
        ...

    def cancel(self, job_id: str) -> Job:
        """End a job that has not ended. Raises JobNotFound, JobFinished."""
        ...

    def purge(self, job_id: str) -> Job:
        """Forget a job in any state, with all that is known of it; what it was. Raises JobNotFound."""
        ...

    def forget(self, before: float) -> Sequence[str]:
        """Purge jobs that ended before a time (Unix seconds); their ids."""
        ...

    def claim(self, lease_s: float) -> Claim | None:
        """The next job that waits, or whose claim has run out; for `lease_s` seconds it is nobody else's."""
        ...

    def renew(self, claim: Claim, lease_s: float) -> bool:
        """Keep a claim for longer. False where it is lost: the job was cancelled, purged or claimed by another."""
        ...

    def planned(self, claim: Claim, plan: Plan, recipe: str, waveform: Waveform | None = None) -> None:
        """The job's windows, none of them finished, and its picture, which stays when the job has ended.

        Raises ClaimLost, as all of the following do.
        """
        ...

    def finished(self, claim: Claim, index: int, hypothesis: Hypothesis, language: str | None) -> Job:
        """The window at `index` is decoded, after all before it. Telling it again changes nothing."""
        ...

    def done(self, claim: Claim, transcript: Transcript) -> Job: ...

    def failed(self, claim: Claim, error: str) -> Job: ...

    def hand_back(self, claim: Claim) -> Job:
        """Let another server take it up where it was left; the attempt does not count."""
        ...
