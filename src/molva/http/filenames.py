"""What a client calls its file: a text to show, decoded, without folders, and never a path."""

import re
import unicodedata
from collections.abc import Mapping
from urllib.parse import unquote_to_bytes

MAX_CHARACTERS = 255
CONTROLS = frozenset({"Cc", "Zl", "Zp"})
"""Unicode categories of what would break a line or steer a terminal."""

_PIECE = re.compile(r"filename\*(?:(\d{1,4})(\*?))?")
_EXTENDED = re.compile(r"([\w-]*)'[^']*'(.*)", re.ASCII | re.DOTALL)


def sent_name(parameters: Mapping[str, str]) -> str | None:
    """The name in the parameters of a Content-Disposition, unquoted and by name in lower case; None without one.

    Some clients send names that are not ASCII as RFC 2231 has it: `filename*=utf-8''%D1%8F.ogg`, or in pieces,
    `filename*0` and so on. Such a name says more than the plain one beside it.
    """
    pieces = [(found, value) for name, value in parameters.items() if (found := _PIECE.fullmatch(name))]
    if not pieces:
        return base_name(parameters["filename"]) if "filename" in parameters else None
    pieces.sort(key=lambda piece: int(piece[0][1] or 0))
    charset, name = "", b""
    for found, value in pieces:
        encoded = found[1] is None or found[2] == "*"
        if encoded and not name and (extended := _EXTENDED.fullmatch(value)):
            charset, value = extended[1].lower(), extended[2]
        name += unquote_to_bytes(value) if encoded else value.encode()
    return base_name(name.decode("latin-1" if charset == "iso-8859-1" else "utf-8", "replace"))


def base_name(name: str) -> str:
    """The last part of a path of any system, without control characters, cut to MAX_CHARACTERS."""
    last = name.replace("\\", "/").rpartition("/")[2]
    return "".join(char for char in last if unicodedata.category(char) not in CONTROLS)[:MAX_CHARACTERS]
