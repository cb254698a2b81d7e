"""Nothing is told to anybody that nobody asked for."""

import os
import subprocess
import sys
from pathlib import Path


def test_onnx_runtime_keeps_and_sends_no_telemetry(tmp_path: Path) -> None:
    # What it would send, it first keeps under HOME.
    code = "import molva, onnxruntime; from molva.engines.silero import load_vad; load_vad()"
    environment = {**os.environ, "HOME": str(tmp_path), "ORT_DISABLE_TELEMETRY": "0"}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    assert list(tmp_path.iterdir()) == []
