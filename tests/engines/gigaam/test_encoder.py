"""Which session takes a window."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from molva.engines.gigaam import encoder
from molva.engines.gigaam.encoder import LONGEST_WIDE_S, Encoder

SHORT = np.zeros((64, 500), np.float32)
LONG = np.zeros((64, int(LONGEST_WIDE_S * 100) + 1), np.float32)


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which sessions have run; they are names here."""
    names: list[str] = []

    def run(session: Any, _: Any) -> Any:
        names.append(session)
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

    def run(session: Any, _: Any) -> Any:
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

    def fail(session: Any, _: Any) -> Any:
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
