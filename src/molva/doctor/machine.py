"""The processor, the memory, the disks, the limits and the clock of this machine."""

import os
import platform
import resource
import shutil
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from rich.filesize import decimal

from molva.doctor.finding import Finding, ok, problem, warning
from molva.engines.cpu import cpu_flags, has_wide_accumulation, usable_cores

PROCESS_BYTES = 400 * 10**6
"""What a server takes besides its weights: libraries, buffers of sessions."""

LEAST_FREE = 10**9
"""Bytes of a disk that the database and the log of a small server fill in months."""

EARLIEST = datetime(2025, 1, 1, tzinfo=UTC)
"""Before this code was written; a clock that is behind it was never set."""

FUTURE_S = 120
"""File times of network disks may be ahead by a little."""

SPARE_FILES = 128
"""Open files besides those of clients: libraries, models, the database."""


def check_cpu(workers: int) -> Finding:
    """Cores, and the instructions that INT8 weights depend on."""
    cores, machine = usable_cores(), platform.machine().lower()
    told = f"{machine}, {cores} {'core' if cores == 1 else 'cores'}"
    if workers > cores:
        return warning("cpu", f"{told}, but {workers} workers", f"Use --workers {cores} or leave it out.")
    if machine in ("x86_64", "amd64"):
        flags = cpu_flags()
        if flags and "avx2" not in flags:
            return warning("cpu", f"{told}, without AVX2: recognition is several times slower", "Use another machine.")
        if not has_wide_accumulation():
            return ok("cpu", f"{told}, AVX2 without VNNI: INT8 weights get 7 bits")
    return ok("cpu", f"{told}: INT8 weights get 8 bits")


def check_memory(available: int | None, weights: int) -> Finding:
    """Whether `weights` bytes of a model fit into what is `available`."""
    needed = weights + PROCESS_BYTES
    if available is None:
        return ok("memory", f"about {decimal(needed)} will be used; what is free is not known here")
    told = f"{decimal(available)} available, about {decimal(needed)} needed"
    if available < needed:
        return problem("memory", told, "Choose a smaller --model, --precision int8, or give it more memory.")
    return ok("memory", told)


def available_memory(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Bytes this process may still take: of the machine, and of each control group it is in. None without /proc."""
    try:
        lines = (proc / "meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    kilobytes = {line.split(":")[0]: int(line.split()[1]) for line in lines if ":" in line}
    return min([kilobytes["MemAvailable"] * 1024, *_room_in_groups(proc, cgroups)])


def _room_in_groups(proc: Path, cgroups: Path) -> Iterator[int]:
    """What each limit of version 2 of control groups leaves."""
    try:
        own = next(
            line[3:] for line in (proc / "self/cgroup").read_text(encoding="utf-8").splitlines() if line[:3] == "0::"
        )
    except (OSError, StopIteration):
        return
    group = cgroups / own.strip("/")
    for folder in [group, *group.parents]:
        if not folder.is_relative_to(cgroups):
            return
        try:
            limit = int((folder / "memory.max").read_text(encoding="ascii"))
            used = int((folder / "memory.current").read_text(encoding="ascii"))
            lines = (folder / "memory.stat").read_text(encoding="ascii").splitlines()
        except (OSError, ValueError):  # the root has no such files; "max" is no limit
            continue
        # Pages of files that nobody has used lately are dropped when somebody wants the memory.
        cache = sum(int(line.split()[1]) for line in lines if line.startswith("inactive_file "))
        yield max(limit - used + cache, 0)


def check_disks(needs: Mapping[str, tuple[Path, int]]) -> Iterator[Finding]:
    """Room for each of `needs`: a name, a folder that may be missing, and the bytes that will be written there."""
    for name, (folder, needed) in needs.items():
        free = shutil.disk_usage(existing(folder)).free
        told = f"{decimal(free)} free for {name} in {folder}"
        if free < needed:
            yield warning(
                "disk", f"{told}, {decimal(needed)} may be needed", "Free some space, or choose another disk."
            )
        else:
            yield ok("disk", told)


def existing(folder: Path) -> Path:
    """The folder itself, or the nearest above it that exists."""
    folder = folder.absolute()
    while not folder.exists():
        folder = folder.parent
    return folder


def check_open_files(clients: int) -> Finding:
    """Whether the limit of open files is enough for so many `clients` at once: two each, a socket and a file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = 2 * clients + SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < needed:
        raised = "ulimit -n" if hard == resource.RLIM_INFINITY or hard >= needed else "as root, ulimit -n"
        return warning(
            "open files",
            f"{soft} allowed, {needed} may be needed for {clients} clients",
            f"{raised} {needed}, or LimitNOFILE={needed} in a systemd unit.",
        )
    return ok("open files", "no limit" if soft == resource.RLIM_INFINITY else f"{soft} allowed")


def check_clock(files: list[Path], now: float | None = None) -> Finding:
    """Whether the system's clock can be right: not before molva was written, nor before `files` were."""
    now = time.time() if now is None else now
    told = f"{datetime.fromtimestamp(now, UTC):%Y-%m-%d %H:%M:%S} UTC"
    advice = "Set the clock and keep it right, e.g. with systemd-timesyncd or chrony."
    if now < EARLIEST.timestamp():
        return problem("clock", f"{told} cannot be right: certificates and signatures will be refused", advice)
    newest = max((file.stat().st_mtime for file in files if os.path.lexists(file)), default=now)
    if newest > now + FUTURE_S:
        ahead = round(newest - now)
        return warning("clock", f"{told} is {ahead} s behind the newest file of molva: it was set back", advice)
    return ok("clock", told)
