"""Jobs that are there: their list, one of them, its result, and its end."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from starlette.responses import JSONResponse, Response

from molva.errors import OptionError
from molva.http.jobs.access import JobId, OurJobs, jobs_of
from molva.http.jobs.shapes import BAD_REQUEST, CONFLICT, ERRORS, NOT_FOUND, RESULT, JobDocument, JobPage, WaveformBody
from molva.http.rendering import Rendering
from molva.jobs.job import Status, document, summary

router = APIRouter(tags=["jobs"], dependencies=[Depends(jobs_of)])

MAX_PAGE = 500


@router.get("/jobs", response_model=JobPage, responses={**ERRORS, **BAD_REQUEST})
async def list_jobs(
    jobs: OurJobs,
    status: Annotated[str, Query(description=f"Some of {', '.join(Status)}, with commas; absent: any")] = "",
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE, description="At most so many")] = 50,
    cursor: Annotated[str | None, Query(description="`next_cursor` of the page before")] = None,
) -> Response:
    """Jobs without their segments, newest first."""
    page = await jobs.page(statuses=_statuses(status), limit=limit, cursor=cursor or None)
    return JSONResponse({"jobs": [summary(job) for job in page.jobs], "next_cursor": page.following})


@router.get("/jobs/{job_id}", response_model=JobDocument, responses={**ERRORS, **NOT_FOUND})
async def read_job(jobs: OurJobs, job_id: JobId) -> Response:
    """A job as it stands, with its segments once it is done."""
    return await _whole(await jobs.document(job_id))


@router.delete("/jobs/{job_id}", response_model=JobDocument, responses={**ERRORS, **NOT_FOUND, **CONFLICT})
async def end_job(
    jobs: OurJobs,
    job_id: JobId,
    purge: Annotated[bool, Query(description="Forget the job, in whatever state it is")] = False,
) -> Response:
    """Cancel a job that has not ended, or forget one."""
    if not purge:
        return JSONResponse(document(await jobs.cancel(job_id), None))
    was = await jobs.document(job_id)
    return await _whole(was | summary(await jobs.purge(job_id)))


@router.get("/jobs/{job_id}/result", responses={**ERRORS, **NOT_FOUND, **CONFLICT, **RESULT})
async def read_result(jobs: OurJobs, job_id: JobId, rendering: Annotated[Rendering, Depends()]) -> Response:
    """The transcript of a job that is done, in the formats of /v1/transcribe."""
    rendering.check()
    return await rendering.answer(await jobs.transcript(job_id))


@router.get("/jobs/{job_id}/waveform", response_model=WaveformBody, responses={**ERRORS, **NOT_FOUND, **CONFLICT})
async def read_waveform(jobs: OurJobs, job_id: JobId) -> Response:
    """What the recording looks like: its loudness, and where somebody speaks. Known before its first window is."""
    waveform = await jobs.waveform(job_id)
    return JSONResponse(
        {
            "duration_secs": waveform.duration_s,
            "step_secs": round(waveform.step_s, 3),
            "peaks": list(waveform.peaks),
            "speech": waveform.speech,
        }
    )


@router.options("/jobs/{job_id}", include_in_schema=False)
@router.options("/jobs/{job_id}/result", include_in_schema=False)
@router.options("/jobs/{job_id}/waveform", include_in_schema=False)
async def preflight() -> Response:
    """Answer to a browser that asks before it sends."""
    return Response(status_code=204)


def _statuses(names: str) -> frozenset[Status]:
    """The states in a list with commas. Raises OptionError."""
    try:
        return frozenset(Status(name.strip().lower()) for name in names.split(",") if name.strip())
    except ValueError:
        raise OptionError("status", f"status must be some of {', '.join(Status)}, with commas") from None


async def _whole(job: dict[str, Any]) -> Response:
    """In a thread: ten hours of words are too many to write down on the event loop."""
    return await asyncio.to_thread(JSONResponse, job)
