"""How long a file says it is. Only what its header states: FFmpeg's estimates from size and bit rate are not told apart
in its answers, and they are wrong by any factor for variable bit rates."""

import os
import re
import struct
from typing import BinaryIO

from av.audio.stream import AudioStream
from av.container import InputContainer

_MICROSECONDS = 1_000_000
_STATED_PER_STREAM = frozenset({"mov,mp4,m4a,3gp,3g2,mj2", "flac", "aiff", "au"})
_STATED_PER_FILE = "matroska,webm"
# Recorders that cannot go back to fill in the size of a WAV leave a number near 2 or 4 GiB, each its own.
_WAV_PLACEHOLDER_BYTES = 0x7FF0_0000
_WAV_CHUNKS = 64
"""As many are looked at before the sound; real files have a handful, hostile ones millions."""
_XING = re.compile(rb"(?:Xing|Info)\0\0\0[\x01-\x0f](....)", re.DOTALL)
_XING_WITHIN_BYTES = 256


def declared_duration(container: InputContainer, stream: AudioStream, file: BinaryIO) -> float | None:
    """Seconds of `stream` as its header states them, None where it does not. Moves the position in `file`."""
    context = stream.codec_context
    match container.format.name:
        case "wav":
            size = _wav_data_bytes(file)
            if size is not None and context.name.startswith("pcm_") and context.bit_rate:
                return size * 8 / context.bit_rate
        case "mp3":
            frames = _xing_frames(file)
            if frames is not None:
                return frames * context.frame_size / context.sample_rate
        # One duration for the whole file is that of its longest stream, which may well be the picture.
        case name if name == _STATED_PER_FILE and len(container.streams) == 1 and container.duration is not None:
            return max(0.0, (container.duration - max(0, container.start_time or 0)) / _MICROSECONDS)
        case name if name in _STATED_PER_STREAM and stream.duration is not None and stream.time_base is not None:
            return float(stream.duration * stream.time_base)
    return None


def _wav_data_bytes(file: BinaryIO) -> int | None:
    file.seek(0)
    if file.read(4) != b"RIFF":
        return None
    file.seek(12)
    for _ in range(_WAV_CHUNKS):
        header = file.read(8)
        if len(header) < 8:
            return None
        name, size = struct.unpack("<4sI", header)
        if name == b"data":
            return size if 0 < size < _WAV_PLACEHOLDER_BYTES else None
        file.seek(size + size % 2, os.SEEK_CUR)
    return None


def _xing_frames(file: BinaryIO) -> int | None:
    """The number of MPEG frames from the note that encoders leave in the first one."""
    file.seek(0)
    start = 0
    tag = file.read(10)
    if tag[:3] == b"ID3" and len(tag) == 10:
        start = 10 + (tag[6] << 21 | tag[7] << 14 | tag[8] << 7 | tag[9])
    file.seek(start)
    note = _XING.search(file.read(_XING_WITHIN_BYTES))
    return int.from_bytes(note[1], "big") if note else None
