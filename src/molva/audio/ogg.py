"""Where the links of a chained Ogg file begin. FFmpeg follows a chain only while rate and channels stay the same."""

from typing import BinaryIO

_MAX_LINKS = 1000
"""Each one costs an opening, and fits into some 60 bytes."""

_PAGE_HEADER = 27
_CAPTURE = b"OggS\0"
_FIRST_PAGE = 0x02
_CHUNK = 1 << 16


def link_starts(file: BinaryIO) -> list[int]:
    """Byte offsets in ascending order; none where the file is not Ogg. Damage in between is stepped over."""
    starts: list[int] = []
    position: int | None = 0
    among_first_pages = False
    while position is not None and len(starts) < _MAX_LINKS:
        file.seek(position)
        header = file.read(_PAGE_HEADER)
        if len(header) < _PAGE_HEADER or (position == 0 and not header.startswith(_CAPTURE)):
            break
        if not header.startswith(_CAPTURE):
            position = _next_page(file, position)
            continue
        # The number and the time must be 0 too: a damaged flag is no new link.
        is_first = bool(header[5] & _FIRST_PAGE) and not any(header[6:14]) and not any(header[18:22])
        if is_first and not among_first_pages:
            starts.append(position)
        among_first_pages = is_first
        position += _PAGE_HEADER + header[26] + sum(file.read(header[26]))
    return starts


def _next_page(file: BinaryIO, position: int) -> int | None:
    """Offset of what looks like a page from `position` on."""
    file.seek(position)
    window = b""
    while chunk := file.read(_CHUNK):
        window = window[-len(_CAPTURE) + 1 :] + chunk
        found = window.find(_CAPTURE)
        if found >= 0:
            return file.tell() - len(window) + found
    return None
