"""The command line's first moments."""

import subprocess
import sys


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_help_does_not_wait_for_numpy_and_the_engines() -> None:
    code = "import sys, molva.cli; print([m for m in ('numpy', 'onnxruntime', 'fastapi', 'av') if m in sys.modules])"
    assert run(code) == "[]"


def test_blas_is_told_to_keep_to_one_thread_before_it_starts() -> None:
    code = """
import molva.cli
import molva.library
from threadpoolctl import threadpool_info
print({pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"})
"""
    assert run(code) == "{1}"
