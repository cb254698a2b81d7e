"""The sides of a conversation -> a dialogue: nothing is lost or changed, and turns are in the order of time."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from molva.speech.dialogue import PAUSE_S, interleave
from molva.transcript import Segment, Word


def said(side: int, *words: tuple[str, float, float]) -> Segment:
    """A segment of (word, start, end)."""
    spoken = tuple(Word(text, start, end, 1.0, side) for text, start, end in words)
    return Segment(spoken[0].start, spoken[-1].end, " ".join(word.text for word in spoken), spoken)


def turns(*sides: list[Segment]) -> list[tuple[float, str]]:
    return [(segment.start, segment.text) for segment in interleave(sides)]


def test_segments_are_told_in_the_order_of_their_start() -> None:
    left = [said(0, ("алло", 0, 1)), said(0, ("хорошо", 8, 9))]
    right = [said(1, ("да", 2, 3)), said(1, ("пока", 10, 11))]
    assert turns(left, right) == [(0, "алло"), (2, "да"), (8, "хорошо"), (10, "пока")]


def test_a_segment_that_pauses_for_an_answer_is_cut_there() -> None:
    left = [said(0, ("вы", 0, 1), ("здесь", 1, 2), ("отлично", 4, 5))]
    right = [said(1, ("да", 2.5, 3.5))]
    assert turns(left, right) == [(0, "вы здесь"), (2.5, "да"), (4, "отлично")]


def test_a_pause_without_an_answer_cuts_nothing() -> None:
    left = [said(0, ("раз", 0, 1), ("два", 3, 4))]
    assert turns(left, [said(1, ("да", 5, 6))]) == [(0, "раз два"), (5, "да")]


def test_who_is_talked_over_is_not_cut() -> None:
    left = [said(0, ("раз", 0, 1), ("два", 1.0, 2), ("три", 2.0 + PAUSE_S - 0.01, 4))]
    right = [said(1, ("да", 1.2, 1.4), ("угу", 1.8, 2.3))]
    assert turns(left, right) == [(0, "раз два три"), (1.2, "да угу")]


def test_those_who_begin_together_are_told_by_their_number() -> None:
    assert turns([said(0, ("а", 1, 2))], [said(1, ("б", 1, 2))], [said(2, ("в", 1, 2))]) == [
        (1, "а"),
        (1, "б"),
        (1, "в"),
    ]


def test_one_side_stays_as_it_is() -> None:
    alone = [said(0, ("раз", 0, 1), ("два", 9, 10)), Segment(11, 12, "без слов", ())]
    assert interleave([alone]) == tuple(alone)
    assert interleave([]) == ()


def test_a_segment_without_words_is_kept_whole() -> None:
    left = [Segment(0, 9, "без слов", ())]
    assert turns(left, [said(1, ("да", 2, 3))]) == [(0, "без слов"), (2, "да")]


gaps = st.sampled_from([0.0, 0.04, PAUSE_S, 3.0]) | st.floats(0, 2)


@st.composite
def conversations(draw: st.DrawFn) -> list[list[Segment]]:
    sides = []
    for number in range(draw(st.integers(1, 4))):
        now, side = 0.0, list[Segment]()
        for _ in range(draw(st.integers(0, 4))):
            words = []
            for _ in range(draw(st.integers(1, 6))):
                start = now + draw(gaps)
                now = start + draw(gaps)
                words.append((draw(st.sampled_from(["да", "нет", "может"])), start, now))
            side.append(said(number, *words))
        sides.append(side)
    return sides


@given(conversations())
def test_each_side_keeps_its_words_and_their_order(sides: list[list[Segment]]) -> None:
    dialogue = interleave(sides)
    for number, side in enumerate(sides):
        kept = [word for segment in dialogue for word in segment.words if word.speaker == number]
        assert kept == [word for segment in side for word in segment.words]
    assert all(len({word.speaker for word in segment.words}) == 1 for segment in dialogue)


@given(conversations())
def test_the_text_of_a_side_is_the_one_it_had(sides: list[list[Segment]]) -> None:
    dialogue = interleave(sides)
    for number, side in enumerate(sides):
        kept = " ".join(segment.text for segment in dialogue if segment.words[0].speaker == number)
        assert kept == " ".join(segment.text for segment in side)


@given(conversations())
def test_turns_begin_in_the_order_of_time_and_end_with_their_last_word(sides: list[list[Segment]]) -> None:
    dialogue = interleave(sides)
    starts = [segment.start for segment in dialogue]
    assert starts == sorted(starts)
    for segment in dialogue:
        assert (segment.start, segment.end) == (segment.words[0].start, segment.words[-1].end)


@given(conversations())
def test_no_turn_pauses_while_another_side_speaks(sides: list[list[Segment]]) -> None:
    dialogue = interleave(sides)
    if len(sides) == 1:
        return
    for segment in dialogue:
        for left, right in zip(segment.words, segment.words[1:], strict=False):
            if right.start - left.end >= PAUSE_S:
                inside = [
                    word
                    for other in dialogue
                    for word in other.words
                    if word.speaker != left.speaker and left.end <= (word.start + word.end) / 2 < right.start
                ]
                assert inside == []


@given(conversations())
def test_the_order_of_the_sides_changes_nothing_but_who_comes_first(sides: list[list[Segment]]) -> None:
    assert Counter(interleave(sides)) == Counter(interleave(sides[::-1]))
