import pytest
from bench.targets import Target, table


@pytest.mark.parametrize(
    ("target", "holds"),
    [
        (Target("ratio", 1.8, "at least", 1.8), True),
        (Target("ratio", 1.79, "at least", 1.8), False),
        (Target("load", 0.7, "at most", 0.7), True),
        (Target("load", 0.71, "at most", 0.7), False),
    ],
)
def test_a_bound_may_be_reached_and_not_passed(target: Target, holds: bool) -> None:
    assert target.holds is holds


def test_the_table_shows_what_fails() -> None:
    kept, broken = Target("load", 0.5, "at most", 0.7, " s"), Target("CPU", 1.5, "at least", 1.8, "×")
    assert table([kept, broken])[2:] == [
        "| load | 0.5 s | at most 0.7 s | PASS |",
        "| CPU | 1.5× | at least 1.8× | **FAIL** |",
    ]


def test_a_figure_that_is_not_a_number_keeps_no_bound() -> None:
    assert not Target("ratio", float("nan"), "at least", 1.8).holds
    assert not Target("load", float("nan"), "at most", 0.7).holds
