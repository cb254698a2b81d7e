"""Facts about this machine's processor that engines are set up by."""

import os
import platform
from pathlib import Path


def usable_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def has_wide_accumulation() -> bool:
    """Whether 8-bit products are added in 32 bits: with VNNI on x86, always on ARM."""
    if platform.machine().lower() in ("arm64", "aarch64"):
        return True
    return not cpu_flags().isdisjoint({"avx512_vnni", "avx_vnni"})


def instruction_sets() -> frozenset[str]:
    """What decides which kernels a library of arithmetic takes, and so how it packs its weights.

    Where the system does not list instruction sets, its version stands for them: macOS's names the processor.
    """
    kernels = ("avx", "amx", "fma", "asimd", "sve", "sme", "i8mm", "bf16")
    found = frozenset(flag for flag in cpu_flags() if flag.startswith(kernels))
    return found | {platform.machine()} if found else frozenset({platform.machine(), platform.version()})


def cpu_flags() -> frozenset[str]:
    """Words of Linux's /proc/cpuinfo, the names of instruction sets among them; empty elsewhere."""
    try:
        return frozenset(Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").split())
    except OSError:
        return frozenset()
