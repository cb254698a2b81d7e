import pytest
from bench.spread import ratios, spread


def test_one_slow_measurement_moves_neither_median_nor_spread() -> None:
    assert spread([1.0, 1.0, 1.0, 1.0, 9.0]).show(1) == "1.0 ±0%"


def test_the_spread_is_half_the_distance_of_the_quartiles() -> None:
    assert spread([8.0, 9.0, 10.0, 11.0, 12.0]).show() == "10 ±10%"


def test_what_slows_a_pair_down_does_not_change_their_ratio() -> None:
    assert ratios([2.0, 20.0, 4.0], [1.0, 10.0, 2.0]).median == pytest.approx(2.0)
