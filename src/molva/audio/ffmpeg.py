"""FFmpeg on a leash: a stranger's file -> its sound, packet by packet.

FFmpeg, in the libraries that come with PyAV, sees one nameless stream of bytes and can open nothing else. Which of its
parts may run is listed, and what it may hold in memory is limited, whatever a header claims.
"""

import ctypes
import io
import logging
import os
from collections.abc import Generator, Iterator
from contextlib import closing
from typing import BinaryIO, cast

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame
from av.audio.plane import AudioPlane
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard
from numpy.typing import NDArray

from molva.audio.declared import declared_duration
from molva.audio.resample import check_rate
from molva.errors import AudioError
from molva.samples import MAX_SIDES, Channels

log = logging.getLogger(__name__)

CONTAINERS = "wav,w64,aiff,au,caf,mp3,aac,flac,ogg,matroska,mov,amr,asf"
"""Demuxers that may read a file. No playlists, no lists of files, no sessions, no raw formats."""

CODECS = frozenset(
    {
        *(name for name in av.codecs_available if name.startswith("pcm_")),
        *("adpcm_ima_qt", "adpcm_ima_wav", "adpcm_ms", "g722", "g726", "g726le"),
        *("gsm", "gsm_ms", "g723_1", "g729", "ilbc", "truespeech", "speex", "amrnb", "amrwb"),
        *("aac", "mp1", "mp1float", "mp2", "mp2float", "mp3", "mp3float", "ac3", "eac3", "dca"),
        *("opus", "vorbis", "flac", "alac", "wmav1", "wmav2", "wmavoice"),
    }
)
"""Decoders that may run. Sound only: the picture of a video is never decoded, not even to look at it."""

_MAX_FRAME_SAMPLES = 1 << 22
"""Of all channels together: 32 MiB as float64, and eight times what any codec makes."""

_MAX_ALLOCATION_BYTES = 64 << 20
"""The index of 15 hours of AAC fits; a sample table that claims billions of samples in a few bytes does not."""

_MAX_READ_BYTES = 64 << 20
"""As much may be read in search of the next packet: headers, attachments, pictures."""

_MAX_READ_ERRORS = 16
"""In a row; where as many attempts found no packet, there is none."""

# PyAV decodes a packet into a list of all its frames. Made in good faith a packet is one frame, but thousands of
# frames of silence fit into it. These are sizes that one frame does not reach.
_MAX_PACKET_BYTES = {"aac": 8 << 10, "opus": 64 << 10, "vorbis": 64 << 10, "dca": 64 << 10} | dict.fromkeys(
    ("flac", "alac"), 512 << 10
)
_MAX_PACKET_BYTES_OTHER = 16 << 10
_FLAC_FRAME_MARKS = (b"\xff\xf8", b"\xff\xf9")

_OPTIONS = {
    "format_whitelist": CONTAINERS,
    "codec_whitelist": ",".join(sorted(CODECS)),
    "protocol_whitelist": "none",
    "max_streams": "32",
    "max_samples": str(_MAX_FRAME_SAMPLES),
    # Looking for missing timestamps, FFmpeg may keep the whole file in memory; nobody asks for them here.
    "fflags": "-genpts",
}

# FFmpeg's own decoders fail on the frames of silence (DTX) in recorded phone calls, and each one left out moves all
# later times.
_AMR = {"amrnb": "libopencore_amrnb", "amrwb": "libopencore_amrwb"}

_SAMPLE_FORMATS: dict[str, tuple[str, float, float]] = {
    "u8": ("u1", 2.0**7, 2.0**7),
    "s16": ("i2", 0, 2.0**15),
    "s32": ("i4", 0, 2.0**31),
    "s64": ("i8", 0, 2.0**63),
    "flt": ("f4", 0, 1),
    "dbl": ("f8", 0, 1),
}
"""FFmpeg's name -> how numpy reads it, its zero, its full scale."""


def _limit_allocations() -> None:
    """The one limit that all of FFmpeg respects. PyAV has no call for it; it holds for the whole process."""
    try:
        av_max_alloc = ctypes.CDLL(av._core.__file__).av_max_alloc
    except (OSError, AttributeError):
        log.warning("this build of PyAV hides FFmpeg's memory limit; a hostile file may take gigabytes")
        return
    av_max_alloc.argtypes = [ctypes.c_size_t]
    av_max_alloc.restype = None
    av_max_alloc(_MAX_ALLOCATION_BYTES)


_limit_allocations()


class Track:
    """The best audio track of a file."""

    def __init__(self, file: BinaryIO, start: int = 0, end: int | None = None) -> None:
        """Of all that lies in `file` from byte `start` to `end`; other users may move its position in between.

        Raises AudioError where there is none that can be decoded; OSError where the file cannot be read.
        """
        self._input = _Input(file, start, end)
        try:
            self._container = av.open(
                self._input, "r", options=_OPTIONS, metadata_errors="replace", io_open=_open_nothing
            )
        except av.FFmpegError as error:
            raise AudioError from error
        try:
            self._stream = _find_stream(self._container)
            self._decoder = _open_decoder(self._stream)
            self.declared_s = declared_duration(self._container, self._stream, file)
            """Seconds that the header states, None where it states nothing."""
        except BaseException:
            self._container.close()
            raise
        self.damaged = False
        """Whether something had to be left out so far."""

    def close(self) -> None:
        self._container.close()

    def sound(self, channels: Channels = "mix") -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Rate in Hz and samples, shape (n_sides, n), frame by frame; both may change in the middle of a file.

        Raises AudioError where there are more channels to split than `MAX_SIDES`.
        """
        for packet in self._packets():
            if not _is_plausible(self._stream.codec_context.name, packet):
                self.damaged = True
                continue
            yield from self._decode(packet, channels)
        yield from self._decode(None, channels)

    def _packets(self) -> "Iterator[Packet[AudioStream]]":
        errors = 0
        while errors < _MAX_READ_ERRORS:
            try:
                # One of PyAV's that is left in the middle loses some memory for good, unless it is closed.
                found = self._container.demux(self._stream)
                with closing(cast("Generator[Packet[AudioStream]]", found)) as packets:
                    for packet in packets:
                        self._input.refill()
                        # An empty packet would tell the decoder that the end has come.
                        if packet.size:
                            errors = 0
                            yield packet
            except av.FFmpegError:
                self.damaged = True
                errors += 1
            else:
                return

    def _decode(
        self, packet: "Packet[AudioStream] | None", channels: Channels
    ) -> Iterator[tuple[int, NDArray[np.float32]]]:
        try:
            frames = self._decoder.decode(packet)
        except av.FFmpegError:
            self.damaged = True
            return
        for frame in frames:
            if frame.samples:
                yield frame.sample_rate, _sides(frame, channels)


class _Input:
    """The bytes as FFmpeg sees them: without a name, and with an end where too much was read for nothing."""

    def __init__(self, file: BinaryIO, start: int, end: int | None) -> None:
        self._file = file
        self._start = start
        self._end = file.seek(0, os.SEEK_END) if end is None else end
        self._position = start
        self._left = _MAX_READ_BYTES

    def refill(self) -> None:
        self._left = _MAX_READ_BYTES

    def read(self, size: int) -> bytes:
        size = min(size, self._left, self._end - self._position)
        if size <= 0:
            return b""
        self._file.seek(self._position)
        data = self._file.read(size)
        self._position += len(data)
        self._left -= len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: self._start, os.SEEK_CUR: self._position, os.SEEK_END: self._end}[whence]
        if base + offset < self._start:
            # Broken headers point anywhere; FFmpeg takes a negative answer for an error.
            return -1
        self._position = base + offset
        return self.tell()

    def tell(self) -> int:
        return self._position - self._start


def _open_nothing(*_: object) -> BinaryIO:
    """In place of every other file that a demuxer might want."""
    return io.BytesIO()


def _find_stream(container: InputContainer) -> AudioStream:
    best = container.streams.best("audio")
    # The decoder is absent where FFmpeg has none, whatever PyAV's type says.
    usable = [s for s in container.streams.audio if s.codec_context is not None and s.codec_context.name in CODECS]
    if not usable:
        raise AudioError
    chosen = next((stream for stream in usable if stream is best), usable[0])
    for stream in container.streams:
        if stream is not chosen:
            stream.discard = Discard.all
    return chosen


def _open_decoder(stream: AudioStream) -> AudioCodecContext:
    decoder = stream.codec_context
    check_rate(decoder.sample_rate)
    # PyAV 17.1 to 19.0 frees the memory of a custom channel layout twice, here and with every frame: a file with its
    # channels in an odd order ends the process. Only their number matters, so it takes the place of the layout before
    # anything else asks for it.
    channels = decoder.channels
    if channels:
        decoder.layout = f"{channels} channels"
    if _AMR.get(decoder.name) in av.codecs_available:
        rate = decoder.sample_rate
        decoder = cast(AudioCodecContext, av.CodecContext.create(_AMR[decoder.name], "r"))
        decoder.sample_rate = rate
        decoder.layout = "mono"
    decoder.thread_count = 1
    decoder.options = {"max_samples": str(_MAX_FRAME_SAMPLES)}
    try:
        decoder.open()
    except av.FFmpegError as error:
        raise AudioError from error
    return decoder


def _is_plausible(codec: str, packet: "Packet[AudioStream]") -> bool:
    """Whether the packet can be decoded without filling the memory."""
    if codec.startswith("pcm_"):
        return True
    if packet.size > _MAX_PACKET_BYTES.get(codec, _MAX_PACKET_BYTES_OTHER):
        return False
    if codec == "flac":
        data = bytes(packet)
        # By chance, something like the start of a frame is in every 32 KiB.
        return sum(data.count(mark) for mark in _FLAC_FRAME_MARKS) <= 16 + len(data) // 4096
    return True


def _sides(frame: AudioFrame, wanted: Channels) -> NDArray[np.float32]:
    """The mean of all channels, or each by itself; shape (n_sides, samples), full scale at 1."""
    dtype, zero, scale = _SAMPLE_FORMATS[frame.format.name.removesuffix("p")]
    channels = frame.layout.nb_channels
    if wanted == "split" and channels > MAX_SIDES:
        raise AudioError(
            f"The recording has {channels} channels; at most {MAX_SIDES} can be transcribed by themselves."
        )
    # `frame.planes` reads beyond its end from eight planes on, so they are taken one by one.
    if frame.format.is_planar:
        parts = [np.frombuffer(memoryview(AudioPlane(frame, i)), dtype, frame.samples) for i in range(channels)]
    else:
        packed = np.frombuffer(memoryview(AudioPlane(frame, 0)), dtype, frame.samples * channels)
        parts = list(packed.reshape(-1, channels).T)
    with np.errstate(over="ignore", invalid="ignore"):
        if wanted == "split":
            return np.stack([((part.astype(np.float64) - zero) / scale).astype(np.float32) for part in parts])
        total = np.zeros(frame.samples)
        for part in parts:
            total += part
        return ((total / channels - zero) / scale).astype(np.float32)[np.newaxis]
