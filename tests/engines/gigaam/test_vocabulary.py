"""Tokens to text and words."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from molva.engines.base import Token
from molva.engines.gigaam.vocabulary import group_words, join_text, read_vocabulary
from molva.errors import ModelFilesInvalid


def tokens(*pieces: str) -> list[Token]:
    return [Token(id=i, text=piece, start=i * 0.04, confidence=1 / (i + 1)) for i, piece in enumerate(pieces)]


def test_a_lone_mark_is_a_space() -> None:
    spoken = tokens("▁", "д", "а", "▁", "▁", "н", "е", "т", "▁")
    assert join_text(spoken) == "да нет"
    assert [(w.text, w.start, w.end) for w in group_words(spoken)] == [("да", 0.04, 0.08), ("нет", 0.2, 0.28)]


def test_a_piece_with_a_mark_starts_a_word() -> None:
    spoken = tokens("▁При", "вет", ",", "▁мир", "!")
    assert join_text(spoken) == "Привет, мир!"
    assert [w.text for w in group_words(spoken)] == ["Привет,", "мир!"]


def test_a_mark_inside_a_piece_cuts_it() -> None:
    assert [w.text for w in group_words(tokens("▁а▁б", "в"))] == ["а", "бв"]


def test_a_word_is_as_certain_as_its_tokens_on_average() -> None:
    [word] = group_words(tokens("▁а", "б"))
    assert word.confidence == pytest.approx(0.75)


@given(st.lists(st.text("аб▁", min_size=1, max_size=3), max_size=12))
def test_words_joined_by_spaces_are_the_text(pieces: list[str]) -> None:
    assert " ".join(word.text for word in group_words(tokens(*pieces))) == join_text(tokens(*pieces))


def test_a_space_may_be_a_token(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("  0\nа 1\n<blk> 2\n", encoding="utf-8")
    assert read_vocabulary(tmp_path / "vocab.txt").pieces == (" ", "а", "<blk>")


@pytest.mark.parametrize("text", ["", "а 0\n", "а 1\n<blk> 2\n", "а\n<blk> 1\n", "<blk> 0\nа 1\n"])
def test_another_form_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text(text, encoding="utf-8")
    with pytest.raises(ModelFilesInvalid, match=r"vocab\.txt"):
        read_vocabulary(tmp_path / "vocab.txt")
