"""Files and variables that operators write. They are no enemies, but a mistake deserves an answer, not a traceback."""

import os
import tempfile
from pathlib import Path
from unittest.mock import patch

from molva.configuration import read_configuration, shown
from molva.errors import SettingsError
from molva.keys import KeyFile, KeyRing
from molva.settings import Settings

_FOLDER = tempfile.TemporaryDirectory(prefix="molva-fuzz-")
FOLDER = Path(_FOLDER.name)


def environment(data: bytes) -> None:
    """Variables, a line `NAME=value` for each."""
    lines = (line.partition("=") for line in os.fsdecode(data).replace("\0", "").split("\n"))
    variables = {name: value for name, _, value in lines if name}
    home = {"HOME": str(FOLDER), "MOLVA_DATA_DIR": str(FOLDER)}
    with patch.dict(os.environ, home | variables, clear=True):
        _read(None)


def toml(data: bytes) -> None:
    """The configuration file."""
    file = FOLDER / "given.toml"
    file.write_bytes(data)
    with patch.dict(os.environ, {"HOME": str(FOLDER)}, clear=True):
        _read(file)


def _read(file: Path | None) -> None:
    try:
        configuration = read_configuration(file)
    except SettingsError:
        return
    settings = configuration.settings
    for name in Settings.model_fields:
        shown(name, getattr(settings, name))
    for name, member in vars(Settings).items():
        if isinstance(member, property):
            getattr(settings, name)


def key_file(data: bytes) -> None:
    """What is in the file of keys."""
    file = FOLDER / "keys.json"
    file.write_bytes(data)
    try:
        KeyFile(file).read()
    except SettingsError:
        readable = False
    else:
        readable = True
    ring = KeyRing(file)
    assert ring.check("no key") is None
    assert readable or ring.asks
