"""What belongs on one line, and when it is shown."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from molva.formats.cues import MIN_DISPLAY_MS, Cue, build_cues
from molva.transcript import Segment, Transcript, Word, word_separator
from tests.formats.transcripts import DIALOGUE, EMPTY, TALKED_OVER, Spoken, segment, transcript, transcripts

limits = st.tuples(st.sampled_from([0, 1, 5, 20, 80]), st.sampled_from([0, 1, 3, 14]))


def evenly(*texts: str) -> list[Spoken]:
    """One word a second, each half a second long."""
    return [(text, float(i), i + 0.5) for i, text in enumerate(texts)]


def lines(transcript: Transcript, max_chars: int = 80, max_words: int = 14) -> list[str]:
    return [cue.text for cue in build_cues(transcript, max_chars, max_words)]


def times(*spoken: Spoken, duration: float = 10.0) -> list[tuple[int, int]]:
    """Of one-word cues."""
    return [(cue.start_ms, cue.end_ms) for cue in build_cues(transcript(segment(*spoken), duration=duration), 0, 1)]


def test_nothing_said_gives_no_cue() -> None:
    assert build_cues(EMPTY) == []


def test_a_dialogue() -> None:
    assert build_cues(DIALOGUE) == [
        Cue(500, 1360, "[SPEAKER_0] Привет, как дела?"),
        Cue(2000, 2000 + MIN_DISPLAY_MS, "[SPEAKER_1] Хорошо."),
        Cue(3_723_000, 3_724_000, "[SPEAKER_1] А R&D <a|b>?"),
    ]


def test_words_per_line() -> None:
    talk = transcript(segment(*evenly("а", "б", "в", "г", "д")))
    assert lines(talk, max_words=2) == ["а б", "в г", "д"]
    assert lines(talk, max_words=0) == ["а б в г д"]
    assert lines(transcript(segment(*evenly(*"абвгдежзийклмно")))) == ["а б в г д е ж з и й к л м н", "о"]


def test_characters_per_line() -> None:
    talk = transcript(segment(*evenly("раз", "два", "три", "четыре")))
    assert lines(talk, max_chars=7) == ["раз два", "три", "четыре"]
    assert lines(talk, max_chars=6) == ["раз", "два", "три", "четыре"]
    assert lines(talk, max_chars=0) == ["раз два три четыре"]


def test_a_word_longer_than_the_limit_stands_alone() -> None:
    talk = transcript(segment(*evenly("да", "превосходительство", "да")))
    assert lines(talk, max_chars=5) == ["да", "превосходительство", "да"]


def test_the_speakers_mark_counts_as_characters_of_the_line() -> None:
    talk = transcript(segment(("раз", 0, 1, 7), ("два", 1, 2, 7)))
    assert lines(talk, max_chars=len("[SPEAKER_7] раз два")) == ["[SPEAKER_7] раз два"]
    assert lines(talk, max_chars=len("[SPEAKER_7] раз два") - 1) == ["[SPEAKER_7] раз", "[SPEAKER_7] два"]


def test_a_change_of_speaker_ends_the_cue_also_to_nobody() -> None:
    talk = transcript(segment(("раз", 0, 1, 0), ("два", 1, 2), ("три", 2, 3, 0)))
    assert lines(talk) == ["[SPEAKER_0] раз", "два", "[SPEAKER_0] три"]


@pytest.mark.parametrize(("pause_s", "expected"), [(2.0, ["раз два"]), (2.1, ["раз", "два"])])
def test_a_long_pause_ends_the_cue(pause_s: float, expected: list[str]) -> None:
    assert lines(transcript(segment(("раз", 0, 1), ("два", 1 + pause_s, 5)))) == expected


def test_a_segments_end_ends_the_cue() -> None:
    assert lines(transcript(segment(("раз", 0, 1)), segment(("два", 1, 2)))) == ["раз", "два"]


def test_a_segment_without_words_is_one_cue_however_long() -> None:
    talk = transcript(Segment(1.0, 2.5, " длинный\r\n\nтекст без   слов ", ()), Segment(3.0, 4.0, " ", ()))
    assert build_cues(talk, 5, 1) == [Cue(1000, 2500, "длинный текст без слов")]


def test_words_of_languages_without_spaces_are_joined_by_nothing() -> None:
    assert lines(transcript(segment(*evenly("今", "まで")), language="ja")) == ["今まで"]


def test_no_line_break_stays_in_a_cue() -> None:
    assert lines(transcript(segment(*evenly("а\nб", "\u2028в\r\n\r\nг\t")))) == ["а б в г"]


def test_a_word_of_no_length_is_shown_for_a_moment() -> None:
    assert times(("да", 1.0, 1.0)) == [(1000, 1000 + MIN_DISPLAY_MS)]


def test_it_ends_before_the_next_word_and_the_end_of_the_file() -> None:
    assert times(("да", 1.0, 1.0), ("нет", 1.1, 1.1), duration=1.2) == [(1000, 1100), (1100, 1200)]


def test_words_at_one_instant_keep_their_order() -> None:
    assert times(("а", 1.0, 1.0), ("б", 1.0, 1.0), ("в", 1.0, 2.0)) == [(1000, 1001), (1001, 1002), (1002, 2000)]


def test_a_word_at_the_very_end_is_still_shown() -> None:
    assert times(("да", 1.0, 1.0), duration=1.0) == [(1000, 1001)]


def test_overlapping_words_give_way_to_the_next() -> None:
    assert times(("а", 0.0, 5.0), ("б", 3.0, 4.0)) == [(0, 3000), (3000, 4000)]


def test_who_is_talked_over_on_another_channel_keeps_the_cue() -> None:
    assert build_cues(TALKED_OVER) == [
        Cue(0, 4000, "[SPEAKER_0] Я говорю"),
        Cue(2000, 2500, "[SPEAKER_1] угу"),
        Cue(5000, 6000, "[SPEAKER_0] долго"),
    ]


def test_cues_of_channels_that_begin_together_are_both_there() -> None:
    talk = transcript(segment(("раз", 1.0, 2.0, 0)), segment(("два", 1.0, 2.0, 1)), channels=2)
    assert build_cues(talk) == [Cue(1000, 2000, "[SPEAKER_0] раз"), Cue(1000, 2000, "[SPEAKER_1] два")]


def members(transcript: Transcript, cues: list[Cue]) -> list[list[str]]:
    """The words of each cue, found by taking the transcript's words one after the other until they make up its text.

    Fails where a word is missing, doubled, out of order or marked with another speaker.
    """
    separator = word_separator(transcript.language)
    spoken = [
        (word.speaker, " ".join(word.text.split()))
        for segment in transcript.segments
        for word in (segment.words if any(word.text.strip() for word in segment.words) else [without_words(segment)])
        if word.text.strip()
    ]
    found = []
    for cue in cues:
        speaker, _ = spoken[0]
        text = cue.text if speaker is None else cue.text.removeprefix(f"[SPEAKER_{speaker}] ")
        taken = [spoken.pop(0)]
        while separator.join(word for _, word in taken) != text:
            taken.append(spoken.pop(0))
        assert {who for who, _ in taken} == {speaker}
        found.append([word for _, word in taken])
    assert spoken == []
    return found


def without_words(segment: Segment) -> Word:
    """A segment's text as if it were one word."""
    return Word(segment.text, segment.start, segment.end, 1.0)


@given(transcripts(), limits)
def test_no_word_is_lost_doubled_or_moved_and_limits_are_kept(transcript: Transcript, limits: tuple[int, int]) -> None:
    max_chars, max_words = limits
    cues = build_cues(transcript, *limits)
    for cue, words in zip(cues, members(transcript, cues), strict=True):
        assert max_words == 0 or len(words) <= max_words
        assert max_chars == 0 or len(words) == 1 or len(cue.text) <= max_chars


@given(transcripts(), limits)
def test_a_cue_is_one_line(transcript: Transcript, limits: tuple[int, int]) -> None:
    for text in lines(transcript, *limits):
        assert text.splitlines() == [text]
        assert text == text.strip() != ""


@given(transcripts(), limits)
def test_cues_are_in_order_within_the_file_and_do_not_overlap(transcript: Transcript, limits: tuple[int, int]) -> None:
    cues = build_cues(transcript, *limits)
    assert all(0 <= cue.start_ms < cue.end_ms for cue in cues)
    assert all(cue.end_ms <= following.start_ms for cue, following in pairwise(cues))
    # Cues that do not fit into the last instants of a file run over its end, a millisecond each.
    assert all(cue.end_ms <= round(transcript.duration * 1000) + len(cues) for cue in cues)
