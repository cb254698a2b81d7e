"""The tail of a window that has grown: where it begins, and what is put before it."""

from hypothesis import given
from hypothesis import strategies as st

from molva.samples import SAMPLE_RATE
from molva.speech.tail import LONGEST_S, SETTLED_S, SHORTEST_S, Head, next_head
from molva.transcript import Hypothesis, Word


def hypothesis(*spans: tuple[float, float], language: str = "ru") -> Hypothesis:
    words = tuple(Word(f"w{i}", start, end, 0.5) for i, (start, end) in enumerate(spans))
    return Hypothesis(" ".join(word.text for word in words), (), words, language)


def samples(seconds: float) -> int:
    return round(seconds * SAMPLE_RATE)


def every_half_second(until: float) -> Hypothesis:
    return hypothesis(*((k / 2, k / 2 + 0.3) for k in range(int(until * 2))))


def test_a_short_window_is_decoded_whole() -> None:
    size = samples(LONGEST_S)
    assert next_head(Head(), every_half_second(7), samples(7.5), size) == Head()


def test_the_head_ends_in_the_widest_pause_that_leaves_enough() -> None:
    heard = hypothesis((0.5, 1), (1.1, 2.5), (3.1, 4), (4.2, 6.9), (8.0, 8.5))
    head = next_head(Head(), heard, samples(9), samples(9.5))
    assert head.size == samples((2.5 + 3.1) / 2)
    assert [word.text for word in head.words] == ["w0", "w1"]


def test_what_was_decoded_last_may_be_cut_in_half_and_is_decoded_again() -> None:
    heard = hypothesis((0, 5), (5.4, 5.9))
    assert next_head(Head(), heard, samples(5.2 + SETTLED_S - 0.1), samples(11)).size == 0
    assert next_head(Head(), heard, samples(5.2 + SETTLED_S + 0.1), samples(11)).size == samples(5.2)


def test_without_a_pause_it_stays_where_it_was() -> None:
    before = Head((Word("w", 0, 1, 1),), samples(3))
    assert next_head(before, hypothesis((3, 20)), samples(20), samples(20.5)) is before
    assert next_head(before, hypothesis(), samples(20), samples(20.5)) is before


def test_the_tail_comes_behind_the_head_in_the_time_of_the_window() -> None:
    head = Head((Word("раз", 0.1, 0.5, 1.0),), samples(2))
    joined = head.join(Hypothesis("два три", (), (Word("два", 0.2, 0.5, 0.9), Word("три", 1, 1.5, 0.8)), "ru"))
    assert joined.text == "раз два три"
    assert [(word.text, word.start, word.end) for word in joined.words] == [
        ("раз", 0.1, 0.5),
        ("два", 2.2, 2.5),
        ("три", 3, 3.5),
    ]


def test_languages_without_spaces_have_none() -> None:
    head = Head((Word("你", 0, 1, 1.0),), samples(2))
    assert head.join(Hypothesis("好", (), (Word("好", 0, 1, 1),), "zh")).text == "你好"


@given(st.floats(LONGEST_S, 25), st.floats(0.3, 3), st.floats(0, 1))
def test_tails_are_bounded_while_words_keep_coming(size: float, lag: float, offset: float) -> None:
    heard = hypothesis(*((offset + k / 2, offset + k / 2 + 0.3) for k in range(int((size - lag - offset) * 2))))
    head = next_head(Head(), heard, samples(size - lag), samples(size))
    tail = size - head.size / SAMPLE_RATE
    assert tail >= SHORTEST_S - 0.01
    assert tail <= LONGEST_S + 0.01
    assert all(word.end <= head.size / SAMPLE_RATE for word in head.words)
