"""Encoders are rebuilt in a process of their own: it takes 2 GB, of which the allocators would keep most.

The parent writes the speech to the child's standard input and keeps that open: when it ends, however that comes, so
does the child. The answer is one line of JSON on standard output.
"""

import _thread
import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import cast

import numpy as np

from molva.engines.gigaam.rebuild import rebuild
from molva.engines.gigaam.weights import Format
from molva.errors import DiskFull, ModelError, ModelFilesInvalid
from molva.samples import Samples

ERRORS = {kind.__name__: kind for kind in (ModelError, ModelFilesInvalid, DiskFull)}
"""What `rebuild` raises."""

CLEAN_UP_S = 10.0
"""How long a child whose parent has gone may take to remove its files."""


def rebuild_apart(encoder: Path, folder: Path, form: Format, speech: Samples, version: str) -> float:
    """`rebuild` in a child process: the same result, the same errors.

    Raises ModelError too where the child ends without an answer.
    """
    command = [sys.executable, "-P", "-m", __name__, str(encoder), str(folder), form, version, str(speech.size)]
    # A session of its own: an interrupt from the keyboard is for the parent, whose end reaches the child anyway.
    child = subprocess.Popen(  # noqa: S603 - our own module
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path)},
        start_new_session=True,
    )
    assert child.stdin is not None  # noqa: S101 - they are pipes
    assert child.stdout is not None  # noqa: S101
    try:
        with contextlib.suppress(BrokenPipeError):  # it has failed already; its status tells
            child.stdin.write(speech.astype(np.float32).tobytes())
            child.stdin.flush()
        answer = child.stdout.read()
    finally:
        with contextlib.suppress(BrokenPipeError):
            child.stdin.close()
        child.stdout.close()
        child.wait()
    return _read(answer, encoder, child.returncode)


def _read(answer: bytes, encoder: Path, status: int) -> float:
    try:
        outcome = json.loads(answer)
    except ValueError:
        raise ModelError(
            f"'{encoder.name}' could not be rebuilt: its process ended with status {status}. Was there enough memory?"
        ) from None
    if "error" in outcome:
        raise ERRORS[outcome["error"]](*outcome["arguments"])
    return float(outcome["agreement"])


def main() -> None:
    """The child."""
    encoder, folder, form, version, size = sys.argv[1:]
    speech = np.frombuffer(sys.stdin.buffer.read(int(size) * np.dtype(np.float32).itemsize), np.float32)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    outcome: dict[str, object]
    try:
        outcome = {"agreement": rebuild(Path(encoder), Path(folder), cast(Format, form), speech, version)}
    except ModelFilesInvalid as error:
        outcome = {"error": type(error).__name__, "arguments": [error.file_name, error.problem]}
    except ModelError as error:
        outcome = {"error": type(error).__name__, "arguments": [str(error)]}
    except KeyboardInterrupt:
        return  # the files are removed, and nobody listens
    print(json.dumps(outcome))  # noqa: T201 - that is its answer


def _end_with_parent() -> None:
    """End when standard input does: by an interrupt, which removes half-made files on its way."""
    # Not through sys.stdin, whose lock would be held when the interpreter ends.
    while os.read(0, 1):
        pass
    _thread.interrupt_main()
    time.sleep(CLEAN_UP_S)
    os._exit(1)


if __name__ == "__main__":
    main()
