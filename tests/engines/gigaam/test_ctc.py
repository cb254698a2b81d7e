"""Greedy CTC against the definition: best path, repeats merged, blanks dropped."""

from itertools import groupby

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from molva.engines.gigaam.ctc import decode_ctc

BLANK = 3


@given(st.lists(st.integers(0, BLANK), max_size=40))
def test_repeats_merge_and_blanks_drop(path: list[int]) -> None:
    log_probs = np.log(np.full((len(path), BLANK + 1), 0.1, np.float32))
    log_probs[np.arange(len(path)), path] = np.log(0.7)
    expected, frame = [], 0
    for token, run in groupby(path):
        if token != BLANK:
            expected.append((frame, token))
        frame += len(list(run))
    assert [(e.frame, e.token) for e in decode_ctc(log_probs, BLANK)] == expected


def test_a_run_is_as_certain_as_its_most_certain_frame() -> None:
    log_probs = np.log(np.array([[0.4, 0.2, 0.2, 0.2], [0.9, 0.05, 0.03, 0.02], [0.1, 0.1, 0.1, 0.7]], np.float32))
    [emission] = decode_ctc(log_probs, BLANK)
    assert emission.frame == 0
    assert abs(emission.confidence - 0.9) < 1e-6
