"""Joining windows: no word lost, none doubled."""

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from molva.samples import SAMPLE_RATE
from molva.speech.chunks import Window
from molva.speech.stitch import Stitcher, agreed_pairs, join_words
from molva.transcript import Hypothesis, Segment, Word, word_separator

VOCABULARY = ["да", "нет", "и", "море", "Волга", "пришёл"]


def word(text: str, start: float, end: float, confidence: float = 0.9) -> Word:
    return Word(text=text, start=round(start, 3), end=round(end, 3), confidence=confidence)


def window(start_s: float, end_s: float, overlap_s: float = 0.0) -> Window:
    samples = np.zeros(round((end_s - start_s) * SAMPLE_RATE), np.float32)
    return Window(round(start_s * SAMPLE_RATE), samples, speech=0, overlap=round(overlap_s * SAMPLE_RATE))


def hypothesis(*words: Word, language: str = "ru") -> Hypothesis:
    return Hypothesis(
        text=word_separator(language).join(w.text for w in words), tokens=(), words=words, language=language
    )


def stitch(*parts: tuple[Window, Hypothesis]) -> list[Segment]:
    stitcher = Stitcher()
    return [segment for part in parts for segment in stitcher.feed(*part)] + stitcher.flush()


@st.composite
def speech(draw: st.DrawFn) -> list[Word]:
    """Unbroken speech: words of 0.2 to 0.7 s with hardly a gap, repeats included."""
    words, position = [], 0.1
    for _ in range(draw(st.integers(20, 60))):
        length = draw(st.floats(0.2, 0.7))
        words.append(word(draw(st.sampled_from(VOCABULARY)), position, position + length))
        position += length + draw(st.floats(0.0, 0.1))
    return words


def heard(words: list[Word], begin: float, end: float, jitter: float) -> Hypothesis:
    """What an engine makes of a window: words cut by its edges come out as something else, times waver."""
    found = []
    for i, true in enumerate(words):
        if true.end <= begin or true.start >= end:
            continue
        text = "обрыв" if true.start < begin or true.end > end else true.text
        shift = jitter if i % 2 else -jitter
        start = min(max(true.start + shift - begin, 0.0), end - begin)
        found.append(word(text, start, min(max(true.end + shift - begin, start), end - begin)))
    return hypothesis(*found)


@given(speech(), st.floats(0, 0.04), st.floats(6, 9))
def test_overlapping_windows_give_back_every_word_once(words: list[Word], jitter: float, window_s: float) -> None:
    overlap, total = 4.0, words[-1].end + 0.1
    parts, begin = [], 0.0
    while True:
        end = min(begin + window_s, total)
        is_last = end >= total
        parts.append((window(begin, end, 0.0 if is_last else overlap), heard(words, begin, end, jitter)))
        if is_last:
            break
        begin = end - overlap
    segments = stitch(*parts)
    assert [w.text for segment in segments for w in segment.words] == [w.text for w in words]
    assert " ".join(segment.text for segment in segments) == " ".join(w.text for w in words)


def test_words_get_times_of_the_file() -> None:
    [segment] = stitch((window(10.0, 12.0), hypothesis(word("море", 0.5, 1.0))))
    assert segment == Segment(start=10.5, end=11.0, text="море", words=(word("море", 10.5, 11.0),))


def test_an_empty_window_gives_no_segment() -> None:
    assert stitch((window(0, 2), hypothesis()), (window(2, 4, 1), hypothesis()), (window(3, 5), hypothesis())) == []


def test_a_text_without_words_has_the_bounds_of_its_window() -> None:
    silent = Hypothesis(text="Hm.", tokens=(), words=(), language="en")
    assert stitch((window(3, 5), silent)) == [Segment(start=3.0, end=5.0, text="Hm.", words=())]


def test_case_and_punctuation_do_not_hide_agreement() -> None:
    left = [word("Волга,", 1.0, 1.4), word("море", 1.5, 1.9)]
    right = [word("волга", 1.05, 1.45), word("Море.", 1.5, 1.9)]
    assert agreed_pairs(left, right) == [(0, 0), (1, 1)]


def test_a_word_far_away_is_another_word() -> None:
    assert agreed_pairs([word("да", 1.0, 1.2)], [word("да", 2.0, 2.2)]) == []


def test_without_agreement_the_middle_of_the_overlap_decides() -> None:
    left = [word("а", 1.0, 1.4), word("б", 2.6, 2.9)]
    right = [word("в", 1.0, 1.4), word("г", 2.6, 2.9)]
    assert join_words(left, right, 0.0, 4.0) == ((left[0],), (right[1],))


def test_a_word_that_both_heard_at_the_changeover_is_kept_once() -> None:
    left, right = [word("мора", 1.8, 2.1, 0.4)], [word("море", 1.9, 2.3, 0.8)]
    assert join_words(left, right, 0.0, 4.0) == ((), tuple(right))
    assert join_words([replace(left[0], confidence=0.9)], right, 0.0, 4.0)[1] == ()


def test_unspaced_languages_are_joined_without_spaces() -> None:
    left = hypothesis(word("你", 0.2, 0.4), word("好", 1.0, 1.2), word("吗", 1.5, 1.7), language="zh")
    right = hypothesis(word("好", 0.0, 0.2), word("吗", 0.5, 0.7), word("我", 1.0, 1.2), language="zh")
    first, second = stitch((window(0, 2, 1), left), (window(1, 3), right))
    assert first.text + second.text == "你好吗我"
