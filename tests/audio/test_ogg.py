"""Chains of Ogg links: found page by page, in sound files and in damaged ones."""

import io

import pytest

from molva.audio.ogg import link_starts
from molva.samples import Samples
from tests.media import encode


def starts(data: bytes) -> list[int]:
    return link_starts(io.BytesIO(data))


def page(serial: int, number: int, flags: int = 0, body: bytes = b"x" * 100) -> bytes:
    numbers = serial.to_bytes(4, "little") + number.to_bytes(4, "little")
    return b"OggS\0" + bytes([flags]) + bytes(8) + numbers + bytes(4) + bytes([1, len(body)]) + body


LINK = page(1, 0, flags=2) + page(1, 1) + page(1, 2, flags=4)


def test_one_link_starts_at_the_start() -> None:
    assert starts(LINK) == [0]


def test_every_link_is_found() -> None:
    assert starts(LINK * 3) == [0, len(LINK), 2 * len(LINK)]


def test_streams_side_by_side_are_one_link() -> None:
    heads = page(1, 0, flags=2) + page(2, 0, flags=2)
    assert starts(heads + page(1, 1) + page(2, 1)) == [0]


@pytest.mark.parametrize("data", [b"", b"OggS", b"RIFF" + LINK, b"x" + LINK])
def test_what_is_not_ogg_has_no_links(data: bytes) -> None:
    assert starts(data) == []


def test_damage_is_stepped_over() -> None:
    broken = page(1, 0, flags=2) + b"y" * 200_000 + page(1, 2)
    assert starts(broken + LINK) == [0, len(broken)]


def test_a_damaged_flag_is_no_new_link() -> None:
    assert starts(page(1, 0, flags=2) + page(1, 1) + page(1, 2, flags=2) + page(1, 3)) == [0]


def test_a_cut_file_keeps_the_links_before_the_cut() -> None:
    assert starts((LINK * 2)[:-150]) == [0, len(LINK)]


def test_what_an_encoder_writes(speech: Samples) -> None:
    first, second = encode(speech, "ogg", "libopus", rate=48_000), encode(speech, "ogg", "flac")
    assert starts(first + second) == [0, len(first)]


def test_millions_of_links_are_not_followed() -> None:
    assert len(starts(LINK * 20_000)) == 1000
