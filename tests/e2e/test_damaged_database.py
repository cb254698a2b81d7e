"""A server that is started on a damaged database, or on none in the place of one."""

from pathlib import Path

import pytest

from tests.e2e.conftest import molva_serve, run_molva
from tests.e2e.jobs import flags, wait_for_log


@pytest.mark.slow
def test_a_damaged_database_is_refused_and_its_recordings_outlive_its_being_moved_away(
    tiny_dir: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    (data / "jobs").mkdir(parents=True)
    (data / "jobs" / "of-a-job").write_bytes(b"a recording")
    (data / "molva.db").write_bytes(b"damaged" * 10_000)

    refused = run_molva("serve", *flags(tiny_dir, "--data-dir", data), home=tmp_path)
    assert refused.returncode != 0
    assert b"Restore it from a copy, or move it away" in refused.stderr
    assert b"Traceback" not in refused.stderr

    (data / "molva.db").rename(tmp_path / "aside.db")
    with molva_serve(*flags(tiny_dir, "--data-dir", data), home=tmp_path) as process:
        process.url()
        wait_for_log(process, "recordings of jobs of another one are in")
        [recording] = data.glob("jobs-aside-*/of-a-job")
        assert recording.read_bytes() == b"a recording"
        assert list((data / "jobs").iterdir()) == []
        assert process.stop() == 0
