"""What the soak finds when there is something to find; and its shortest form, for real."""

import random
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.clients import LENGTHS_S, End
from tests.soak.faults import AT_REST, FAULTS
from tests.soak.meter import Sample, anonymous_mb
from tests.soak.report import PLOTS, write
from tests.soak.run import Record, soak
from tests.soak.verdict import FULL_S, breaches, slope, unsettled

SHORT_S = 40.0


def sample(at_s: float) -> Sample:
    return Sample(
        at_s=at_s, memory_mb=200, descriptors=20, threads=18, health_s=0.01, done=int(at_s), jobs=3, disk_mb=5
    )


def record_of(at: Callable[[float], Sample], duration_s: float = FULL_S) -> Record:
    """A soak in which nothing happened but what `at` says."""
    return Record(
        seed=1,
        duration_s=duration_s,
        machine="2 cores",
        samples=[at(float(second)) for second in range(0, int(duration_s), 5)],
        rests=[(start, start + 20.0) for start in range(100, int(duration_s), 300)],
        faults=[(10.0, fault.name) for fault in (*FAULTS, *AT_REST)],
        ends={door: {"done": 100, "told": 2, "cut": 0, "lost": 0} for door in LENGTHS_S},
    )


def noisy(record: Record, spread_mb: float) -> Record:
    """Memory that goes up and down by as much."""
    dice = random.Random(3)
    samples = [replace(each, memory_mb=each.memory_mb + dice.gauss(0, spread_mb)) for each in record.samples]
    return replace(record, samples=samples)


def test_a_quiet_hour_has_no_breach() -> None:
    quiet = noisy(record_of(sample), 5)
    assert (breaches(quiet), unsettled(quiet)) == ([], [])


@pytest.mark.parametrize(
    ("key", "what"), [("memory_mb", "memory"), ("descriptors", "descriptors"), ("threads", "threads")]
)
def test_what_grows_under_load_is_found(key: str, what: str) -> None:
    def at(at_s: float) -> Sample:
        grown: dict[str, Any] = {key: 200 + 2 * at_s / 600}
        return replace(sample(at_s), **grown)

    [found] = breaches(record_of(at))
    assert found.startswith(f"{what}: it grows by +2.00")


def test_growth_that_noise_hides_from_the_eye_is_found_over_an_hour() -> None:
    rising = record_of(lambda at_s: replace(sample(at_s), memory_mb=200 + 2 * at_s / 600))
    [found] = breaches(noisy(rising, 3))
    assert found.startswith("memory: it grows")


def test_a_data_folder_that_grows_is_found() -> None:
    [found] = breaches(record_of(lambda at_s: replace(sample(at_s), disk_mb=5 + 2 * at_s / 600)))
    assert found.startswith("data folder: it grows")


def test_growth_in_the_warm_up_does_not_count() -> None:
    assert breaches(record_of(lambda at_s: replace(sample(at_s), memory_mb=200 + min(at_s, 600) / 10))) == []


def test_recordings_that_come_and_go_under_load_do_not_count() -> None:
    dice = random.Random(4)

    def at(at_s: float) -> Sample:
        rests = at_s >= 100 and (at_s - 100) % 300 <= 20
        return replace(sample(at_s), disk_mb=5 if rests else 5 + at_s / 100 + dice.random())

    assert breaches(record_of(at)) == []


def test_five_minutes_of_noise_say_nothing_of_a_limit_below_it() -> None:
    short = noisy(record_of(sample, duration_s=300), 5)
    assert breaches(short) == []
    assert "memory" in unsettled(short)


def test_five_minutes_are_enough_for_a_leak_above_their_noise() -> None:
    leaks = record_of(lambda at_s: replace(sample(at_s), memory_mb=200 + at_s / 10), duration_s=300)
    [found] = breaches(noisy(leaks, 3))
    assert found.startswith("memory: it grows")


def test_less_than_a_minute_says_nothing_of_growth() -> None:
    starts = record_of(lambda at_s: replace(sample(at_s), memory_mb=200 + at_s), duration_s=40)
    assert (breaches(starts), "memory" in unsettled(starts)) == ([], True)


def test_neighbours_that_are_alike_widen_the_interval() -> None:
    dice, values, heap = random.Random(5), [], 0.0
    for _ in range(500):
        heap = 0.98 * heap + dice.gauss(0, 1)
        values.append(heap)
    times = [5.0 * n for n in range(500)]
    wandering = slope(times, values)
    dice.shuffle(values)
    independent = slope(times, values)
    assert wandering.high - wandering.low > 2 * (independent.high - independent.low)


@pytest.mark.parametrize("end", [End.CUT, End.LOST])
@pytest.mark.parametrize("door", LENGTHS_S)
def test_a_single_thing_that_is_cut_or_lost_is_found(door: str, end: End) -> None:
    record = record_of(sample)
    record.ends[door][end] = 1
    assert breaches(record) == [f"{door}: 1 {end}"]


def test_a_door_that_did_nothing_is_found() -> None:
    record = record_of(sample)
    record.ends["live"]["done"] = 0
    assert breaches(record) == ["live: nothing was done"]


def test_a_fault_that_never_happened_is_found() -> None:
    record = record_of(sample)
    assert breaches(replace(record, faults=record.faults[1:])) == [f"{FAULTS[0].name}: it never happened"]


def test_health_that_does_not_answer_is_found() -> None:
    assert breaches(record_of(lambda at_s: replace(sample(at_s), health_s=None if at_s == 700 else 0.01))) == [
        "/health: 1 times no answer"
    ]


def test_a_soak_that_ended_early_is_found() -> None:
    record = replace(record_of(sample), samples=[], problems=["the soak ended early"])
    assert breaches(record)[0] == "the soak ended early"


def test_what_was_swapped_out_is_memory_too() -> None:
    assert anonymous_mb("VmRSS:\t 90 kB\nRssAnon:\t  2000 kB\nRssFile:\t  70 kB\nVmSwap:\t  1000 kB\n") == 3.072


def test_a_report_is_small_and_the_same_bytes_for_the_same_record(tmp_path: Path) -> None:
    record = noisy(record_of(sample), 5)
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        write(record, tmp_path / folder / "soak.md")
    page = (tmp_path / "a/soak.md").read_text(encoding="utf-8")
    assert re.findall(r"\(images/(\S+)\)", page) == list(PLOTS)
    for name in ("soak.md", *(f"images/{plot}" for plot in PLOTS)):
        content = (tmp_path / "a" / name).read_bytes()
        assert content == (tmp_path / "b" / name).read_bytes(), name
        assert len(content) < 100_000, name


def test_a_report_tells_of_breaches(tmp_path: Path) -> None:
    record = record_of(sample)
    record.ends["job"]["lost"] = 1
    write(record, tmp_path / "soak.md")
    assert "**It failed:**\n\n- job: 1 lost\n" in (tmp_path / "soak.md").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_short_soak_loses_nothing_and_leaves_nothing(tiny_dir: Path) -> None:
    assert breaches(soak(SHORT_S, tiny_dir, seed=7)) == []
