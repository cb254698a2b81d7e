"""Clocks that do not jump with that of the system."""

from dataclasses import dataclass

import pytest

from molva.clock import BELIEVED_AFTER_S, SettledClock, steady

DAY_S = 86_400.0


@dataclass
class Time:
    """Both clocks of a machine."""

    wall: float = 1_000_000_000.0
    steady: float = 500.0

    def passes(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def clock(time: Time) -> SettledClock:
    return SettledClock(lambda: time.wall, lambda: time.steady)


def test_it_is_the_time_of_the_system(time: Time, clock: SettledClock) -> None:
    for _ in range(100):
        time.passes(600)
        time.wall += 1  # it is wrong by a little, and put right again and again
        assert clock.now() == pytest.approx(time.wall)


def test_a_jump_ahead_counts_only_once_it_has_lasted(time: Time, clock: SettledClock) -> None:
    right = time.wall
    time.wall += DAY_S
    for _ in range(int(BELIEVED_AFTER_S // 60)):
        assert clock.now() == pytest.approx(right)
        time.passes(60)
        right += 60
    assert clock.now() == pytest.approx(time.wall)


def test_a_jump_that_is_taken_back_never_counts(time: Time, clock: SettledClock) -> None:
    for _ in range(5):
        time.wall += DAY_S
        ahead = clock.now()
        time.wall -= DAY_S
        time.passes(BELIEVED_AFTER_S - 1)
        assert ahead < time.wall
        assert clock.now() == pytest.approx(time.wall)


def test_a_jump_back_counts_at_once(time: Time, clock: SettledClock) -> None:
    time.wall -= DAY_S
    assert clock.now() == pytest.approx(time.wall)


def test_the_steady_one_goes_forward() -> None:
    before = steady()
    assert steady() >= before
