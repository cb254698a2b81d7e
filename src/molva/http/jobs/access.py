"""What every route of jobs begins with: whether there are jobs here, and which one is meant."""

from typing import Annotated
from uuid import UUID

from fastapi import Depends, HTTPException, Path, Request

from molva.errors import OptionError
from molva.http.state import ServerState
from molva.jobs.service import Jobs


def jobs_of(request: Request) -> Jobs:
    """The jobs of this server. Raises a plain 404 where they are switched off."""
    state: ServerState = request.app.state.server
    if state.jobs is None:
        raise HTTPException(404)
    return state.jobs


def _job_id(
    job_id: Annotated[str, Path(description="As POST /jobs told it", json_schema_extra={"format": "uuid"})],
) -> str:
    try:
        return str(UUID(job_id))
    except ValueError:
        raise OptionError("job_id", f"'{job_id[:64]}' is no id of a job: ids are UUIDs") from None


OurJobs = Annotated[Jobs, Depends(jobs_of)]
JobId = Annotated[str, Depends(_job_id)]
"""In the path; as the store writes it. 400 for what is no UUID."""
