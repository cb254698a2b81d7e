"""A disk that is full, or that nothing can be written to."""

import shutil
import subprocess
import time

import httpx2

from tests.chaos.clients import End
from tests.chaos.faults.doors import refused, serves
from tests.chaos.scene import Fault, Scene
from tests.chaos.server import DIRECT
from tests.e2e.test_disk_full import DISK_MIB, fill

LASTS_S = 4.0
SWEPT_S = 75.0
"""What could not be removed when its job ended is removed within a minute."""


def full(scene: Scene) -> None:
    fill(scene.disk)
    scene.struck += 1
    refused(scene, 507, "disk_full")
    serves(scene)
    time.sleep(LASTS_S)
    (scene.disk / "filler").unlink()


def read_only(scene: Scene) -> None:
    """A second mount over the first, since a tmpfs with a file that is open for writing does not turn read-only."""
    data = scene.server.data
    _in_namespace(scene, "mount", "--bind", "-o", "ro", str(data), str(data))
    scene.struck += 1
    refused(scene, 503, "store_unavailable")
    serves(scene)
    time.sleep(LASTS_S)
    _in_namespace(scene, "umount", "--lazy", str(data))
    _let_ended_jobs_be_swept(scene)


def temporary_folder(scene: Scene) -> None:
    folder = scene.server.temporary
    _in_namespace(scene, "mount", "-t", "tmpfs", "-o", "size=4k", "molva", str(folder))
    fill(scene.seen(folder))
    scene.struck += 1
    _all_is_done(scene)
    _in_namespace(scene, "umount", "--lazy", str(folder))
    shutil.rmtree(folder)
    scene.struck += 1
    _all_is_done(scene)
    folder.mkdir()


def _all_is_done(scene: Scene) -> None:
    serves(scene)
    time.sleep(LASTS_S / 2)
    counted = scene.load.counted()
    scene.expect(counted.total() == counted[End.DONE], f"not all is done without a temporary folder: {counted}")


def _in_namespace(scene: Scene, *command: str) -> None:
    """Run a command with the mounts of the server, as whoever may change them."""
    enter = ("nsenter", "--target", str(scene.server.pid), "--user", "--preserve-credentials", "--mount")
    subprocess.run([*enter, *command], check=True, timeout=30)


def _let_ended_jobs_be_swept(scene: Scene) -> None:
    """Recordings of ended jobs go at last."""

    def swept() -> bool:
        with httpx2.Client(base_url=scene.server.url, **DIRECT, timeout=30) as client:
            running = client.get("/jobs", params={"status": "queued,running", "limit": 500}).json()["jobs"]
        known = {job["id"] for job in running}
        return {path.name for path in (scene.disk / "jobs").iterdir()} <= known

    scene.wait_until(swept, "recordings of ended jobs are removed", SWEPT_S)


DISK = (
    Fault("disk full", "the disk of the data folder is filled to the last byte", full, disk_mib=DISK_MIB),
    Fault(
        "disk read-only",
        "no file in the data folder can be made, opened for writing or removed",
        read_only,
        disk_mib=DISK_MIB,
    ),
    Fault(
        "temporary folder",
        "the system's folder for temporary files is full, then gone",
        temporary_folder,
        disk_mib=DISK_MIB,
    ),
)
