"""Where the blocks of a long-lived process lie."""

import platform
import subprocess
import sys

import pytest

WHERE = """
import sys
import numpy as np
from molva.runtime.memory import keep_heap_small, keep_room_for_large_blocks

LARGE = 1 << 20  # more than there is room for between what was imported
if sys.argv[1] != "as it is":
    keep_heap_small()
if sys.argv[1] == "roomy":
    keep_room_for_large_blocks()
for _ in range(3):
    np.ones(4 * LARGE, np.uint8)  # freed at once: by it glibc learns that such blocks come and go
block = np.ones(2 * LARGE, np.uint8)
heap = [line.split()[0].split("-") for line in open("/proc/self/maps") if line.rstrip().endswith("[heap]")]
print(any(int(start, 16) <= block.ctypes.data < int(end, 16) for start, end in heap))
"""

TRIMMED = """
import re, sys, time
from pathlib import Path
from molva.runtime.memory import keep_heap_small, trim_now_and_then

def held():
    return int(re.search(r"RssAnon:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024

keep_heap_small()
blocks = [b"." * 100_000 for _ in range(1000)]
del blocks[::2]
full = held()
if sys.argv[1] == "trimmed":
    trim_now_and_then(0.01)
    while held() > full - 40:
        time.sleep(0.01)
else:
    time.sleep(0.5)
print(full - held() > 40)
"""

CYCLES = """
import gc, sys, time, weakref
from molva.runtime.memory import pass_over_what_is_here, trim_now_and_then

class Node:
    def __init__(self):
        self.itself = self

gc.disable()  # as good as what Python does while there is little
early = Node()
pass_over_what_is_here()
late = Node()
watched = [weakref.ref(early), weakref.ref(late)]
del early, late
trim_now_and_then(0.01)
while watched[1]() is not None:
    time.sleep(0.01)
print(watched[0]() is not None)
"""


def test_what_only_cycles_hold_goes_unless_it_is_passed_over() -> None:
    ended = subprocess.run([sys.executable, "-c", CYCLES], capture_output=True, text=True, check=True, timeout=60)
    assert ended.stdout.strip() == "True"


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is glibc's malloc that learns")
@pytest.mark.parametrize(("heap", "is_in_heap"), [("as it is", "True"), ("small", "False"), ("roomy", "True")])
def test_large_blocks_lie_outside_of_the_heap_whatever_was_freed_before(heap: str, is_in_heap: str) -> None:
    ended = subprocess.run([sys.executable, "-c", WHERE, heap], capture_output=True, text=True, check=True, timeout=60)
    assert ended.stdout.strip() == is_in_heap


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is glibc's malloc that keeps")
@pytest.mark.parametrize(("heap", "goes_back"), [("as it is", "False"), ("trimmed", "True")])
def test_what_is_free_between_what_stays_goes_back(heap: str, goes_back: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", TRIMMED, heap], capture_output=True, text=True, check=True, timeout=60
    )
    assert ended.stdout.strip() == goes_back
