"""Headers come from strangers: they are read exactly, or not at all."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from molva.models.headers import ContentRange, content_range, length, retry_after_s, strong_etag

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


@given(st.integers(0, 10**12), st.integers(0, 10**12), st.integers(1, 10**12))
def test_a_content_range_is_read_back(start: int, extra: int, rest: int) -> None:
    end = start + extra
    assert content_range(f"bytes {start}-{end}/{end + rest}") == ContentRange(start, end + rest)
    assert content_range(f"bytes {start}-{end}/*") == ContentRange(start, None)
    assert content_range(f"bytes */{start}") == ContentRange(None, start)


@given(st.integers(0, 10**12), st.integers(1, 10**12))
def test_a_content_range_that_ends_before_it_starts_is_no_range(end: int, extra: int) -> None:
    assert content_range(f"bytes {end + extra}-{end}/*") is None


@given(st.integers(0, 10**12), st.integers(0, 10**12))
def test_a_content_range_beyond_the_file_is_no_range(total: int, extra: int) -> None:
    assert content_range(f"bytes 0-{total + extra}/{total}") is None


@pytest.mark.parametrize("value", [None, "", "bytes */*", "bytes 1-2", "lines 1-2/3", "bytes 1-2/3, bytes 4-5/6"])
def test_other_content_ranges_are_none(value: str | None) -> None:
    assert content_range(value) is None


@given(st.text())
def test_no_header_is_too_strange(value: str) -> None:
    content_range(value)
    content_range(f"bytes {value}")
    strong_etag(value)
    length(value)
    retry_after_s(value, NOW)


def test_a_number_too_long_to_be_a_length_is_none() -> None:
    assert length("9" * 5000) is None


@pytest.mark.parametrize(("value", "etag"), [('"abc"', "abc"), (' "a b" ', "a b"), ('W/"abc"', None), ("abc", None)])
def test_only_a_strong_etag_stands_for_the_bytes(value: str, etag: str | None) -> None:
    assert strong_etag(value) == etag


def test_retry_after_in_seconds() -> None:
    assert retry_after_s(" 7 ", NOW) == 7.0


@given(st.integers(0, 100_000))
def test_retry_after_as_a_date(wait_s: int) -> None:
    assert retry_after_s(format_datetime(NOW + timedelta(seconds=wait_s), usegmt=True), NOW) == wait_s


def test_a_date_that_has_passed_asks_for_no_wait() -> None:
    assert retry_after_s(format_datetime(NOW - timedelta(hours=1), usegmt=True), NOW) == 0.0


@pytest.mark.parametrize(
    "value",
    [
        "soon",
        f"Mon, {'9' * 30} Jan 2026 00:00:00 GMT",
        f"Mon, 1 Jan {'9' * 9} 00:00:00 GMT",
        "1 Jan 2026 0:0:0 +" + "9" * 20,
    ],
)
def test_retry_after_that_is_no_time_is_none(value: str) -> None:
    assert retry_after_s(value, NOW) is None
