"""Cut, flipped and random bytes: samples or AudioError, never anything else, and never for long."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from molva.audio.decode import AudioReader, decode
from molva.errors import AudioError
from molva.samples import SAMPLE_RATE, Samples
from tests.media import VARIANTS, encode

LIMIT_S = 60
"""A flipped bit can turn a header's rate into 1 Hz; the work is bounded by what the caller allows."""

MAGIC = [
    *(b"RIFF\xff\xff\xff\xffWAVEfmt ", b"ID3\4\0\0\0\0\0\0\xff\xfb\x90\0", b"\xff\xf1\x50\x80", b"fLaC\0\0\0\x22"),
    *(b"OggS\0\2" + bytes(8), b"\x1aE\xdf\xa3\x01", b"\0\0\0\x18ftypisom", b"#!AMR\n", b".snd\0\0\0\x18"),
    *(b"FORM\0\0\0\0AIFFCOMM", b"caff\0\1\0\0desc", bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")),
]


def survives(data: bytes) -> float | None:
    """Seconds decoded, None where it is refused; fails on anything but sound samples."""
    try:
        with AudioReader(data, max_duration_s=LIMIT_S) as reader:
            for block in reader:
                assert block.dtype == np.float32
                assert block.ndim == 1
                assert len(block) > 0
                assert np.isfinite(block).all()
                assert np.abs(block).max() <= 1
    except AudioError:
        return None
    return reader.duration


@pytest.fixture(scope="session")
def short_clips(speech: Samples) -> dict[str, bytes]:
    """The first second and a half in every variant, and in the containers that only the tests here have."""
    samples = speech[: 3 * SAMPLE_RATE // 2]
    return {name: variant.encode(samples) for name, variant in VARIANTS.items()} | {
        "aiff": encode(samples, "aiff", "pcm_s24be", rate=44_100, channels=2),
        "caf": encode(samples, "caf", "pcm_s16le"),
        "adts": encode(samples, "adts", "aac", rate=48_000),
        "wma": encode(samples, "asf", "wmav2", rate=44_100, channels=2, options={"b": "128k"}),
        "alac": encode(samples, "ipod", "alac"),
        "w64": encode(samples, "w64", "pcm_s16le"),
        "3gp": encode(samples, "3gp", "libopencore_amrnb", rate=8_000),
        "surround": encode(samples, "ogg", "libopus", rate=48_000, channels=8),
    }


def test_the_short_clips_are_good(short_clips: dict[str, bytes]) -> None:
    assert all(survives(data) for data in short_clips.values())


@pytest.mark.parametrize("name", ["wav", "mp3", "webm", "flac", "wav-mulaw", "au-mulaw", "amr"])
def test_what_is_there_before_a_cut_is_used(name: str, clips: dict[str, bytes], speech: Samples) -> None:
    data = clips[name]
    for share in (0.3, 0.6, 0.9):
        duration = survives(data[: int(share * len(data))])
        assert duration is not None
        # 0.25: the bits of a variable bit rate, the header, and the last packet or two are not spread evenly.
        assert duration == pytest.approx(share * len(speech) / SAMPLE_RATE, rel=0.25)


@pytest.mark.parametrize(
    ("name", "kept"),
    # Whole pages of Ogg are lost, and one may hold a second.
    [("mp3", 0.98), ("m4a", 0.98), ("flac", 0.9), ("webm", 0.98), ("ogg-opus", 0.75), ("wav", 1.0), ("amr", 0.98)],
)
def test_damage_in_the_middle_costs_only_its_own_packet(name: str, kept: float, clips: dict[str, bytes]) -> None:
    data = bytearray(clips[name])
    whole = survives(bytes(data))
    middle = len(data) // 2
    data[middle : middle + 20] = bytes(byte ^ 0xA5 for byte in data[middle : middle + 20])
    duration = survives(bytes(data))
    assert whole is not None
    assert duration is not None
    assert kept * whole <= duration <= whole + 0.1


def test_a_file_of_undecodable_packets_is_refused(clips: dict[str, bytes]) -> None:
    data = clips["flac"]
    sound = data.index(b"\xff\xf8")
    with pytest.raises(AudioError):
        decode(data[:sound] + bytes(byte ^ 0x55 for byte in data[sound:]))


def damaged(data: bytes, chance: random.Random) -> bytes:
    """A random cut, some flipped bits, or some bytes replaced, taken out or put in; more often near the start."""
    broken = bytearray(data)
    near = chance.choice([64, 512, 4096, len(broken)])
    for _ in range(chance.choice([1, 1, 3, 30])):
        place = chance.randrange(min(near, len(broken)))
        match chance.choice(["flip", "flip", "set", "remove", "insert", "cut"]):
            case "flip":
                broken[place] ^= 1 << chance.randrange(8)
            case "set":
                size = chance.choice([1, 2, 4])
                broken[place : place + size] = chance.choice([b"\xff", b"\0", b"\x7f", b"\x80"]) * size
            case "remove":
                del broken[place : place + chance.randrange(1, 100)]
            case "insert":
                broken[place:place] = chance.randbytes(chance.randrange(1, 50))
            case "cut":
                del broken[chance.randrange(len(broken)) :]
        if not broken:
            break
    return bytes(broken)


@pytest.mark.timeout(120)  # against a hang
def test_damaged_files_of_every_kind(short_clips: dict[str, bytes]) -> None:
    chance = random.Random(20_240)
    outcomes = []
    for data in short_clips.values():
        for _ in range(40):
            broken = damaged(data, chance)
            outcomes.append(survives(broken))
    # Neither all good nor all refused: the damage reaches the decoders.
    assert 0.2 < np.mean([outcome is not None for outcome in outcomes]) < 0.9


def test_every_cut_of_the_first_bytes(short_clips: dict[str, bytes]) -> None:
    for data in short_clips.values():
        for end in range(1, 160, 3):
            survives(data[:end])


@given(
    magic=st.sampled_from([b"", *MAGIC]),
    tail=st.one_of(
        st.binary(max_size=2_000), st.integers(0, 2**32).map(lambda seed: random.Random(seed).randbytes(9_000))
    ),
)
@settings(max_examples=150, deadline=None)
def test_random_bytes(magic: bytes, tail: bytes) -> None:
    survives(magic + tail)


@pytest.mark.timeout(60)  # against a hang
def test_a_large_file_of_noise_is_refused() -> None:
    assert survives(random.Random(1).randbytes(20_000_000)) is None
