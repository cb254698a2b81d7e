"""Token ids to text and words."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from molva.engines.base import Token
from molva.engines.files import read_text
from molva.errors import ModelFilesInvalid
from molva.transcript import Word

WORD_MARK = "▁"
"""Marks the start of a word; alone, it is the space of a character vocabulary."""

BLANK = "<blk>"

MOST_TOKENS = 65_536
"""The largest published one has 1025."""


@dataclass(frozen=True)
class Vocabulary:
    """The pieces in order of their ids; the last one is the blank."""

    pieces: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.pieces)

    @property
    def blank(self) -> int:
        return len(self.pieces) - 1


def read_vocabulary(path: Path) -> Vocabulary:
    """Read a file of `piece id` lines, ids from 0, blank last.

    Raises ModelFilesInvalid where the file does not have this form.
    """
    pieces: list[str] = []
    for number, line in enumerate(line for line in read_text(path).splitlines() if line.strip()):
        if number == MOST_TOKENS:
            raise ModelFilesInvalid(path.name, f"has more than {MOST_TOKENS:,} tokens")
        piece, _, identifier = line.rpartition(" ")
        if not piece or identifier != str(number):
            raise ModelFilesInvalid(path.name, f"line {number + 1} is not of the form 'token {number}'")
        pieces.append(piece)
    if not pieces or pieces[-1] != BLANK:
        raise ModelFilesInvalid(path.name, f"the last token is not {BLANK}")
    return Vocabulary(tuple(pieces))


def join_text(tokens: Sequence[Token]) -> str:
    """Running text: word marks become single spaces."""
    return " ".join("".join(token.text for token in tokens).replace(WORD_MARK, " ").split())


def group_words(tokens: Sequence[Token]) -> tuple[Word, ...]:
    """Words with the times of their first and last token and their tokens' mean confidence.

    A token may hold a word mark anywhere, or several (`▁`, `▁при`, `а▁б`): the text is cut at every mark.
    """
    words: list[Word] = []
    text, members = "", list[Token]()

    def close() -> None:
        nonlocal text
        if text:
            confidence = sum(token.confidence for token in members) / len(members)
            words.append(Word(text=text, start=members[0].start, end=members[-1].start, confidence=confidence))
        text = ""
        members.clear()

    for token in tokens:
        for position, part in enumerate(token.text.split(WORD_MARK)):
            if position > 0:
                close()
            if part:
                text += part
                members.append(token)
    close()
    return tuple(words)
