"""What a header promises, and the alarm where the file does not hold it: sure of itself, or silent."""

import io
import struct

import av
import numpy as np
import pytest

from molva.audio.decode import AudioReader
from molva.samples import Samples, seconds
from tests.audio.hostile import wav
from tests.media import VARIANTS, encode


def read(data: bytes) -> AudioReader:
    """A reader that has come to its end."""
    with AudioReader(data) as reader:
        for _ in reader:
            pass
    return reader


STATED = ["wav", "mp3", "m4a", "flac", "webm", "mp4-video", "mkv", "wav-mulaw", "au-mulaw"]
CUT_IN_HALF = [name for name in STATED if VARIANTS[name].container not in ("ipod", "mp4")]
"""MP4 has its table of contents at the end, so half of it is nothing."""


@pytest.mark.parametrize("name", VARIANTS)
def test_a_whole_file_raises_no_alarm(name: str, clips: dict[str, bytes]) -> None:
    assert read(clips[name]).shortfall_s == 0


@pytest.mark.parametrize("name", VARIANTS)
def test_only_what_a_header_states_is_declared(name: str, speech: Samples, clips: dict[str, bytes]) -> None:
    with AudioReader(clips[name]) as reader:
        if name in STATED:
            # 0.05 s: the delay and padding of MP3, which its count of frames includes.
            assert reader.declared_duration == pytest.approx(seconds(len(speech)), abs=0.05)
        else:
            assert reader.declared_duration is None


@pytest.mark.parametrize("name", CUT_IN_HALF)
def test_half_a_file_is_noticed(name: str, speech: Samples, clips: dict[str, bytes]) -> None:
    reader = read(clips[name][: len(clips[name]) // 2])
    assert reader.duration > 1
    assert reader.shortfall_s == pytest.approx(seconds(len(speech)) - reader.duration, abs=0.05)


def test_there_is_no_alarm_before_the_end(clips: dict[str, bytes]) -> None:
    with AudioReader(clips["wav"][:50_000]) as reader:
        next(iter(reader))
        assert reader.shortfall_s == 0


@pytest.mark.parametrize(
    ("missing_s", "noticed"),
    [(0.4, False), (0.6, True)],
)
def test_half_a_second_is_tolerated(missing_s: float, noticed: bool) -> None:
    pcm = bytes(2 * 16_000 * 5)
    reader = read(wav(pcm, size=len(pcm) + round(missing_s * 32_000)))
    assert reader.shortfall_s == pytest.approx(missing_s if noticed else 0)


@pytest.mark.parametrize("size", [0, 0x7FFF_0000, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF])
def test_a_wav_written_to_a_pipe_declares_nothing(size: int) -> None:
    reader = read(wav(bytes(64_000), size=size))
    assert (reader.declared_duration, reader.duration, reader.shortfall_s) == (None, 2, 0)


def test_a_variable_bit_rate_without_a_note_declares_nothing(speech: Samples) -> None:
    """FFmpeg would guess from the first frame: silence here, at a tenth of the bits of what follows."""
    silence = np.zeros(16_000, np.float32)
    data = encode(
        np.concatenate([silence, speech]), "mp3", "libmp3lame", options={"flags": "+qscale", "global_quality": "590"}
    )
    note = data.index(b"Xing")
    reader = read(data[:note] + bytes(4) + data[note + 4 :])
    assert (reader.declared_duration, reader.shortfall_s) == (None, 0)


def test_joined_mp3_files_raise_no_alarm(clips: dict[str, bytes]) -> None:
    reader = read(clips["mp3"] * 2)
    assert reader.duration > 10
    assert reader.shortfall_s == 0


def test_a_tag_with_a_picture_does_not_hide_the_note_of_mp3(clips: dict[str, bytes]) -> None:
    picture = b"APIC" + struct.pack(">IH", 20_000, 0) + b"\0image/jpeg\0\3\0" + bytes(19_986)
    size = bytes(len(picture) >> shift & 0x7F for shift in (21, 14, 7, 0))
    tagged = b"ID3\3\0\0" + size + picture + clips["mp3"][clips["mp3"].index(b"\xff\xfb") :]
    assert read(tagged[: len(tagged) // 2]).shortfall_s > 1


def test_a_video_longer_than_its_sound_raises_no_alarm(speech: Samples) -> None:
    """Matroska declares one duration, that of the longest stream."""
    target = io.BytesIO()
    with av.open(target, "w", format="matroska") as output:
        video = output.add_stream("mpeg4", rate=25, width=64, height=64, pix_fmt="yuv420p")
        audio = output.add_stream("libopus", rate=48_000, layout="mono")
        black = np.zeros((64, 64, 3), np.uint8)
        for _ in range(25 * 20):
            output.mux(video.encode(av.VideoFrame.from_ndarray(black, format="rgb24")))
        frame = av.AudioFrame.from_ndarray(speech[np.newaxis], format="flt", layout="mono")
        frame.sample_rate = 16_000
        output.mux(audio.encode(frame))
        output.mux([*video.encode(None), *audio.encode(None)])
    reader = read(target.getvalue())
    assert reader.duration == pytest.approx(seconds(len(speech)), abs=0.05)
    assert reader.shortfall_s == 0


def test_a_recording_that_starts_late_raises_no_alarm(speech: Samples) -> None:
    """Matroska counts from 0, not from the first sound."""
    target = io.BytesIO()
    with av.open(target, "w", format="matroska") as output:
        audio = output.add_stream("flac", rate=16_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(speech[np.newaxis], format="flt", layout="mono")
        frame.sample_rate = 16_000
        frame.pts = 160_000
        output.mux([*audio.encode(frame), *audio.encode(None)])
    reader = read(target.getvalue())
    assert reader.declared_duration == pytest.approx(seconds(len(speech)), abs=0.1)
    assert reader.shortfall_s == 0
