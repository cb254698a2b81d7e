"""The same recording in many containers and codecs, made on the fly.

`VARIANTS["mp3"].encode(samples)` gives the bytes of a file; `encode()` makes any other combination.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

import av
import numpy as np
import soxr
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.stream import VideoStream

from molva.samples import SAMPLE_RATE, Samples

_LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}
_VIDEO_SIZE = 64
_VIDEO_RATE = 25


def encode(
    samples: Samples,
    container: str,
    codec: str,
    *,
    rate: int = SAMPLE_RATE,
    channels: int = 1,
    video: bool = False,
    options: dict[str, str] | None = None,
) -> bytes:
    """The bytes of a file with `samples` in every channel; `container` and `codec` are FFmpeg's names."""
    return encode_channels([samples] * channels, container, codec, rate=rate, video=video, options=options)


def encode_channels(
    sides: Sequence[Samples],
    container: str,
    codec: str,
    *,
    rate: int = SAMPLE_RATE,
    video: bool = False,
    options: dict[str, str] | None = None,
) -> bytes:
    """The bytes of a file with a channel for each of `sides`, which are equally long."""
    if rate != SAMPLE_RATE:
        sides = [soxr.resample(side, SAMPLE_RATE, rate) for side in sides]
    interleaved, n_samples = np.stack(sides, axis=1), len(sides[0])
    target = io.BytesIO()
    with av.open(target, "w", format=container) as output:
        picture = _add_video(output) if video else None
        layout = _LAYOUTS[len(sides)]
        stream = cast(AudioStream, output.add_stream(codec, rate=rate, options=options or {}, layout=layout))
        if picture is not None:
            for _ in range(round(n_samples / rate * _VIDEO_RATE)):
                output.mux(picture.encode(_black()))
            output.mux(picture.encode(None))
        for start in range(0, n_samples, rate):
            block = interleaved[start : start + rate].ravel()
            frame = av.AudioFrame.from_ndarray(block[np.newaxis], format="flt", layout=layout)
            frame.sample_rate = rate
            frame.pts = start
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return target.getvalue()


def _add_video(output: OutputContainer) -> VideoStream:
    return output.add_stream("mpeg4", rate=_VIDEO_RATE, width=_VIDEO_SIZE, height=_VIDEO_SIZE, pix_fmt="yuv420p")


def _black() -> av.VideoFrame:
    return av.VideoFrame.from_ndarray(np.zeros((_VIDEO_SIZE, _VIDEO_SIZE, 3), np.uint8), format="rgb24")


@dataclass(frozen=True)
class Variant:
    """One way to store a recording."""

    container: str
    codec: str
    suffix: str
    media_type: str
    rate: int = SAMPLE_RATE
    channels: int = 1
    video: bool = False
    options: dict[str, str] = field(default_factory=dict)

    def encode(self, samples: Samples) -> bytes:
        return encode(
            samples,
            self.container,
            self.codec,
            rate=self.rate,
            channels=self.channels,
            video=self.video,
            options=self.options,
        )


VARIANTS = {
    "wav": Variant("wav", "pcm_s16le", ".wav", "audio/wav"),
    "mp3": Variant("mp3", "libmp3lame", ".mp3", "audio/mpeg", rate=44_100, channels=2),
    "m4a": Variant("ipod", "aac", ".m4a", "audio/mp4", rate=44_100, channels=2),
    # FFmpeg's own Vorbis encoder knows stereo only.
    "ogg-vorbis": Variant(
        "ogg", "vorbis", ".ogg", "audio/ogg", rate=44_100, channels=2, options={"strict": "experimental"}
    ),
    "ogg-opus": Variant("ogg", "libopus", ".opus", "audio/ogg", rate=48_000),
    "flac": Variant("flac", "flac", ".flac", "audio/flac"),
    "webm": Variant("webm", "libopus", ".webm", "audio/webm", rate=48_000),
    "mp4-video": Variant("mp4", "aac", ".mp4", "video/mp4", rate=48_000, channels=2, video=True),
    "mkv": Variant("matroska", "flac", ".mkv", "video/x-matroska", rate=48_000, channels=6),
    "amr": Variant("amr", "libopencore_amrnb", ".amr", "audio/amr", rate=8_000),
    "wav-mulaw": Variant("wav", "pcm_mulaw", ".wav", "audio/wav", rate=8_000),
    "au-mulaw": Variant("au", "pcm_mulaw", ".au", "audio/basic", rate=8_000),
}
"""What clients really send, two more than ten; all of it must be understood."""
