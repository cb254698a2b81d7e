"""Whose word is whose."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from molva.speech.attribution import attribute
from molva.transcript import Segment, Turn, Word


def spoken(text: str, start: float = 0.0, step: float = 0.5) -> Segment:
    """A segment with a word every half second."""
    words = tuple(Word(word, start + i * step, start + (i + 0.8) * step, 1.0) for i, word in enumerate(text.split()))
    return Segment(words[0].start, words[-1].end, text, words)


def speakers(segments: tuple[Segment, ...]) -> list[int | None]:
    return [word.speaker for segment in segments for word in segment.words]


def test_a_word_belongs_to_whom_it_overlaps_most() -> None:
    segment = Segment(0, 1, "а", (Word("а", 0.0, 1.0, 1.0), Word("б", 1.0, 2.0, 1.0)))
    assert speakers(attribute([segment], [Turn(0, 1.4, 0), Turn(1.4, 3, 1)])) == [0, 1]


def test_overlaps_of_one_speaker_add_up() -> None:
    word = Segment(0, 1, "а", (Word("а", 0.0, 1.0, 1.0), Word("б", 2.0, 3.0, 1.0)))
    turns = [Turn(0, 0.3, 0), Turn(0.3, 0.7, 1), Turn(0.7, 1.0, 0), Turn(2, 3, 1)]
    assert speakers(attribute([word], turns)) == [0, 1]


def test_a_word_outside_of_all_turns_goes_to_the_nearest() -> None:
    segment = Segment(5, 6, "а б", (Word("а", 5.0, 5.2, 1.0), Word("б", 8.0, 8.2, 1.0)))
    assert speakers(attribute([segment], [Turn(0, 4.5, 0), Turn(9, 10, 1)])) == [0, 1]


def test_a_long_turn_that_began_before_shorter_ones_is_not_overlooked() -> None:
    segment = Segment(8, 9, "а б", (Word("а", 0.5, 0.9, 1.0), Word("б", 8.0, 9.0, 1.0)))
    turns = [Turn(0, 10, 0), Turn(1, 2, 1), Turn(3, 4, 1)]
    assert speakers(attribute([segment], turns)) == [0, 0]


def test_a_word_without_length_has_a_speaker() -> None:
    segment = Segment(1, 1, "а", (Word("а", 1.0, 1.0, 1.0),))
    assert speakers(attribute([segment], [Turn(0, 2, 0)])) == [0]


def test_speakers_are_numbered_as_their_words_appear() -> None:
    turns = [Turn(0, 0.05, 0), Turn(1, 2, 2), Turn(2, 3, 1)]
    assert speakers(attribute([spoken("а б в г", start=1.0)], turns)) == [0, 0, 1, 1]


def test_without_turns_nobody_is_named() -> None:
    assert speakers(attribute([spoken("а б")], [])) == [None, None]


@pytest.mark.parametrize("change", [1.0, 1.5, 2.0, 2.5, 3.0])
def test_a_change_near_the_end_of_a_sentence_goes_there(change: float) -> None:
    segment = spoken("Как у вас дела? У меня всё хорошо.")
    turns = [Turn(0, change, 0), Turn(change, 10, 1)]
    assert speakers(attribute([segment], turns)) == [0] * 4 + [1] * 4


def test_a_change_far_from_any_end_stays() -> None:
    segment = spoken("раз два три четыре пять шесть семь восемь девять.")
    assert speakers(attribute([segment], [Turn(0, 2, 0), Turn(2, 10, 1)])) == [0] * 4 + [1] * 5


def test_text_without_punctuation_is_cut_where_the_voice_changes() -> None:
    assert speakers(attribute([spoken("а б в г")], [Turn(0, 0.5, 0), Turn(0.5, 5, 1)])) == [0, 1, 1, 1]


def test_a_short_answer_between_two_sentences_keeps_its_speaker() -> None:
    segment = spoken("Вы придёте? Да. Тогда до завтра.")
    turns = [Turn(0, 1.0, 0), Turn(1.0, 1.5, 1), Turn(1.5, 5, 0)]
    assert speakers(attribute([segment], turns)) == [0, 0, 1, 0, 0, 0]


def test_a_quotation_mark_behind_the_sign_is_no_matter() -> None:
    segment = spoken("Он сказал: «Да». Она ушла домой.")
    assert speakers(attribute([segment], [Turn(0, 2.0, 0), Turn(2.0, 5, 1)])) == [0] * 3 + [1] * 3


times = st.floats(0, 50)
turns_of_up_to_four = st.lists(
    st.tuples(times, st.floats(0.1, 9), st.integers(0, 3)).map(lambda t: Turn(t[0], t[0] + t[1], t[2])), min_size=1
)
texts = st.lists(st.sampled_from(["а", "б.", "в?", "г"]), min_size=1, max_size=60).map(" ".join)


@given(texts, turns_of_up_to_four)
def test_every_word_has_a_speaker_and_nothing_else_changes(text: str, turns: list[Turn]) -> None:
    segment = spoken(text)
    [named] = attribute([segment], turns)
    assert [word.text for word in named.words] == text.split()
    assert [(word.start, word.end) for word in named.words] == [(word.start, word.end) for word in segment.words]
    found = [word.speaker for word in named.words]
    assert None not in found
    assert list(dict.fromkeys(found)) == list(range(len(set(found))))


@given(st.lists(st.sampled_from([0, 1, 2]), min_size=1, max_size=40), st.data())
def test_no_speaker_loses_all_words_to_sentence_ends(order: list[int], data: st.DataObject) -> None:
    text = " ".join(data.draw(st.sampled_from(["а", "б."])) for _ in order)
    turns = [Turn(i * 0.5, i * 0.5 + 0.5, speaker) for i, speaker in enumerate(order)]
    assert len(set(speakers(attribute([spoken(text)], turns)))) == len(set(order))
