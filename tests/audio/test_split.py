"""Channels that are decoded each by itself: a side is what a file of that channel alone gives."""

import numpy as np
import pytest

from molva.audio.array import open_audio
from molva.audio.decode import BLOCK, AudioReader, Source, decode
from molva.errors import AudioError, AudioTooLong
from molva.samples import MAX_SIDES, Samples, Sides
from tests.audio.hostile import wav
from tests.audio.test_decode import align
from tests.media import encode, encode_channels


def split(source: Source) -> Sides:
    with AudioReader(source) as reader:
        return np.concatenate(list(reader.blocks("split")), axis=1)


@pytest.fixture(scope="module")
def sides(speech: Samples) -> list[Samples]:
    """Two recordings that have nothing in common."""
    noise = np.random.default_rng(1).normal(0, 0.1, len(speech)).astype(np.float32)
    return [speech, np.clip(noise, -1, 1)]


@pytest.mark.parametrize(
    ("container", "codec"),
    [("wav", "pcm_s16le"), ("wav", "pcm_f32le"), ("wav", "pcm_u8"), ("flac", "flac"), ("ipod", "alac")],
)
@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_each_side_is_bit_for_bit_its_channel_alone(
    container: str, codec: str, rate: int, sides: list[Samples]
) -> None:
    found = split(encode_channels(sides, container, codec, rate=rate))
    assert len(found) == 2
    for side, original in zip(found, sides, strict=True):
        assert np.array_equal(side, decode(encode(original, container, codec, rate=rate)))


@pytest.mark.parametrize(("container", "codec", "rate"), [("ogg", "libopus", 48_000), ("mp3", "libmp3lame", 44_100)])
def test_lossy_codecs_keep_the_sides_apart(container: str, codec: str, rate: int, speech: Samples) -> None:
    found = split(encode_channels([speech, speech[::-1]], container, codec, rate=rate))
    for side, original in zip(found, [speech, speech[::-1]], strict=True):
        assert align(side, original)[1] > 0.99


def test_one_channel_is_one_side(speech: Samples) -> None:
    assert np.array_equal(split(encode(speech, "wav", "pcm_s16le")), decode(encode(speech, "wav", "pcm_s16le"))[None])


def test_blocks_have_all_sides_and_one_length(sides: list[Samples]) -> None:
    with AudioReader(encode_channels(sides, "flac", "flac")) as reader:
        shapes = [block.shape for block in reader.blocks("split")]
        assert reader.duration == pytest.approx(len(sides[0]) / BLOCK)
    assert set(shapes[:-1]) == {(2, BLOCK)}
    assert shapes[-1][0] == 2


@pytest.mark.parametrize("channels", [MAX_SIDES, MAX_SIDES + 1, 512])
def test_more_channels_than_a_conversation_has_are_refused(channels: int) -> None:
    values = np.random.default_rng(channels).integers(-(2**15), 2**15, (1_000, channels), dtype=np.int16)
    file = wav(values.tobytes(), channels=channels)
    if channels > MAX_SIDES:
        with pytest.raises(AudioError, match=f"{channels} channels; at most {MAX_SIDES}"):
            split(file)
    else:
        assert np.array_equal(split(file), values.T.astype(np.float32) / np.float32(2**15))


def test_a_part_with_another_number_of_channels_is_mixed_to_the_first_side(speech: Samples) -> None:
    """Of files that were joined: nothing that was said is lost, and nothing is said twice."""
    loud, quiet = speech, (speech / 2).astype(np.float32)
    stereo, mono = encode_channels([loud, quiet], "ogg", "flac"), encode(speech, "ogg", "flac")
    found = split(stereo + mono)
    assert np.array_equal(found[0], np.concatenate([decode(mono), decode(mono)]))
    assert not found[1, len(speech) :].any()
    found = split(mono + stereo)
    assert found.shape[0] == 1
    assert np.array_equal(found[0, len(speech) :], split(stereo).mean(axis=0))


def test_the_limit_of_the_duration_holds_for_the_recording(sides: list[Samples]) -> None:
    file = encode_channels(sides, "wav", "pcm_s16le")
    length_s = len(sides[0]) / 16_000
    with AudioReader(file, max_duration_s=length_s) as reader:
        assert sum(block.shape[1] for block in reader.blocks("split")) == len(sides[0])
    with pytest.raises(AudioTooLong):
        AudioReader(file, max_duration_s=length_s / 3)


def test_an_array_has_a_side_in_each_row(sides: list[Samples]) -> None:
    both = np.stack(sides)
    with open_audio(both) as reader:
        assert np.array_equal(np.concatenate(list(reader.blocks("split")), axis=1), both)
        assert reader.duration == pytest.approx(len(sides[0]) / 16_000)
    with open_audio(sides[0]) as reader:
        assert np.array_equal(np.concatenate(list(reader.blocks("split")), axis=1), both[:1])


@pytest.mark.parametrize("shape", [(1_000, 2), (0, 1_000), (1, 2, 1_000), ()])
def test_an_array_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with open_audio(np.zeros(shape)) as reader, pytest.raises(AudioError, match=r"shape \(n,\) or \(n_sides, n\)"):
        list(reader.blocks("split"))
