"""What the sessions noted -> figures. Pure functions; times in seconds."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bench.client import Session
from bench.recording import FRAME_S, Utterance

MIN_SILENCE_S = 0.5
"""The server's default: what it waits for before it calls an utterance over."""

REACH_S = 0.5
"""How far outside an utterance a word of it may lie: models place words a little early or late."""


@dataclass
class Figures:
    """Of any number of sessions."""

    partial_lag: list[float] = field(default_factory=list)
    first_partial: list[float] = field(default_factory=list)
    final_delay: list[float] = field(default_factory=list)
    finals: int = 0
    partials: int = 0
    broken_finals: int = 0
    """Finals that change words which a partial had called stable."""
    stable_words: int = 0
    """Words that partials had called stable when the final came."""
    broken_words: int = 0
    """Those of them that are not in the final."""
    lost: int = 0
    changed: int = 0
    """Finals with another text than the undisturbed session's."""
    errors: int = 0
    speech: float = 0.0

    def add(self, other: "Figures") -> None:
        """Take in another session's."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)


def read_session(session: Session, utterances: Sequence[Utterance], expected: Sequence[str]) -> Figures:
    """Figures of one session. `expected`: the texts of the finals of the same audio, undisturbed."""
    figures = Figures(speech=sum(utterance.end - utterance.start for utterance in utterances))
    stable: list[list[str]] = []
    begun: set[Utterance] = set()
    for arrival, message in session.messages:
        words = message.get("words", [])
        if message["type"] == "partial":
            figures.partials += 1
            stable.append(message["text"][: message.get("stable", 0)].split())
            figures.partial_lag.append(arrival - session.due(words[-1]["end"]))
            utterance = utterance_of(words[0], utterances)
            if utterance is not None and utterance not in begun:
                begun.add(utterance)
                figures.first_partial.append(arrival - session.due(utterance.start))
        elif message["type"] == "final":
            figures.finals += 1
            heard = message["text"].split()
            figures.broken_finals += any(heard[: len(prefix)] != prefix for prefix in stable)
            longest = max(stable, key=len, default=[])
            figures.stable_words += len(longest)
            figures.broken_words += len(longest) - n_common(longest, heard)
            stable.clear()
            utterance = utterance_of(words[-1], utterances) if words else None
            if utterance is not None and message.get("endpoint_reason") == "vad":
                figures.final_delay.append(arrival - session.due(utterance.end))
        elif message["type"] == "error":
            figures.errors += 1
    figures.lost, figures.changed = compare(expected, final_texts(session))
    return figures


def final_texts(session: Session) -> list[str]:
    """The finals' texts in order."""
    return [message["text"] for _, message in session.messages if message["type"] == "final"]


def utterance_of(word: dict[str, Any], utterances: Sequence[Utterance]) -> Utterance | None:
    """The utterance that a word belongs to."""
    middle = (word["start"] + word["end"]) / 2

    def distance(utterance: Utterance) -> float:
        return float(max(utterance.start - middle, middle - utterance.end, 0))

    nearest = min(utterances, key=distance, default=None)
    return nearest if nearest is not None and distance(nearest) <= REACH_S else None


def compare(expected: Sequence[str], heard: Sequence[str]) -> tuple[int, int]:
    """Finals that are missing, and finals that are different."""
    lost = changed = 0
    for kind, left, right, begin, end in difflib.SequenceMatcher(None, expected, heard, autojunk=False).get_opcodes():
        if kind != "equal":
            missing = max((right - left) - (end - begin), 0)
            lost += missing
            changed += max(right - left, end - begin) - missing
    return lost, changed


def n_common(left: Sequence[str], right: Sequence[str]) -> int:
    """Words that both have in the same order."""
    return sum(block.size for block in difflib.SequenceMatcher(None, left, right, autojunk=False).get_matching_blocks())


def percentiles(values: Sequence[float]) -> tuple[float, float, float]:
    """The 50th, 95th and 99th; not a number where there are no values."""
    if not values:
        return float("nan"), float("nan"), float("nan")
    median, high, highest = np.percentile(np.asarray(values), [50, 95, 99])
    return float(median), float(high), float(highest)


def kept_pace(lags_s: Sequence[float]) -> bool:
    """Whether the load generator was no bottleneck: its own event loop was hardly ever late by a message."""
    return percentiles(lags_s)[2] < FRAME_S
