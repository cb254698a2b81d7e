"""Keys have names, are not guessed, and are not forgotten."""

from datetime import UTC, datetime, timedelta

from molva.doctor.access import check_keys
from molva.keys import Key

NOW = datetime(2030, 1, 1, tzinfo=UTC)
LONG = "x" * 30


def statuses(extra: str | None, *ages: int) -> list[str]:
    keys = [Key(name=f"k{age}", sha256="0" * 64, created=NOW - timedelta(days=age)) for age in ages]
    return [finding.status for finding in check_keys(keys, extra, NOW)]


def test_no_keys_and_good_keys_are_both_right() -> None:
    assert statuses(None) == ["ok"]
    assert statuses(LONG) == ["ok"]
    assert statuses(None, 10, 300) == ["ok"]


def test_a_key_that_can_be_guessed_is_warned_of() -> None:
    assert statuses("secret") == ["warning", "ok"]


def test_a_key_without_a_name_besides_named_ones_is_warned_of() -> None:
    assert statuses(LONG, 10) == ["warning", "ok"]


def test_a_key_of_last_year_is_warned_of() -> None:
    assert statuses(None, 10, 400) == ["warning", "ok"]
