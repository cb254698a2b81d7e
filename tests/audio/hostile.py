"""Files that no encoder writes, byte by byte."""

import struct
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from molva.samples import SAMPLE_RATE


def wav(
    data: bytes, *, rate: int = SAMPLE_RATE, channels: int = 1, bits: int = 16, tag: int = 1, size: int | None = None
) -> bytes:
    """A WAV with the shortest header; `size` is what it claims about `data`."""
    block = channels * bits // 8
    layout = struct.pack("<HHIIHH", tag, channels, rate, rate * block & 0xFFFF_FFFF, block & 0xFFFF, bits)
    body = b"WAVEfmt " + struct.pack("<I", len(layout)) + layout
    body += b"data" + struct.pack("<I", len(data) if size is None else size) + data
    return b"RIFF" + struct.pack("<I", min(len(body), 0xFFFF_FFFF)) + body


def caf(values: NDArray[np.int16], labels: Sequence[int]) -> bytes:
    """A CAF of `values`, shape (samples, channels), whose channels are where `labels` (Core Audio's) say."""
    channels = len(labels)

    def chunk(name: bytes, content: bytes) -> bytes:
        return name + struct.pack(">q", len(content)) + content

    description = struct.pack(">d4sIIIII", SAMPLE_RATE, b"lpcm", 0, 2 * channels, 1, channels, 16)
    positions = b"".join(struct.pack(">IIfff", label, 0, 0, 0, 0) for label in labels)
    return (
        b"caff"
        + struct.pack(">HH", 1, 0)
        + chunk(b"desc", description)
        + chunk(b"chan", struct.pack(">III", 0, 0, channels) + positions)
        + chunk(b"data", bytes(4) + values.astype(">i2").tobytes())
    )


def ebml(identifier: str, *content: bytes, size: int | None = None) -> bytes:
    """One element of Matroska; `size` is what it claims about `content`."""
    payload = b"".join(content)
    return bytes.fromhex(identifier) + (1 << 56 | (len(payload) if size is None else size)).to_bytes(8, "big") + payload


def matroska(codec: str, private: bytes, channels: int, packets: Sequence[bytes]) -> bytes:
    """One audio track at 16 kHz whose packets are exactly `packets`."""
    return matroska_head(codec, private, channels) + ebml(
        "1F43B675",
        ebml("E7", b"\0"),
        *(ebml("A3", b"\x81" + struct.pack(">hB", 20 * i, 0x80) + packet) for i, packet in enumerate(packets)),
    )


def matroska_head(codec: str, private: bytes, channels: int) -> bytes:
    """All before the first cluster, in a segment of unknown size."""
    audio = ebml("E1", ebml("B5", struct.pack(">d", SAMPLE_RATE)), ebml("9F", bytes([channels])), ebml("6264", b"\x10"))
    track = ebml("AE", ebml("D7", b"\1"), ebml("83", b"\2"), ebml("86", codec.encode()), ebml("63A2", private), audio)
    return (
        ebml("1A45DFA3", ebml("4282", b"matroska"))
        + bytes.fromhex("18538067")
        + b"\x01"
        + b"\xff" * 7
        + ebml("1549A966", ebml("2AD7B1", (1_000_000).to_bytes(3, "big")))
        + ebml("1654AE6B", track)
    )


def box(name: bytes, *content: bytes) -> bytes:
    """One box of MP4."""
    payload = b"".join(content)
    return struct.pack(">I4s", 8 + len(payload), name) + payload


def full_box(name: bytes, *content: bytes, flags: int = 0) -> bytes:
    """A box that starts with its version, 0, and flags."""
    return box(name, struct.pack(">I", flags), *content)


def mov(reference: bytes, samples: int, *, fragment_samples: int = 0, data: bytes = b"") -> bytes:
    """A movie of 16-bit PCM in the file that `reference`, an entry of `dref`, points to.

    With `fragment_samples`, the samples are those of a fragment, which claims as many and lists none.
    """
    matrix = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
    header = full_box(
        b"mvhd", struct.pack(">IIIIIHxx8x", 0, 0, SAMPLE_RATE, samples, 0x10000, 0x100), matrix, bytes(28)
    )
    track = full_box(b"tkhd", struct.pack(">IIIII8xHHHxx", 0, 0, 1, 0, samples, 0, 0, 0x100), matrix, bytes(8), flags=3)
    media = full_box(b"mdhd", struct.pack(">IIIII", 0, 0, SAMPLE_RATE, samples, 0))
    handler = full_box(b"hdlr", b"mhlrsoun", bytes(13))
    sound = box(b"sowt", bytes(7), b"\1", bytes(8), struct.pack(">HHII", 1, 16, 0, SAMPLE_RATE << 16))
    entries = 0 if fragment_samples else 1
    table = box(
        b"stbl",
        full_box(b"stsd", struct.pack(">I", 1), sound),
        full_box(b"stts", struct.pack(">III", entries, samples, 1)[: 4 + 8 * entries]),
        full_box(b"stsc", struct.pack(">IIII", entries, 1, samples, 1)[: 4 + 12 * entries]),
        full_box(b"stsz", struct.pack(">II", 2, samples * entries)),
        full_box(b"stco", struct.pack(">II", entries, 36)[: 4 + 4 * entries]),
    )
    information = box(
        b"minf",
        full_box(b"smhd", bytes(4)),
        box(b"dinf", full_box(b"dref", struct.pack(">I", 1), reference)),
        table,
    )
    extends = box(b"mvex", full_box(b"trex", struct.pack(">IIIII", 1, 1, 1, 2, 0))) if fragment_samples else b""
    movie = box(b"moov", header, box(b"trak", track, box(b"mdia", media, handler, information)), extends)
    if not fragment_samples:
        return box(b"ftyp", b"qt  ", bytes(4), b"qt  ") + box(b"wide") + box(b"mdat", data) + movie

    def fragment(offset: int) -> bytes:
        samples_at = struct.pack(">Ii", fragment_samples, offset)
        head = full_box(b"tfhd", struct.pack(">I", 1), flags=0x20000)
        run = full_box(b"trun", samples_at, flags=1)
        return box(b"moof", full_box(b"mfhd", struct.pack(">I", 1)), box(b"traf", head, run))

    offset = len(fragment(0)) + 8
    return box(b"ftyp", b"isom", bytes(4), b"isom") + movie + fragment(offset) + box(b"mdat", data)


HERE = full_box(b"url ", flags=1)
"""The reference of a movie that holds its own data."""


def mac_alias(path: str) -> bytes:
    """A reference to another file, the way QuickTime points to media outside of the movie."""
    name = path.rsplit("/", 1)[-1].encode()[:31]
    where = path.encode()
    padded = struct.pack(">H", len(where)) + where + bytes(len(where) % 2)
    return full_box(
        b"alis",
        bytes(10),
        b"\3" + b"Mac".ljust(27, b"\0"),
        bytes(12),
        bytes([len(name)]) + name.ljust(63, b"\0"),
        bytes(16),
        struct.pack(">hh", 1, 1),
        bytes(16),
        struct.pack(">h", 2) + padded,
        struct.pack(">h", 18) + padded,
        struct.pack(">hH", -1, 0),
    )


def flac_silence(channels: int, samples: int, rate: int = SAMPLE_RATE) -> tuple[bytes, bytes]:
    """The head of a file, also the private data of a track, and one frame of `samples` zeros, some 30 bytes long."""
    frame = bytes([0xFF, 0xF8, 0x70, (channels - 1) << 4 | 4 << 1, 0]) + struct.pack(">H", samples - 1)
    frame += crc(frame, 0x07, 8) + bytes(3 * channels)
    frame += crc(frame, 0x8005, 16)
    description = rate << 44 | (channels - 1) << 41 | 15 << 36
    info = struct.pack(">HH", samples, samples) + bytes(6) + description.to_bytes(8, "big") + bytes(16)
    return b"fLaC\x80\0\0\x22" + info, frame


def crc(data: bytes, polynomial: int, bits: int) -> bytes:
    value = 0
    for byte in data:
        value ^= byte << bits - 8
        for _ in range(8):
            value = (value << 1 ^ (polynomial if value >> bits - 1 else 0)) & (1 << bits) - 1
    return value.to_bytes(bits // 8, "big")
