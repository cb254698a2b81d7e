"""What the figures were measured on."""

import os
import platform
import re
from pathlib import Path

import onnxruntime

from molva.engines.cpu import cpu_flags

INSTRUCTION_SETS = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "amx_int8")
"""Those that matrix products depend on."""


def describe(cores: int) -> str:
    """One line for a report."""
    [name] = re.findall(r"model name\s+: (.*)", Path("/proc/cpuinfo").read_text())[:1] or [platform.machine()]
    flags = ", ".join(flag for flag in INSTRUCTION_SETS if flag in cpu_flags())
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return (
        f"{cores} cores of {name} ({flags}), {memory_gb:.0f} GB, Python {platform.python_version()}, "
        f"ONNX Runtime {onnxruntime.__version__}, load {os.getloadavg()[0]:.1f} before the run"
    )
