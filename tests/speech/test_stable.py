"""Stable words are never taken back."""

from hypothesis import given
from hypothesis import strategies as st

from molva.speech.stable import StablePrefix
from molva.transcript import Word


def spoken(text: str, step: float = 0.4) -> tuple[Word, ...]:
    """Words of equal length, one after the other."""
    return tuple(
        Word(text=word, start=i * step, end=(i + 1) * step, confidence=1.0) for i, word in enumerate(text.split())
    )


def read(*texts: str) -> list[tuple[str, int]]:
    prefix = StablePrefix()
    readings = [prefix.read(spoken(text)) for text in texts]
    return [(" ".join(word.text for word in reading.words), reading.n_stable) for reading in readings]


words = st.lists(
    st.builds(
        lambda text, start, length: Word(text=text, start=start, end=start + length, confidence=1.0),
        st.sampled_from("абвг"),
        st.floats(0, 5),
        st.floats(0.05, 1),
    ),
    max_size=6,
).map(lambda found: tuple(sorted(found, key=lambda word: word.start)))


@given(st.lists(words, max_size=8))
def test_no_later_reading_changes_a_stable_word(hypotheses: list[tuple[Word, ...]]) -> None:
    prefix, stable = StablePrefix(), list[str]()
    for hypothesis in hypotheses:
        reading = prefix.read(hypothesis)
        texts = [word.text for word in reading.words]
        assert texts[: len(stable)] == stable
        assert len(stable) <= reading.n_stable <= len(texts)
        stable = texts[: reading.n_stable]


@given(words)
def test_what_is_heard_twice_is_stable(hypothesis: tuple[Word, ...]) -> None:
    prefix = StablePrefix()
    assert prefix.read(hypothesis) == (hypothesis, 0)
    assert prefix.read(hypothesis) == (hypothesis, len(hypothesis))


def test_agreement_ends_at_the_first_difference() -> None:
    assert read("я вижу тебя", "я вижу себя там") == [("я вижу тебя", 0), ("я вижу себя там", 2)]


def test_a_contradicted_word_stays_and_what_follows_it_is_new() -> None:
    assert read("раз два", "раз два три", "раз двор три четыре") == [
        ("раз два", 0),
        ("раз два три", 2),
        ("раз два три четыре", 3),
    ]


def test_a_shorter_hypothesis_does_not_shorten_what_is_stable() -> None:
    assert read("раз два", "раз два", "раз")[-1] == ("раз два", 2)
