"""Lets gigastt's bindings load where glibc is older than the 2.38 that they were built with.

They want the C23 names of functions that every glibc has under their older names. A library with the new names is
compiled on the fly and preloaded.
"""

import ctypes
import os
import subprocess
from pathlib import Path

SOURCE = """#include <stdlib.h>
#define RENAMED(type, name) \\
    type __isoc23_##name(const char *text, char **end, int base) { return name(text, end, base); }
RENAMED(long, strtol)
RENAMED(long long, strtoll)
RENAMED(unsigned long, strtoul)
RENAMED(unsigned long long, strtoull)
"""


def is_old() -> bool:
    """Whether this machine's C library lacks the names."""
    return not hasattr(ctypes.CDLL(None), "__isoc23_strtol")


def preloading(folder: Path) -> dict[str, str]:
    """The environment of a process that needs the names. Raises CalledProcessError or FileNotFoundError without gcc."""
    if not is_old():
        return dict(os.environ)
    library = folder / "glibc-2.38-names.so"
    if not library.exists():
        compiler = ["gcc", "-O2", "-shared", "-fPIC", "-x", "c", "-", "-o", str(library)]
        subprocess.run(compiler, input=SOURCE, text=True, check=True)
    preloaded = [str(library), *os.environ.get("LD_PRELOAD", "").split()]
    return {**os.environ, "LD_PRELOAD": " ".join(preloaded)}
