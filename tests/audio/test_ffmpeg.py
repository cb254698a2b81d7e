"""What PyAV keeps of a recording."""

import ctypes
import subprocess
import sys

import pytest

LEFT_IN_THE_MIDDLE = """
import ctypes, gc, io, sys, wave
import numpy as np
from molva.audio.decode import AudioReader

class Heap(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in "a b c d hblkhd f g uordblks i j".split()]

mallinfo2 = ctypes.CDLL(None).mallinfo2
mallinfo2.restype = Heap
file = io.BytesIO()
with wave.open(file, "wb") as clip:
    clip.setparams((1, 2, 16000, 0, "NONE", ""))
    clip.writeframes(bytes(320_000))

def used():
    for _ in range(1000):
        with AudioReader(file.getvalue()) as reader:
            next(reader.blocks("mix"))
    gc.collect()
    return mallinfo2().uordblks + mallinfo2().hblkhd

before = used()
print((used() - before) / 1000)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="glibc's malloc tells what is in use")
def test_what_is_left_in_the_middle_leaves_nothing_behind() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", LEFT_IN_THE_MIDDLE], capture_output=True, text=True, check=True, timeout=120
    )
    assert float(ended.stdout) < 50, "bytes for each recording"
