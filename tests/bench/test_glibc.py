"""Bindings that were built with a newer C library find its names."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from bench.peers import glibc

NUMBERS = """
import ctypes
c = ctypes.CDLL(None)
for name, kind in (("strtol", ctypes.c_long), ("strtoull", ctypes.c_ulonglong)):
    function = getattr(c, f"__isoc23_{name}")
    function.restype = kind
    print(function(b"ff and more", None, 16))
"""


@pytest.mark.skipif(shutil.which("gcc") is None and glibc.is_old(), reason="an old C library, and no compiler")
def test_a_process_has_the_names_and_they_work(tmp_path: Path) -> None:
    environment = glibc.preloading(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", NUMBERS], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == ["255", "255"]
