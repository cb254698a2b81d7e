"""molva: speech to text on your own machine."""

import os
from typing import TYPE_CHECKING

# ONNX Runtime's own builds tell Microsoft of each session unless this is set before they are imported. Nothing that
# molva does may leave the machine unasked.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

from molva.errors import MolvaError
from molva.transcript import Coverage, Segment, Transcript, Word

if TYPE_CHECKING:
    from molva.library import SpeakerCount, Transcriber, transcribe

__version__ = "0.1.0"

__all__ = [
    "Coverage",
    "MolvaError",
    "Segment",
    "SpeakerCount",
    "Transcriber",
    "Transcript",
    "Word",
    "__version__",
    "transcribe",
]


def __getattr__(name: str) -> object:
    """Load what pulls in NumPy and the engines only when it is asked for.

    `molva --help` should not wait for them, and the command line has to set NumPy up before its first import.
    """
    if name in ("SpeakerCount", "Transcriber", "transcribe"):
        from molva import library

        return getattr(library, name)
    raise AttributeError(f"module 'molva' has no attribute {name!r}")
