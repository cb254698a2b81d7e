"""What a decoder repeats by mistake is told once; what people say is left alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from molva.speech.repetition import without_repetitions
from molva.transcript import Segment, Word


def segment(text: str, start: float = 0.0) -> Segment:
    """A word each second."""
    words = tuple(Word(word, start + i, start + i + 1, 0.9) for i, word in enumerate(text.split()))
    return Segment(start, start + max(len(words), 1), text, words)


def said(*texts: str) -> list[str]:
    segments = [segment(text, 100.0 * i) for i, text in enumerate(texts)]
    return [segment.text for segment in without_repetitions(segments)]


def test_segments_that_extend_each_other_are_one() -> None:
    first, *others = (
        segment(text, start)
        for start, text in (
            (0.0, "мы шли домой"),
            (10.0, "Мы шли домой вдвоём"),
            (20.0, "мы шли домой, вдвоём по снегу"),
        )
    )
    [whole] = without_repetitions([first, *others])
    assert whole.text == "мы шли домой, вдвоём по снегу"
    assert (whole.start, whole.end) == (0.0, others[-1].end)


def test_the_tail_of_the_one_before_is_taken_out() -> None:
    assert said("он открыл старую дверь", "Открыл старую дверь и вышел во двор") == [
        "он открыл старую дверь",
        "и вышел во двор",
    ]


def test_the_same_segment_again_is_told_once() -> None:
    assert said("продолжение следует скоро", "Продолжение следует скоро.", "продолжение следует скоро") == [
        "продолжение следует скоро"
    ]
    assert said("субтитры", "субтитры", "субтитры", "субтитры", "конец") == ["субтитры", "конец"]


@pytest.mark.parametrize(
    ("looped", "once"),
    [
        ("раз два три раз два три", "раз два три"),
        ("спасибо спасибо спасибо спасибо спасибо", "спасибо"),
        ("ну вот ну вот ну вот ну вот и всё", "ну вот и всё"),
        ("начало раз два три раз два три раз два три конец", "начало раз два три конец"),
    ],
)
def test_a_loop_is_told_once(looped: str, once: str) -> None:
    assert said(looped) == [once]


@pytest.mark.parametrize(
    "texts",
    [
        ("да", "да"),
        ("нет нет нет",),
        ("очень очень хорошо",),
        ("мы шли домой", "было поздно", "мы шли домой"),
        ("он пришёл", "он пришёл вчера"),
        ("это первое предложение", "это второе предложение"),
        ("мы шли домой потом мы шли домой",),
    ],
)
def test_what_people_say_is_left_alone(texts: tuple[str, ...]) -> None:
    assert said(*texts) == list(texts)


def test_blank_segments_are_gone() -> None:
    assert said("", "  ", "слово") == ["слово"]


@given(st.lists(st.text(st.sampled_from("аб "), max_size=30), max_size=8))
def test_times_go_forward_and_nothing_is_made_up(texts: list[str]) -> None:
    segments = [segment(text, 100.0 * i) for i, text in enumerate(texts)]
    kept = without_repetitions(segments)
    assert all(part.text.strip() for part in kept)
    assert [part.start for part in kept] == sorted(part.start for part in kept)
    spoken = {(word.start, word.text) for part in segments for word in part.words}
    assert all((word.start, word.text) in spoken for part in kept for word in part.words)
    assert without_repetitions(kept) == kept
