"""Jobs of a load that goes on for long: never too many at once, and looked at before the server forgets them."""

import threading
import time
from dataclasses import dataclass, field

import httpx2

from tests.chaos.clients import LOST_AFTER_S, PAUSE_S, Account, End
from tests.chaos.load import Expected, Submitter, account_of_job
from tests.chaos.server import DIRECT

AT_ONCE = 4
"""Jobs that wait or run; more would make the line longer and longer."""
ENDED = ("done", "failed", "cancelled")


@dataclass
class Steady(Submitter):
    """Submits a job for each that has ended."""

    expected: Expected = field(default_factory=Expected)
    """Of jobs that end while others are submitted."""
    ended: dict[str, Account] = field(default_factory=dict)
    """How jobs have ended, by their id."""

    def once(self, stop: threading.Event) -> None:
        """Submit one recording, once there is room for it."""
        while len(self.jobs) - len(self.ended) >= AT_ONCE and not stop.is_set():
            stop.wait(PAUSE_S)
            self.look()
        if not stop.is_set():
            super().once(stop)

    def look(self) -> None:
        """Take into account which jobs have ended by now."""
        with httpx2.Client(base_url=self.server.url, **DIRECT, timeout=30) as client:
            for job_id in [job_id for job_id in self.jobs if job_id not in self.ended]:
                try:
                    answer = client.get(f"/jobs/{job_id}")
                except httpx2.TransportError:
                    return  # the next look is soon
                if answer.status_code != 200:
                    self.ended[job_id] = Account("job", End.LOST, f"{job_id}: HTTP {answer.status_code}")
                elif answer.json()["status"] in ENDED:
                    segments = self.expected.segments[self.jobs[job_id]]
                    self.ended[job_id] = account_of_job(answer.json(), "", segments, job_id)

    @property
    def so_far(self) -> list[Account]:
        """What has ended by now."""
        return self.accounts + list(self.ended.values())

    def collect(self, expected: Expected) -> list[Account]:
        """How every job has ended, waiting for those that have not."""
        deadline = time.monotonic() + LOST_AFTER_S
        while len(self.ended) < len(self.jobs) and time.monotonic() < deadline:
            self.look()
            time.sleep(PAUSE_S)
        for job_id in self.jobs.keys() - self.ended.keys():
            self.ended[job_id] = Account("job", End.LOST, f"{job_id}: never ended")
        return self.so_far
