"""Turns and words -> words with their speakers."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace

from molva.transcript import Segment, Turn, Word

SENTENCE_ENDS = (".", "?", "!", "…", "。", "？", "！")
CLOSING = "\"'»”’)]"
"""What may stand behind the sign that ends a sentence."""
SNAP_WORDS = 2
"""So near to the end of a sentence a change of speaker is one at its end: times of words are no better than that."""
SHORTEST_S = 0.02
"""What a word without length counts as."""


def attribute(segments: Sequence[Segment], turns: Sequence[Turn]) -> tuple[Segment, ...]:
    """Each word gets the speaker whose turns it overlaps most; outside of all turns, that of the nearest.

    A change of speaker goes to the end of a sentence where one is near. Speakers are numbered as their words appear.
    Without turns the segments stay as they are.
    """
    return attribute_all(segments, turns)[0]


def attribute_all(segments: Sequence[Segment], turns: Sequence[Turn]) -> tuple[tuple[Segment, ...], dict[int, int]]:
    """The same, with the number that each speaker of the turns has got, as far as he has words."""
    if not turns:
        return tuple(segments), {}
    speakers = speakers_of([word for segment in segments for word in segment.words], turns)
    numbers: dict[int, int] = {}
    named = iter([numbers.setdefault(speaker, len(numbers)) for speaker in speakers])
    attributed = tuple(
        replace(segment, words=tuple(replace(word, speaker=next(named)) for word in segment.words))
        for segment in segments
    )
    return attributed, numbers


def speakers_of(words: Sequence[Word], turns: Sequence[Turn]) -> list[int]:
    """The speaker of each word by the same rules, numbered as the turns are. There must be a turn."""
    timeline = _Timeline(sorted(turns, key=lambda turn: turn.start))
    return _at_sentence_ends(words, [timeline.speaker(word) for word in words])


class _Timeline:
    """Finds the turns around a time without looking through all of them."""

    def __init__(self, turns: Sequence[Turn]) -> None:
        self._turns = turns
        self._starts = [turn.start for turn in turns]
        self._latest_end: list[float] = []
        """Of all turns up to each."""
        for turn in turns:
            self._latest_end.append(max(turn.end, self._latest_end[-1] if self._latest_end else turn.end))

    def speaker(self, word: Word) -> int:
        start, end = word.start, max(word.end, word.start + SHORTEST_S)
        after = bisect_right(self._starts, end)
        overlaps: dict[int, float] = {}
        nearest, distance = self._turns[min(after, len(self._turns) - 1)], float("inf")
        for i in range(min(after, len(self._turns) - 1), -1, -1):
            turn = self._turns[i]
            overlap = min(end, turn.end) - max(start, turn.start)
            if overlap > 0:
                overlaps[turn.speaker] = overlaps.get(turn.speaker, 0.0) + overlap
            elif -overlap < distance:
                nearest, distance = turn, -overlap
            if self._latest_end[i] < start and distance <= start - self._latest_end[i]:
                break  # nothing before is nearer
        if not overlaps:
            return nearest.speaker
        return max(overlaps, key=lambda speaker: overlaps[speaker])


def _at_sentence_ends(words: Sequence[Word], speakers: Sequence[int]) -> list[int]:
    """The speakers, with each change moved to a sentence's end within reach. No speaker loses all of his words."""
    changes = [i for i in range(1, len(words)) if speakers[i] != speakers[i - 1]]
    borders = [0, *changes, len(words)]
    moved = borders.copy()
    for k in range(1, len(borders) - 1):
        near = [
            i
            for i in range(borders[k] - SNAP_WORDS, borders[k] + SNAP_WORDS + 1)
            if moved[k - 1] < i < borders[k + 1] and words[i - 1].text.rstrip(CLOSING).endswith(SENTENCE_ENDS)
        ]
        if near:
            moved[k] = min(near, key=lambda i: abs(i - borders[k]))
    return [
        speakers[first] for first, begin, end in zip(borders, moved, moved[1:], strict=False) for _ in range(begin, end)
    ]
