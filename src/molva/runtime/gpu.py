"""The GPU's memory: what nvidia-smi says of it, and which errors mean that there is too little.

Blocking; nvidia-smi can take a second.
"""

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from typing import Any

TIMEOUT_S = 10.0
"""A driver in trouble can make nvidia-smi hang."""

QUERY = "name,memory.total,memory.used,memory.free"

OUT_OF_MEMORY = (
    "out of memory",  # the CUDA runtime, and CTranslate2 after it
    "cudamalloc failed",
    "alloc_buffer",
    "failed to allocate memory for requested buffer",  # ONNX Runtime's arena
    "is smaller than requested bytes",  # the same with a limit on the arena
    "cublas_status_alloc_failed",
    "cudnn_status_alloc_failed",
)
"""Parts of messages, in lower case: no library has a class for it."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU and its memory in MiB."""

    name: str
    total_mb: int
    used_mb: int
    free_mb: int


@dataclass(frozen=True, slots=True)
class Shortage:
    """Why a model waits for GPU memory. MiB; None where it is not known."""

    needed_mb: int | None
    free_mb: int | None
    retry_in_s: int

    def document(self) -> dict[str, Any]:
        """The keys that clients know; unknown values are left out."""
        values = {"vram_needed_mb": self.needed_mb, "vram_free_mb": self.free_mb, "retry_in_secs": self.retry_in_s}
        return {key: value for key, value in values.items() if value is not None}


@dataclass(frozen=True)
class GpuPatience:
    """How a model waits for GPU memory."""

    poll_interval_s: float
    needed_mb: Callable[[str], int | None]
    """Estimate for a model by its name, MiB."""

    def shortage(self, model: str) -> Shortage:
        """What is told while `model` waits. Blocking."""
        gpu = read_gpu()
        return Shortage(self.needed_mb(model), gpu.free_mb if gpu else None, ceil(self.poll_interval_s))


def read_gpu() -> Gpu | None:
    """The GPU that CUDA programs of this process see first; None without one, or without nvidia-smi."""
    selection = []
    if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        # An index or a UUID. Containers may number GPUs differently than their host does.
        first = visible.split(",")[0].strip()
        if not first or first.startswith("-"):
            return None  # CUDA sees none then either
        selection = [f"--id={first}"]
    command = ["nvidia-smi", f"--query-gpu={QUERY}", "--format=csv,noheader,nounits", *selection]
    try:
        answer = subprocess.run(  # noqa: S603 - found on PATH as everybody finds it
            command, capture_output=True, text=True, timeout=TIMEOUT_S, check=True
        )
        name, *sizes = answer.stdout.splitlines()[0].rsplit(",", 3)
        total, used, free = map(int, sizes)
    except (OSError, subprocess.SubprocessError, IndexError, ValueError):
        return None
    return Gpu(name.strip(), total, used, free)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error, or what it came from, says that memory ran out."""
    cause: BaseException | None = error
    while cause is not None:
        text = str(cause).lower()
        if any(part in text for part in OUT_OF_MEMORY):
            return True
        cause = cause.__cause__ or cause.__context__
    return False
