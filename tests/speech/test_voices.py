"""Numbers of voices stay, whatever comes later."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from molva.speech.clustering import MAX_SPEAKERS, MIN_SPEAKER_S, RELIABLE_S
from molva.speech.voices import MAX_REMEMBERED, Voice, Voices

RANDOM = np.random.default_rng(1)
CENTRES = np.linalg.qr(RANDOM.standard_normal((256, 100)))[0].T
"""Voices that have nothing in common."""


def spoken(speaker: int, speech_s: float = 2.0, *, spread: float = 0.03) -> Voice:
    """A stretch of a speaker's speech; no two are alike."""
    vector = CENTRES[speaker] + spread * RANDOM.standard_normal(256)
    return Voice(np.asarray(vector / np.linalg.norm(vector), np.float32), speech_s)


@given(st.lists(st.lists(st.integers(0, 5), max_size=6), max_size=12))
def test_each_voice_has_one_number_for_ever_and_numbers_follow_the_order_of_appearance(
    utterances: list[list[int]],
) -> None:
    voices, numbers = Voices(), dict[int, int]()
    for utterance in utterances:
        told = voices.tell_apart([spoken(speaker) for speaker in utterance])
        for speaker in utterance:
            numbers.setdefault(speaker, len(numbers))
        assert told == [numbers[speaker] for speaker in utterance]


@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 9), st.floats(0.2, 3), st.floats(0, 0.3)), max_size=4),
        max_size=10,
    )
)
def test_numbers_are_few_and_without_gaps_whatever_is_heard(
    utterances: list[list[tuple[int, float, float]]],
) -> None:
    voices, told = Voices(), list[int]()
    for utterance in utterances:
        told += voices.tell_apart([spoken(speaker, length, spread=spread) for speaker, length, spread in utterance])
    highest = -1
    for number in told:
        assert 0 <= number <= highest + 1
        highest = max(highest, number)


def test_too_little_speech_makes_no_speaker() -> None:
    voices = Voices()
    voices.tell_apart([spoken(0), spoken(0)])
    assert voices.tell_apart([spoken(1, RELIABLE_S)]) == [0]


def test_speech_that_adds_up_does() -> None:
    voices = Voices()
    voices.tell_apart([spoken(0), spoken(0)])
    voices.tell_apart([spoken(1, MIN_SPEAKER_S / 2)])
    assert voices.tell_apart([spoken(1, MIN_SPEAKER_S / 2)]) == [1]


def test_there_are_never_more_than_the_limit() -> None:
    voices = Voices()
    told = [number for speaker in range(70) for number in voices.tell_apart([spoken(speaker), spoken(speaker)])]
    assert set(told) == set(range(MAX_SPEAKERS))


def test_whoever_has_said_little_is_remembered_through_a_long_session() -> None:
    voices = Voices()
    voices.tell_apart([spoken(0), spoken(0)])
    voices.tell_apart([spoken(1), spoken(1)])
    for _ in range(MAX_REMEMBERED // 40 + 2):
        assert voices.tell_apart([spoken(0) for _ in range(40)]) == [0] * 40
    assert voices.tell_apart([spoken(1)]) == [1]


def test_a_guess_is_the_most_alike_and_teaches_nothing() -> None:
    voices = Voices()
    assert voices.nearest([spoken(3)]) == [0]
    voices.tell_apart([spoken(0), spoken(0), spoken(1), spoken(1)])
    assert voices.nearest([spoken(1), spoken(0)]) == [1, 0]
    assert voices.tell_apart([spoken(2)]) == [2]


def test_an_utterance_without_a_voice_changes_nothing() -> None:
    assert Voices().tell_apart([]) == []
