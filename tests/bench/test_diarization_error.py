"""The scorer, against cases counted by hand."""

import pytest
from bench.diarization_error import diarization_error

from molva.transcript import Turn


def error_parts(reference: list[Turn], found: list[Turn], collar_s: float = 0.0) -> tuple[object, ...]:
    error = diarization_error(reference, found, collar_s=collar_s)
    return (
        pytest.approx(error.total),
        pytest.approx(error.missed),
        pytest.approx(error.false_alarm),
        pytest.approx(error.confusion),
    )


TWO = [Turn(0, 10, 0), Turn(10, 20, 1)]


def test_the_same_turns_are_no_error() -> None:
    assert diarization_error(TWO, TWO).rate == 0


def test_other_names_are_no_error() -> None:
    assert diarization_error(TWO, [Turn(0, 10, 7), Turn(10, 20, 3)]).rate == 0


def test_speech_that_is_not_found_is_missed() -> None:
    assert error_parts(TWO, [Turn(0, 10, 0), Turn(10, 16, 1)]) == (20, 4, 0, 0)


def test_speech_that_is_not_there_is_a_false_alarm() -> None:
    assert error_parts(TWO, [*TWO, Turn(22, 25, 1)]) == (20, 0, 3, 0)


def test_speech_under_the_wrong_name_is_confusion() -> None:
    assert error_parts(TWO, [Turn(0, 13, 0), Turn(13, 20, 1)]) == (20, 0, 0, 3)


def test_one_name_for_all_is_right_for_one_speaker_only() -> None:
    assert error_parts(TWO, [Turn(0, 20, 0)]) == (20, 0, 0, 10)


def test_two_at_once_count_twice() -> None:
    reference = [Turn(0, 10, 0), Turn(8, 12, 1)]
    assert error_parts(reference, [Turn(0, 10, 0), Turn(10, 12, 1)]) == (14, 2, 0, 0)


def test_what_lies_within_the_collar_is_not_judged() -> None:
    late = [Turn(0.2, 10.2, 0), Turn(10.2, 20.2, 1)]
    assert error_parts(TWO, late, collar_s=0.25) == (19, 0, 0, 0)


def test_the_rate_is_the_sum_over_the_time_of_all_speakers() -> None:
    found = [Turn(0, 12, 0), Turn(12, 18, 1), Turn(20, 21, 1)]
    assert diarization_error(TWO, found, collar_s=0).rate == pytest.approx((2 + 2 + 1) / 20)
