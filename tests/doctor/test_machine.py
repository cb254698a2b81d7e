"""What the machine offers is held against what the settings ask for."""

import os
import resource
from datetime import UTC, datetime
from pathlib import Path

from molva.doctor import machine

NOW = datetime(2030, 1, 1, tzinfo=UTC).timestamp()


def fake_system(folder: Path, *, available_kb: int, groups: dict[str, tuple[str, str, str]], own: str) -> int | None:
    """What is available on a machine whose /proc and control groups say so."""
    (folder / "proc/self").mkdir(parents=True)
    (folder / "proc/meminfo").write_text(f"MemTotal: 99 kB\nMemAvailable: {available_kb} kB\n")
    (folder / "proc/self/cgroup").write_text(f"0::{own}\n")
    for name, (limit, current, stat) in groups.items():
        group = folder / "cgroup" / name
        group.mkdir(parents=True)
        (group / "memory.max").write_text(f"{limit}\n")
        (group / "memory.current").write_text(f"{current}\n")
        (group / "memory.stat").write_text(stat)
    return machine.available_memory(folder / "proc", folder / "cgroup")


def test_the_machines_memory_counts_without_limits(tmp_path: Path) -> None:
    assert fake_system(tmp_path, available_kb=1000, groups={}, own="/") == 1_024_000


def test_a_limit_of_any_group_above_counts_and_its_cache_is_free(tmp_path: Path) -> None:
    groups = {"a": ("5000", "3000", "anon 1\ninactive_file 700\n"), "a/b": ("max", "10", "")}
    assert fake_system(tmp_path, available_kb=1000, groups=groups, own="/a/b") == 2700


def test_a_system_without_proc_is_not_guessed(tmp_path: Path) -> None:
    assert machine.available_memory(tmp_path) is None
    assert machine.check_memory(None, 1).status == "ok"


def test_this_machine_has_memory_to_spare() -> None:
    available = machine.available_memory()
    assert available is None or available > 10**7


def test_a_model_that_does_not_fit_is_a_problem() -> None:
    assert machine.check_memory(10**9, 10**8).status == "ok"
    finding = machine.check_memory(10**9, 10**9)
    assert (finding.status, bool(finding.advice)) == ("problem", True)


def test_each_folder_is_held_against_what_goes_there(tmp_path: Path) -> None:
    few, many = machine.check_disks({"few": (tmp_path / "not/there", 1), "many": (tmp_path, 2**62)})
    assert (few.status, many.status) == ("ok", "warning")


def test_more_clients_than_open_files_is_a_warning() -> None:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert machine.check_open_files(0).status == "ok"
    assert soft == resource.RLIM_INFINITY or machine.check_open_files(soft).status == "warning"


def test_a_clock_that_was_never_set_is_a_problem() -> None:
    assert machine.check_clock([], now=0).status == "problem"
    assert machine.check_clock([], now=NOW).status == "ok"


def test_a_clock_behind_the_files_was_set_back(tmp_path: Path) -> None:
    file = tmp_path / "molva.db"
    file.touch()
    os.utime(file, (NOW + 3600, NOW + 3600))
    assert machine.check_clock([file, tmp_path / "missing"], now=NOW).status == "warning"
    assert machine.check_clock([file], now=NOW + 3600).status == "ok"


def test_more_workers_than_cores_is_a_warning() -> None:
    assert machine.check_cpu(0).status in ("ok", "warning")
    assert "workers" in machine.check_cpu(10_000).message
