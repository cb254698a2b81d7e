"""The partials of one window: which are asked for, which still count, and what a final takes from them."""

import numpy as np

from molva.samples import SAMPLE_RATE
from molva.speech.chunks import Window
from molva.speech.drafts import MAX_DRAFTS, Drafts
from molva.transcript import Hypothesis, Word


def window(length_s: float, start: int = 0) -> Window:
    return Window(start, np.zeros(round(length_s * SAMPLE_RATE), np.float32), 0)


def heard(until_s: float) -> Hypothesis:
    words = tuple(Word(f"w{k}", k / 2, k / 2 + 0.3, 1.0) for k in range(int(2 * until_s)))
    return Hypothesis(" ".join(word.text for word in words), (), words, "ru")


def test_an_answer_makes_older_ones_too_late() -> None:
    drafts = Drafts()
    for i in range(3):
        drafts.add(window(1 + i), i, whole=False)
    assert drafts.answer(1, heard(2)) is not None
    assert drafts.answer(0, heard(1)) is None
    assert drafts.heard(window(4)) == heard(2)
    assert drafts.answer(2, heard(3)) is not None
    assert drafts.heard(window(4)) == heard(3)


def test_more_than_a_few_are_not_waited_for() -> None:
    drafts = Drafts()
    for i in range(MAX_DRAFTS + 1):
        drafts.add(window(1 + i), i, whole=False)
    assert drafts.answer(0, heard(1)) is None
    assert drafts.answer(1, heard(2)) is not None


def test_what_was_heard_stays_however_many_come_after_it() -> None:
    drafts = Drafts()
    for i in range(3 * MAX_DRAFTS):
        drafts.add(window(1 + i / 2), i, whole=False)
        if i == 0:
            drafts.answer(0, heard(1))
    assert drafts.heard(window(20)) == heard(1)


def test_what_was_heard_in_another_window_is_nothing() -> None:
    drafts = Drafts()
    drafts.add(window(2), 0, whole=False)
    drafts.answer(0, heard(2))
    assert drafts.heard(window(3, start=16_000)) is None
    drafts.clear()
    assert drafts.heard(window(3)) is None


def test_only_what_decodes_a_window_whole_is_the_same() -> None:
    drafts = Drafts()
    drafts.add(window(9), 0, whole=False)
    drafts.answer(0, heard(8.5))
    assert drafts.same(window(9)) is not None
    tail = drafts.add(window(10), 1, whole=False)
    assert tail.size < 10 * SAMPLE_RATE
    assert drafts.same(window(10)) is None
    assert drafts.add(window(10), 2, whole=True).size == 10 * SAMPLE_RATE
    same = drafts.same(window(10))
    assert same is not None
    assert same.decode_id == 2
    assert drafts.same(window(10.5)) is None
