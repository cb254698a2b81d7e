"""Who is measured, and what molva has promised against each."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.peers import adapters
from bench.peers.adapters import Recognize

Load = Callable[[Path, int, str], Recognize]
"""Model folder, threads and device -> a loaded engine."""


@dataclass(frozen=True)
class Competitor:
    """An engine with a form of the weights."""

    name: str
    folder: str
    """Of its model, beside the others'."""
    libraries: tuple[str, ...]
    """What it imports; importing is no part of loading a model."""
    load: Load
    cpu_ratio: float | None = None
    """How many times molva's CPU seconds it has to need, at least."""
    latency_ratio: float | None = None
    """The same for the latency of one request of 5 s."""
    on_gpu: bool = True
    needs_newer_glibc: bool = False

    def import_library(self) -> None:
        """Import what `load` needs."""
        for library in self.libraries:
            importlib.import_module(library)


MOLVA = Competitor("molva", "molva", ("molva.runtime.loading", "molva.runtime.provision"), adapters.load_molva)
MOLVA_FP16 = Competitor("molva fp16", MOLVA.folder, MOLVA.libraries, adapters.load_molva_fp16)
LIBRARY = Competitor("molva.Transcriber", "molva", ("molva.library",), adapters.load_library)

PEERS = (
    Competitor("onnx-asr fp32", "onnx-asr-fp32", ("onnx_asr",), adapters.load_onnx_asr_fp32, 1.8, 1.7),
    Competitor("onnx-asr int8", "onnx-asr-int8", ("onnx_asr",), adapters.load_onnx_asr_int8, 1.15, 1.5),
    Competitor(
        "gigastt, as shipped",
        "gigastt-shipped",
        ("gigastt_uniffi",),
        adapters.load_gigastt,
        2.4,
        3.5,
        on_gpu=False,
        needs_newer_glibc=True,
    ),
    Competitor(
        "gigastt, newest recipe",
        "gigastt-newest",
        ("gigastt_uniffi",),
        adapters.load_gigastt,
        1.4,
        2.0,
        on_gpu=False,
        needs_newer_glibc=True,
    ),
)

COMPETITORS = (MOLVA, LIBRARY, *PEERS)

FASTER_WHISPER = Competitor("faster-whisper", "whisper", ("faster_whisper",), adapters.load_faster_whisper)

ALL = {competitor.name: competitor for competitor in (*COMPETITORS, MOLVA_FP16, FASTER_WHISPER)}
"""What a worker can be asked for."""
