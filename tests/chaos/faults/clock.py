"""The clock of the system jumps. What was accepted, heard and told is the same as if it had not."""

import time
from datetime import UTC, datetime, timedelta

import httpx2

from tests.chaos.clients import End
from tests.chaos.faults.doors import serves, submit
from tests.chaos.scene import Fault, Scene
from tests.chaos.server import DIRECT

DAY = timedelta(days=1)
LASTS_S = 4.0
RETAINED = ("--job-retention-secs", "3600")
"""So that results made a minute ago are at stake."""
TIDIED_S = 65.0
"""A server looks once a minute for what it need not keep."""


def ahead(scene: Scene) -> None:
    """For so long that a server forgets what is too old by then."""
    _jump(scene, DAY)
    time.sleep(TIDIED_S)
    _goes_on(scene)
    scene.disarm("clock")


def back(scene: Scene) -> None:
    _jump(scene, -DAY)
    time.sleep(LASTS_S)
    _goes_on(scene)
    scene.disarm("clock")


def to_and_fro(scene: Scene) -> None:
    for offset in (DAY, -DAY, DAY, timedelta(), -DAY, timedelta()):
        _jump(scene, offset)
        time.sleep(LASTS_S / 2)
    _goes_on(scene)


def _jump(scene: Scene, offset: timedelta) -> None:
    """Show that it has, by the job that comes next."""
    scene.arm("clock", str(offset.total_seconds()))
    answer = submit(scene)
    scene.expect(answer.status_code == 202, f"a job is not accepted after a jump: {answer.text}")
    [job, *_] = _jobs(scene)
    wrong_by = datetime.fromisoformat(job["created_at"]) - (datetime.now(UTC) + offset)
    scene.expect(abs(wrong_by) < DAY / 2, f"the clock has not jumped by {offset}, or the newest job is not the first")


def _goes_on(scene: Scene) -> None:
    """Nobody is even told of it."""
    serves(scene)
    counted = scene.load.counted()
    scene.expect(
        counted[End.TOLD] + counted[End.CUT] == 0, f"not all is done although only the clock jumped: {counted}"
    )


def _jobs(scene: Scene) -> list[dict[str, str]]:
    answer = httpx2.get(f"{scene.server.url}/jobs", params={"limit": 5}, **DIRECT, timeout=30)
    return list(answer.json()["jobs"])


CLOCK = (
    Fault("clock ahead", "the clock jumps a day ahead; ended jobs are kept for an hour", ahead, flags=RETAINED),
    Fault("clock back", "the clock jumps a day back", back, flags=RETAINED),
    Fault("clock to and fro", "the clock jumps six times, by up to two days", to_and_fro, flags=RETAINED),
)
