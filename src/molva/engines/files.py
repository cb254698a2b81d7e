"""Files of models as they come: they may be damaged, or made by somebody who means harm.

What is no ordinary file, or lies outside the model's folder, is not opened. A folder may be a link: whoever set it up
chose so. A file in it may lead elsewhere only within it.
"""

import json
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from molva.errors import ModelFilesInvalid, MolvaError

LARGEST_WEIGHTS = 64 << 30
"""Bytes of a file of weights alone. The largest ones of the catalog have 3 GB."""
LARGEST_TEXT = 16 << 20
"""Bytes. The largest one that molva knows, Whisper's tokenizer, has 2.7 MB."""


def check_file(path: Path, largest: int) -> int:
    """Size in bytes of an ordinary file in its own folder, which has `largest` at most. Opens nothing.

    Raises ModelFilesInvalid for all else.
    """
    try:
        target = path.resolve(strict=True)
        about = target.stat()
        is_inside = target.is_relative_to(path.parent.resolve(strict=True))
    except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: links that go round; ValueError: NUL
        raise ModelFilesInvalid(path.name, "is missing or cannot be looked at") from error
    if not is_inside:
        raise ModelFilesInvalid(path.name, "is a link that leads out of its folder; put the file itself there")
    if not stat.S_ISREG(about.st_mode):
        raise ModelFilesInvalid(path.name, "is not an ordinary file")
    if about.st_size > largest:
        raise ModelFilesInvalid(path.name, f"has {about.st_size:,} bytes, more than such a file ever has")
    return about.st_size


def read_text(path: Path) -> str:
    """A small file. Raises ModelFilesInvalid where it is none."""
    check_file(path, LARGEST_TEXT)
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelFilesInvalid(path.name, "cannot be read as UTF-8 text") from error


def read_json(path: Path) -> Any:
    """A small file of JSON. Raises ModelFilesInvalid where it is none."""
    try:
        return json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise ModelFilesInvalid(path.name, "is not JSON") from error


def read_object(path: Path) -> dict[str, Any]:
    """A small file with a JSON object. Raises ModelFilesInvalid where it is none."""
    content = read_json(path)
    if not isinstance(content, dict):
        raise ModelFilesInvalid(path.name, "is not a JSON object")
    return content


@contextmanager
def reading(path: Path, problem: str) -> Iterator[None]:
    """Whatever fails inside is the fault of the file: ModelFilesInvalid tells `problem`. Errors of ours pass."""
    try:
        yield
    except MolvaError:
        raise
    except Exception as error:  # readers of foreign formats raise whatever they like
        raise ModelFilesInvalid(path.name, problem) from error
