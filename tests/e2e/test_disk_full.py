"""A disk without room, under the real server: it refuses what does not fit and loses nothing of what it has."""

import os
from contextlib import suppress
from pathlib import Path

import pytest

from tests.e2e.conftest import Process, molva_serve
from tests.e2e.jobs import LOOPBACK, door, flags, heard, long_speech, wait_for_log
from tests.outbound.receiver import answer, receiver, until

DISK_MIB = 320
"""What is kept free for jobs that are there, and room for some recordings."""
WITH_SMALL_DISK = (
    *("unshare", "--user", "--map-root-user", "--mount", "sh", "-c"),
    f'mount -t tmpfs -o size={DISK_MIB}m,mode=700 molva "$0" && exec "$@"',
)


def fill(disk: Path) -> None:
    """To the last byte."""
    room = os.statvfs(disk)
    with (disk / "filler").open("wb", buffering=0) as filler:
        # Nearly all at once: to write so much would take longer than the job. The server writes some meanwhile.
        os.posix_fallocate(filler.fileno(), 0, max(1, room.f_bavail * room.f_bsize - 2**24))
        filler.seek(0, os.SEEK_END)
        with suppress(OSError):
            while True:
                filler.write(bytes(4096))


def seen_by(process: Process, folder: Path) -> Path:
    """A folder as the server sees it, whose mounts are its own."""
    return Path(f"/proc/{process.popen.pid}/root{folder}")


@pytest.mark.slow
@pytest.mark.namespaces
def test_a_full_disk_refuses_uploads_and_a_running_job_is_finished_when_there_is_room(
    tiny_dir: Path, tmp_path: Path
) -> None:
    data, speech = tmp_path / "data", long_speech(4)
    data.mkdir()
    with (
        receiver(answer()) as hooks,
        molva_serve(
            *flags(tiny_dir, "--data-dir", data, *LOOPBACK), home=tmp_path, under=(*WITH_SMALL_DISK, data)
        ) as process,
        door(process) as house,
    ):
        disk = seen_by(process, data)
        undisturbed = house.wait_for_job(house.accepted(speech))
        running, waiting = house.accepted(speech, webhook_url=hooks.url), house.accepted(webhook_url=hooks.url)
        house.wait_until_under_way(running)
        fill(disk)
        refusal = house.submit()
        assert (refusal.status_code, refusal.json()["code"]) == (507, "disk_full")
        wait_for_log(process, "a job cannot be written down")
        assert [house.job(job_id)["status"] for job_id in (running, waiting)] == ["running", "queued"]
        (disk / "filler").unlink()

        assert house.wait_for_job(running)["segments"] == undisturbed["segments"]
        assert [house.wait_for_job(job_id)["status"] for job_id in (running, waiting)] == ["done", "done"]
        assert house.wait_for_job(house.accepted())["status"] == "done"
        assert house.get("/jobs")["jobs"][-1]["id"] == undisturbed["id"]
        until(lambda: len(hooks.heard) == 2, 60)
        assert [message["id"] for message in heard(hooks)] == [running, waiting]
        assert list((disk / "jobs").iterdir()) == []
