"""Which session takes a window, and which windows go together."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from molva.engines.gigaam import encoder
from molva.engines.gigaam.encoder import LONGEST_WIDE_S, Encoder, batches_by_length, run_bound, run_encoder
from molva.engines.gigaam.features import SPECS, log_mel
from molva.engines.onnx import open_session
from tests.conftest import CLIPS

SHORT = np.zeros((64, 500), np.float32)
LONG = np.zeros((64, int(LONGEST_WIDE_S * 100) + 1), np.float32)


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which sessions have run; they are names here."""
    names: list[str] = []

    def run(session: Any, _: Any, shrinks: bool) -> Any:
        names.append(f"{session}, shrinks" if shrinks else session)
        return None

    monkeypatch.setattr(encoder, "run_encoder", run)
    return names


def both() -> Encoder:
    narrow: Any = "narrow"
    wide: Any = "wide"
    return Encoder(narrow, wide)


def test_a_lone_short_window_takes_all_cores_and_a_long_one_does_not(taken: list[str]) -> None:
    subject = both()
    for features in ([SHORT], [LONG], [SHORT, SHORT], [SHORT]):
        subject.run(features)
    assert taken == ["wide", "narrow", "narrow", "wide"]


def test_windows_side_by_side_take_a_core_each(monkeypatch: pytest.MonkeyPatch) -> None:
    subject, first_runs, second_ran = both(), threading.Event(), threading.Event()
    taken: list[str] = []

    def run(session: Any, _: Any, shrinks: bool) -> Any:
        taken.append(session)
        if not first_runs.is_set():
            first_runs.set()
            assert second_ran.wait(10)
        return None

    monkeypatch.setattr(encoder, "run_encoder", run)
    with ThreadPoolExecutor(1) as thread:
        first = thread.submit(subject.run, [SHORT])
        assert first_runs.wait(10)
        subject.run([SHORT])
        second_ran.set()
        first.result()
    subject.run([SHORT])
    assert taken == ["wide", "narrow", "wide"]


def test_a_failed_run_counts_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    subject = both()
    taken: list[str] = []

    def fail(session: Any, _: Any, shrinks: bool) -> Any:
        taken.append(session)
        raise RuntimeError

    monkeypatch.setattr(encoder, "run_encoder", fail)
    for _ in range(2):
        with pytest.raises(RuntimeError):
            subject.run([SHORT])
    assert taken == ["wide", "wide"]


def test_with_one_session_all_is_narrow(taken: list[str]) -> None:
    narrow: Any = "narrow"
    subject = Encoder(narrow)
    subject.run([SHORT])
    assert (taken, subject.longest_wide_s) == (["narrow"], 0)


def test_each_session_shrinks_every_ten_seconds(taken: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    subject = both()
    for now in (100.0, 109.9, 110.0, 110.1, 119.9, 120.0):  # noqa: B007 - the clock reads it
        subject.run([SHORT])
    subject.run([LONG])
    subject.run([LONG])
    assert taken == ["wide", "wide", "wide, shrinks", "wide", "wide", "wide, shrinks", "narrow, shrinks", "narrow"]


def test_a_session_that_shrinks_holds_less(tiny_dir: Path) -> None:
    """In a process of its own: what others have freed would be taken again."""
    measure = """
import sys
from pathlib import Path
import numpy as np
from molva.engines.gigaam.encoder import run_encoder
from molva.engines.onnx import open_session

def held():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))

session = open_session(Path(sys.argv[1]))
run_encoder(session, [np.zeros((64, 2500), np.float32)])
before = held()
run_encoder(session, [np.zeros((64, 2500), np.float32)], shrinks=True)
print(before - held())
"""
    told = subprocess.run(
        [sys.executable, "-c", measure, tiny_dir / "v3_rnnt_encoder.onnx"], capture_output=True, text=True, check=True
    )
    assert int(told.stdout) > 4_000, "KiB"


@pytest.mark.parametrize("name", ["v3_rnnt_encoder.onnx", "v3_ctc.onnx"])
def test_a_bound_run_gives_what_a_plain_one_does(tiny_dir: Path, name: str) -> None:
    session = open_session(tiny_dir / name)
    features = [log_mel(clip.samples[:48_000], SPECS["v3"]) for clip in CLIPS[:3]]
    bound = Encoder(session, bound=True).run(features)
    assert np.array_equal(bound, run_encoder(session, features))
    assert np.array_equal(bound, run_bound(session, features))


def test_shorter_features_are_filled_up_with_zeros(tiny_dir: Path) -> None:
    session = open_session(tiny_dir / "v3_rnnt_encoder.onnx")
    long, short = log_mel(CLIPS[0].samples, SPECS["v3"]), log_mel(CLIPS[1].samples[:32_000], SPECS["v3"])
    padded = np.zeros((2, *long.shape), np.float32)
    padded[0], padded[1, :, : short.shape[1]] = long, short
    names = {len(value.shape): value.name for value in session.get_inputs()}
    expected = session.run(None, {names[3]: padded, names[1]: np.array([long.shape[1], short.shape[1]])})[0]
    assert np.array_equal(run_encoder(session, [long, short]), expected)


lengths = st.lists(st.integers(0, 3000), max_size=40)


@given(lengths, st.integers(1, 16), st.sampled_from([0.0, 0.2, 1.0]))
def test_each_window_is_in_one_batch_of_similar_lengths(lengths: list[int], size: int, padding: float) -> None:
    batches = batches_by_length(lengths, size, padding)
    assert sorted(chain.from_iterable(batches)) == list(range(len(lengths)))
    for batch in batches:
        within = [lengths[index] for index in batch]
        assert 0 < len(batch) <= size
        assert max(within) <= min(within) * (1 + padding)


def test_batches_are_as_full_as_lengths_allow() -> None:
    assert batches_by_length([5, 7, 5, 5, 7], 2, 0.0) == [[0, 2], [3], [1, 4]]
    assert batches_by_length([100, 119, 110, 121], 4, 0.2) == [[0, 2, 1], [3]]
