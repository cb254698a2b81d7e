"""`GET /jobs/{id}/stream`: how a job gets on, to its end, as server-sent events with names."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

from fastapi import APIRouter, Depends
from starlette.responses import Response, StreamingResponse

from molva.errors import JobNotFound, StoreError
from molva.http.jobs.access import JobId, OurJobs, jobs_of
from molva.http.jobs.shapes import ERRORS, EVENTS, NOT_FOUND
from molva.http.sse import CLOSING, EventStream, event_frame, with_heartbeats
from molva.jobs.job import TERMINAL, Job, Status, document
from molva.jobs.service import Jobs

log = logging.getLogger(__name__)

router = APIRouter(tags=["jobs"], dependencies=[Depends(jobs_of)])


@router.get("/jobs/{job_id}/stream", response_class=StreamingResponse, responses={**ERRORS, **NOT_FOUND, **EVENTS})
async def stream(jobs: OurJobs, job_id: JobId) -> Response:
    """Watch a job: where it stands now, each change, and its end."""
    await jobs.get(job_id)  # an unknown one is told by the status
    return EventStream(with_heartbeats(_frames(jobs, job_id)), AsyncExitStack())


@router.options("/jobs/{job_id}/stream", include_in_schema=False)
async def preflight() -> Response:
    """Answer to a browser that asks before it sends."""
    return Response(status_code=204)


async def _frames(jobs: Jobs, job_id: str) -> AsyncIterator[bytes]:
    """`progress` until the end; then `done`, or `error` for a failure that comes while somebody watches.

    `closing` where the server stops before.
    """
    percent, watched = 0, False
    try:
        async for job in jobs.watch(job_id):
            if job.status not in TERMINAL:
                # A job that another server takes up anew begins anew; what was told is not taken back.
                percent = max(percent, job.percent)
                yield event_frame("progress", _progress(job, percent))
            elif watched and job.status == Status.FAILED:
                yield event_frame("error", {"type": "error", "message": job.error})
                return
            else:
                yield await _done(jobs, job)
                return
            watched = True
        if jobs.stopping:  # else it was purged
            yield CLOSING
    except JobNotFound:
        return  # purged since
    except StoreError as error:
        # Not an event: `error` says that the job has failed.
        log.warning("job %s cannot be watched any more: %s", job_id, error)


def _progress(job: Job, percent: int) -> dict[str, Any]:
    return {
        "type": "progress",
        "percent": percent,
        "chunk": job.windows_done,
        "chunks_total": job.windows_planned or 0,
        "status": str(job.status),
    }


async def _done(jobs: Jobs, job: Job) -> bytes:
    """In a thread: ten hours of words are too many to write down on the event loop."""
    try:
        whole = await jobs.document(job.id)
    except JobNotFound:  # purged since
        whole = document(job, None)
    return await asyncio.to_thread(event_frame, "done", {"type": "done", "job": whole})
