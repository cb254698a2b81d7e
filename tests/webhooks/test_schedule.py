"""When a delivery is attempted again."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from molva.webhooks.schedule import Schedule


def waits(schedule: Schedule) -> list[float]:
    given = (schedule.wait_s(failures) for failures in itertools.count(1))
    return [wait for wait in itertools.takewhile(lambda wait: wait is not None, given) if wait is not None]


def test_the_first_waits_are_one_second_and_two() -> None:
    assert waits(Schedule())[:4] == [1, 2, 4, 8]


def test_by_default_a_receiver_may_be_down_for_two_days_and_no_wait_is_longer_than_one() -> None:
    assert len(waits(Schedule())) == 18
    assert 2 * 86_400 < sum(waits(Schedule())) < 3 * 86_400
    assert max(waits(Schedule())) == 86_400


def test_three_attempts_wait_twice() -> None:
    assert waits(Schedule(attempts=3)) == [1, 2]


def test_a_receiver_may_ask_for_more_time_within_the_longest_wait_and_not_for_less() -> None:
    schedule = Schedule(longest_wait_s=100)
    assert schedule.wait_s(1, asked_s=30) == 30
    assert schedule.wait_s(1, asked_s=1e18) == 100
    assert schedule.wait_s(6, asked_s=0) == 32
    assert Schedule(attempts=2).wait_s(2, asked_s=30) is None


@given(st.integers(1, 10_000), st.floats(0.001, 1e6), st.floats(0.001, 1e6), st.none() | st.floats(0, 1e18))
def test_every_wait_is_within_its_limits(failures: int, first: float, longest: float, asked: float | None) -> None:
    wait = Schedule(100_000, first, longest).wait_s(failures, asked)
    assert wait is not None
    assert min(first, longest) <= wait <= longest
