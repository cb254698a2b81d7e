"""Which words stand in one cue, and when."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from molva.formats.cues import Layout, clock, split_cues
from molva.transcript import Segment, Transcript, word_separator
from tests.formats.strategies import spoken, transcript_of, transcripts

ANY = Layout(0, 0)


@given(transcripts(speakers=False), st.integers(0, 40), st.integers(0, 6))
def test_no_word_is_lost_doubled_or_moved(transcript: Transcript, max_chars: int, max_words: int) -> None:
    cues = split_cues(transcript, Layout(max_chars, max_words))
    separator = word_separator(transcript.language)
    together = separator.join(cue.text for cue in cues)
    assert together == separator.join(word.text for word in transcript.words)


@given(transcripts(), st.integers(0, 40), st.integers(0, 6))
def test_cues_have_length_and_do_not_overlap(transcript: Transcript, max_chars: int, max_words: int) -> None:
    cues = split_cues(transcript, Layout(max_chars, max_words))
    assert all(cue.start < cue.end for cue in cues)
    assert all(left.end <= right.start for left, right in pairwise(cues))


@given(transcripts(speakers=False), st.integers(1, 40), st.integers(1, 6))
def test_limits_hold_unless_one_word_is_longer(transcript: Transcript, max_chars: int, max_words: int) -> None:
    longest = max((len(word.text) for word in transcript.words), default=0)
    for cue in split_cues(transcript, Layout(max_chars, max_words)):
        assert len(cue.text) <= max(max_chars, longest)
        if word_separator(transcript.language):
            assert len(cue.text.split()) <= max_words


def test_a_long_pause_ends_a_cue() -> None:
    words = spoken(0, "раз", "два").words + spoken(3.1, "три").words
    transcript = transcript_of(Segment(0, 3.6, "раз два три", words))
    assert [cue.text for cue in split_cues(transcript, ANY)] == ["раз два", "три"]


def test_a_short_pause_does_not() -> None:
    words = spoken(0, "раз", "два").words + spoken(3.0, "три").words
    assert len(split_cues(transcript_of(Segment(0, 3.5, "раз два три", words)), ANY)) == 1


def test_a_segment_ends_a_cue() -> None:
    assert len(split_cues(transcript_of(spoken(0, "раз"), spoken(0.5, "два")), ANY)) == 2


def test_a_change_of_speaker_ends_a_cue_and_is_marked() -> None:
    words = spoken(0, "да", speaker=0).words + spoken(0.5, "нет", "нет", speaker=1).words
    cues = split_cues(transcript_of(Segment(0, 1.5, "да нет нет", words)), ANY)
    assert [cue.text for cue in cues] == ["[SPEAKER_0] да", "[SPEAKER_1] нет нет"]


def test_a_word_without_length_is_shown_long_enough_to_be_read() -> None:
    [cue] = split_cues(transcript_of(spoken(1.0, "да", step=0.0)), ANY)
    assert (cue.start, cue.end) == (1.0, 1.5)


def test_a_text_without_words_is_one_cue() -> None:
    [cue] = split_cues(transcript_of(Segment(1.0, 2.0, " два\n\nряда ", ())), ANY)
    assert (cue.start, cue.end, cue.text) == (1.0, 2.0, "два ряда")


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "00:00:00,000"),
        (3661.0015, "01:01:01,002"),
        (360_000, "100:00:00,000"),
        (59.9996, "00:01:00,000"),
        (-1, "00:00:00,000"),
    ],
)
def test_the_clock_rounds_to_milliseconds(seconds: float, expected: str) -> None:
    assert clock(seconds, ",") == expected
