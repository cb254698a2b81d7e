"""One recording in many containers and codecs is one recording: against the wave module, numpy and known formulas."""

import io
import struct
import threading
import wave
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soxr
from numpy.typing import NDArray

from molva.audio.decode import BLOCK, AudioReader, decode
from molva.errors import AudioError, AudioTooLong, EmptyAudio
from molva.samples import SAMPLE_RATE, Samples, seconds
from tests.audio.hostile import caf, wav
from tests.media import VARIANTS, encode


def band_limited(samples: Samples, rate: int) -> Samples:
    """What is left after a stay at `rate`."""
    return np.asarray(soxr.resample(soxr.resample(samples, SAMPLE_RATE, rate), rate, SAMPLE_RATE), np.float32)


def align(decoded: Samples, original: Samples) -> tuple[int, float]:
    """Delay of `decoded` in samples, and how well it correlates with `original` once that is taken out."""
    size = 1 << (len(decoded) + len(original)).bit_length()
    product = np.fft.rfft(decoded, size) * np.conj(np.fft.rfft(original, size))
    peak = int(np.argmax(np.fft.irfft(product, size)))
    delay = peak if peak < size // 2 else peak - size
    left, right = decoded[max(delay, 0) :], original[max(-delay, 0) :]
    common = min(len(left), len(right))
    return delay, float(np.corrcoef(left[:common], right[:common])[0, 1])


@dataclass(frozen=True)
class Close:
    """How near to the original a codec must come."""

    correlation: float
    delay_s: float = 0.0
    """Where the file does not tell the encoder's delay, it stays in the audio."""
    length_s: float = 0.0


# The correlations are what the encoders reach at their default bit rates, rounded down.
CLOSE = {
    "wav": Close(0.999999),
    "flac": Close(0.999999),
    "mkv": Close(0.999999),
    "mp3": Close(0.999),
    # Without the padding of the last frame of 1024 samples noted in the file, up to 23 ms of it are left.
    "m4a": Close(0.999, length_s=0.024),
    "mp4-video": Close(0.999, length_s=0.024),
    "ogg-vorbis": Close(0.999, length_s=0.002),
    "ogg-opus": Close(0.998, length_s=0.001),
    "webm": Close(0.998, length_s=0.001),
    "wav-mulaw": Close(0.9998),
    "au-mulaw": Close(0.9998),
    # A model of speech, not of its waveform: 5 ms of lookahead, frames of 20 ms.
    "amr": Close(0.7, delay_s=0.006, length_s=0.025),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_sounds_like_the_original(name: str, speech: Samples, clips: dict[str, bytes]) -> None:
    decoded = decode(clips[name])
    delay, correlation = align(decoded, band_limited(speech, min(VARIANTS[name].rate, SAMPLE_RATE)))
    assert abs(delay) <= CLOSE[name].delay_s * SAMPLE_RATE
    assert abs(len(decoded) - len(speech)) <= CLOSE[name].length_s * SAMPLE_RATE
    assert correlation >= CLOSE[name].correlation


@pytest.mark.parametrize(
    ("container", "codec", "rate", "channels", "options", "close"),
    [
        # ADTS notes no delay: 1024 samples of the encoder, and one frame of padding.
        ("adts", "aac", 48_000, 2, {}, Close(0.99, delay_s=0.022, length_s=0.043)),
        ("matroska", "ac3", 48_000, 6, {}, Close(0.998, length_s=0.032)),
        ("matroska", "aac", 48_000, 6, {}, Close(0.99, length_s=0.022)),
        # FFmpeg's encoder leaves out the start, and nothing notes it.
        ("asf", "wmav2", 44_100, 2, {"b": "128k"}, Close(0.999, delay_s=0.047, length_s=0.047)),
        ("mp4", "libmp3lame", 44_100, 1, {}, Close(0.999, length_s=0.027)),
        ("wav", "libmp3lame", 44_100, 1, {}, Close(0.999, delay_s=0.026, length_s=0.053)),
        ("wav", "g722", 16_000, 1, {}, Close(0.999, delay_s=0.002)),
        ("wav", "adpcm_ms", 16_000, 1, {}, Close(0.99, length_s=0.1)),
        ("wav", "pcm_alaw", 8_000, 1, {}, Close(0.98)),
        ("3gp", "libopencore_amrnb", 8_000, 1, {}, Close(0.7, delay_s=0.006, length_s=0.02)),
    ],
)
def test_other_codecs_that_clients_have(
    container: str, codec: str, rate: int, channels: int, options: dict[str, str], close: Close, speech: Samples
) -> None:
    decoded = decode(encode(speech, container, codec, rate=rate, channels=channels, options=options))
    delay, correlation = align(decoded, speech)
    assert abs(delay) <= close.delay_s * SAMPLE_RATE
    assert abs(len(decoded) - len(speech)) <= close.length_s * SAMPLE_RATE
    assert correlation >= close.correlation


@pytest.mark.parametrize(
    ("container", "codec"),
    [
        *(("wav", codec) for codec in ("pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_s64le", "pcm_f32le", "pcm_f64le")),
        *(("aiff", codec) for codec in ("pcm_s16be", "pcm_s24be")),
        *((name, "pcm_s16le") for name in ("w64", "caf", "mov", "matroska")),
        ("au", "pcm_s16be"),
        *((name, "flac") for name in ("flac", "ogg", "matroska", "mp4")),
        *((name, "alac") for name in ("ipod", "mov", "matroska")),
    ],
)
@pytest.mark.parametrize("channels", [1, 2])
def test_lossless_at_16_khz_is_bit_exact(container: str, codec: str, channels: int, speech: Samples) -> None:
    assert np.array_equal(decode(encode(speech, container, codec, channels=channels)), speech)


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_any_rate_and_number_of_channels(rate: int, channels: int, speech: Samples) -> None:
    decoded = decode(encode(speech, "wav", "pcm_f32le", rate=rate, channels=channels))
    assert abs(len(decoded) - len(speech)) <= 1  # the length at the other rate is rounded
    expected = band_limited(speech, min(rate, SAMPLE_RATE))
    # 1e-3: what soxr takes off between 7.3 and 8 kHz, twice instead of once.
    np.testing.assert_allclose(decoded[: len(expected)], expected[: len(decoded)], atol=1e-3)


@pytest.mark.parametrize(("container", "codec"), [("ogg", "libopus"), ("matroska", "flac")])
def test_eight_planes_are_all_read(container: str, codec: str, speech: Samples) -> None:
    """PyAV's own way to an array reads beyond the last one."""
    decoded = decode(encode(speech, container, codec, rate=48_000, channels=8))
    assert align(decoded, speech)[1] > 0.998


@pytest.mark.parametrize("channels", [1, 2, 3, 8, 24, 512])
def test_channels_are_averaged(channels: int) -> None:
    values = np.random.default_rng(channels).integers(-(2**15), 2**15, (1_000, channels), dtype=np.int16)
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(values.tobytes())
    expected = (values.mean(axis=1) / 2**15).astype(np.float32)
    assert np.array_equal(decode(buffer.getvalue()), expected)


@pytest.mark.parametrize("labels", [[2, 1], [1, 1], [0xFFFF_FFFF, 7], [3, 2, 1, 9, 9, 9]])
def test_channels_in_an_odd_order_do_no_harm(labels: list[int]) -> None:
    """PyAV frees a custom layout twice, and with that the process would end here: right before left is such a one."""
    values = np.random.default_rng(0).integers(-(2**15), 2**15, (40_000, len(labels)), dtype=np.int16)
    assert np.array_equal(decode(caf(values, labels)), (values.mean(axis=1) / 2**15).astype(np.float32))


def mulaw(codes: NDArray[np.uint8]) -> NDArray[np.float64]:
    """ITU-T G.711."""
    inverted = ~codes
    exponent, mantissa = inverted >> 4 & 7, inverted & 15
    magnitude = ((mantissa.astype(int) << 3) + 0x84 << exponent) - 0x84
    return np.where(inverted & 0x80, -magnitude, magnitude) / 2**15


def alaw(codes: NDArray[np.uint8]) -> NDArray[np.float64]:
    """ITU-T G.711."""
    toggled = codes ^ 0x55
    exponent, mantissa = (toggled >> 4 & 7).astype(int), (toggled & 15).astype(int)
    magnitude = np.where(exponent == 0, (mantissa << 4) + 8, (mantissa << 4) + 0x108 << np.maximum(exponent - 1, 0))
    return np.where(toggled & 0x80, magnitude, -magnitude) / 2**15


@pytest.mark.parametrize(("tag", "expand"), [(7, mulaw), (6, alaw)])
def test_every_code_of_g711(tag: int, expand: Callable[[NDArray[np.uint8]], NDArray[np.float64]]) -> None:
    codes = np.arange(256, dtype=np.uint8)
    decoded = decode(wav(codes.tobytes(), tag=tag, bits=8))
    assert np.array_equal(decoded, expand(codes).astype(np.float32))


def test_unsigned_bytes_have_their_zero_in_the_middle() -> None:
    codes = np.arange(256, dtype=np.uint8)
    assert np.array_equal(decode(wav(codes.tobytes(), bits=8)), (codes.astype(np.float32) - 128) / 128)


@pytest.mark.parametrize("bits", [32, 64])
def test_floats_that_are_no_sound_become_silence_and_loud_ones_full_scale(bits: int) -> None:
    values = np.array([0.5, np.nan, np.inf, -np.inf, 1.5, -1e30, 0.25], f"<f{bits // 8}")
    decoded = decode(wav(values.tobytes(), tag=3, bits=bits))
    assert decoded.tolist() == [0.5, 0, 0, 0, 1, -1, 0.25]


@pytest.mark.parametrize("name", ["wav", "mp3", "webm"])
def test_a_path_bytes_and_an_open_file_are_the_same(name: str, clips: dict[str, bytes], tmp_path: Path) -> None:
    path = tmp_path / "clip.xyz"
    path.write_bytes(clips[name])
    expected = decode(clips[name])
    assert np.array_equal(decode(path), expected)
    with path.open("rb") as file:
        file.seek(1000)
        assert np.array_equal(decode(file), expected)
        assert not file.closed


def test_blocks_are_of_one_second_and_the_last_is_the_rest(speech: Samples, clips: dict[str, bytes]) -> None:
    with AudioReader(clips["flac"]) as reader:
        blocks = list(reader)
    assert [len(block) for block in blocks] == [BLOCK] * 5 + [len(speech) - 5 * BLOCK]
    assert all(block.dtype == np.float32 for block in blocks)
    assert np.array_equal(np.concatenate(blocks), speech)


def test_duration_counts_what_was_given_out(speech: Samples, clips: dict[str, bytes]) -> None:
    with AudioReader(clips["flac"]) as reader:
        seen = [reader.duration for _ in reader]
    assert seen == [1, 2, 3, 4, 5, seconds(len(speech))]


def test_the_audio_of_a_video_is_taken(speech: Samples, clips: dict[str, bytes]) -> None:
    with AudioReader(clips["mp4-video"]) as reader:
        total = sum(len(block) for block in reader)
    assert abs(total - len(speech)) < 0.05 * SAMPLE_RATE


def test_frames_of_silence_in_a_phone_call_keep_their_time(clips: dict[str, bytes]) -> None:
    """AMR with DTX: FFmpeg's own decoder leaves such frames out, and all later words come too early."""
    header, frames = clips["amr"][:6], clips["amr"][6:]
    size = 13  # 4.75 kbit/s
    starts = range(0, len(frames) - size + 1, size)
    silent = b"".join(frames[i : i + size] if i % (2 * size) else b"\x7c" for i in starts)
    assert len(decode(header + silent)) == len(decode(clips["amr"]))


@pytest.mark.parametrize(
    ("codec", "first", "second", "options"),
    [
        ("vorbis", (44_100, 2), (22_050, 2), {"strict": "experimental"}),
        ("libopus", (48_000, 1), (48_000, 2), {}),
        ("flac", (16_000, 1), (48_000, 6), {}),
    ],
)
def test_a_chained_ogg_goes_on_with_another_rate_and_other_channels(
    codec: str, first: tuple[int, int], second: tuple[int, int], options: dict[str, str], speech: Samples
) -> None:
    halves = speech[:40_000], speech[40_000:]
    links = [
        encode(half, "ogg", codec, rate=rate, channels=channels, options=options)
        for half, (rate, channels) in zip(halves, (first, second), strict=True)
    ]
    decoded = decode(b"".join(links))
    slack = 0.005 * SAMPLE_RATE  # rounding and padding of Vorbis, once per link
    assert abs(len(decoded) - len(speech)) <= 2 * slack
    for half, expected in zip(halves, (0, len(halves[0])), strict=True):
        delay, correlation = align(decoded, half)
        assert abs(delay - expected) <= slack
        assert correlation > 0.99


def test_the_rate_may_change_in_the_middle_of_a_stream(speech: Samples) -> None:
    decoded = decode(
        encode(speech[:32_000], "adts", "aac") + encode(speech[32_000:], "adts", "aac", rate=48_000, channels=2)
    )
    # Per part: 1024 samples of the encoder's delay and up to as many of padding, at 16 and at 48 kHz.
    assert 0 <= len(decoded) - len(speech) <= 4 * 1024


def test_a_sound_container_without_sound_is_an_empty_recording() -> None:
    with AudioReader(wav(b"")) as reader:
        assert list(reader) == []
        assert (reader.duration, reader.shortfall_s) == (0, 0)


def test_no_bytes_are_an_error_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    for source in (b"", tmp_path / "empty", io.BytesIO()):
        with pytest.raises(EmptyAudio):
            AudioReader(source)


@pytest.mark.parametrize(
    "data",
    [
        b"\0",
        bytes(100_000),
        b"hello, world\n" * 1000,
        b"<html><body>404</body></html>",
        b"%PDF-1.7\n" + bytes(1000),
        b"PK\x03\x04" + bytes(1000),
        b"RIFF\x24\0\0\0WAVE",
        b"ID3\x04\0\0\0\0\0\0",
        b"fLaC",
        b"OggS",
        b"\x1aE\xdf\xa3",
        b"\0\0\0\x20ftypM4A ",
    ],
    ids=lambda data: repr(data[:8]),
)
def test_what_is_no_audio_is_refused_in_the_same_words(data: bytes) -> None:
    with pytest.raises(AudioError) as caught:
        decode(data)
    assert str(caught.value) == AudioError.__doc__


def test_a_video_without_sound_is_refused(speech: Samples, clips: dict[str, bytes]) -> None:
    with_sound = clips["mp4-video"]
    silent = with_sound.replace(b"soun", b"text").replace(b"mp4a", b"text")
    with pytest.raises(AudioError):
        decode(silent)


@pytest.mark.parametrize("rate", [0, 1, 999, 192_001, 2**32 - 1])
def test_impossible_rates_are_refused(rate: int) -> None:
    with pytest.raises(AudioError):
        AudioReader(wav(bytes(4_000), rate=rate))


def test_the_highest_rate_is_taken() -> None:
    assert len(decode(wav(bytes(2 * 192_000), rate=192_000))) == SAMPLE_RATE


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000])
def test_the_limit_itself_is_not_too_long(rate: int) -> None:
    with AudioReader(wav(bytes(2 * 3 * rate), rate=rate), max_duration_s=3) as reader:
        assert sum(len(block) for block in reader) == 3 * SAMPLE_RATE


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000])
def test_one_sample_more_is(rate: int) -> None:
    with pytest.raises(AudioTooLong, match="3 s"):
        decode(wav(bytes(2 * 3 * rate + 2), rate=rate), max_duration_s=3)


def test_a_header_that_says_too_long_is_refused_before_decoding(clips: dict[str, bytes]) -> None:
    with pytest.raises(AudioTooLong):
        AudioReader(clips["flac"], max_duration_s=3)


def test_what_no_header_says_is_refused_while_decoding(clips: dict[str, bytes]) -> None:
    seen: list[Samples] = []
    with AudioReader(clips["ogg-opus"], max_duration_s=3) as reader, pytest.raises(AudioTooLong):
        seen.extend(reader)
    assert 2 <= len(seen) <= 3  # the resampler keeps a little back


def test_a_reader_is_read_once(clips: dict[str, bytes]) -> None:
    with AudioReader(clips["wav"]) as reader:
        list(reader)
        with pytest.raises(ValueError, match="closed"):
            list(reader)


def test_an_iteration_does_not_outlive_its_reader(clips: dict[str, bytes]) -> None:
    reader = AudioReader(clips["wav"])
    blocks = iter(reader)
    next(blocks)
    reader.close()
    with pytest.raises(ValueError, match="closed"):
        next(blocks)


@pytest.mark.parametrize("data", ["good", "bad", "long"])
def test_no_file_stays_open(data: str, clips: dict[str, bytes], tmp_path: Path) -> None:
    path = tmp_path / "clip"
    path.write_bytes(bytes(1000) if data == "bad" else clips["flac"])
    before = open_files()
    for _ in range(3):
        try:
            # An abandoned iteration without the context manager.
            for _ in AudioReader(path, max_duration_s=1 if data == "long" else None):
                break
            with AudioReader(path) as reader:
                next(iter(reader))
            AudioReader(path).close()
        except AudioError:
            assert data != "good"
    assert open_files() == before


def open_files() -> set[str]:
    return {str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()}


def test_a_missing_file_is_the_callers_mistake(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        AudioReader(tmp_path / "missing.wav")


def test_ffmpeg_says_nothing(
    clips: dict[str, bytes], capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    for data in clips.values():
        for damaged in (data[: len(data) // 2], data[:5000] + bytes(1000) + data[6000:], bytes(1000) + data):
            try:
                decode(damaged)
            except AudioError:
                continue
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


def test_many_threads_decode_at_once(speech: Samples, clips: dict[str, bytes]) -> None:
    names = ["flac", "mp3", "m4a", "ogg-opus"] * 4
    alone = {name: decode(clips[name]) for name in set(names)}
    started = threading.Barrier(4)

    def job(name: str) -> bool:
        started.wait()
        return np.array_equal(decode(clips[name]), alone[name])

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(job, names))


def test_a_wav_header_may_hold_much_before_the_sound(speech: Samples) -> None:
    pcm = (speech * 2**15).astype("<i2").tobytes()
    plain = wav(pcm)
    junk = b"LIST" + struct.pack("<I", 100_000) + bytes(100_000)
    assert np.array_equal(decode(plain[:12] + junk + plain[12:]), speech)
