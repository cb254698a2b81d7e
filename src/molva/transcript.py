"""The facts everybody passes around. Times are seconds from the start of the file or stream."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

#: Languages written without spaces between words; their words are joined by nothing.
UNSPACED_LANGUAGES = frozenset({"zh", "ja", "th", "lo", "my", "yue"})

#: ISO 639-2 code for "nobody knows": the model speaks several languages and does not tell which it heard.
UNDETERMINED = "und"


@dataclass(frozen=True, slots=True)
class Word:
    """One recognised word."""

    text: str
    start: float
    end: float
    confidence: float
    """0..1, the mean over the word's tokens."""
    speaker: int | None = None
    """Zero-based; None where speakers were not asked for or not found."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One stretch in which one speaker speaks; others may speak at the same time."""

    start: float
    end: float
    speaker: int
    """Zero-based, in order of appearance."""


@dataclass(frozen=True, slots=True)
class Token:
    """One emitted unit of the vocabulary."""

    id: int
    text: str
    """As in the vocabulary, word marker included."""
    start: float
    """Seconds from the start of the window."""
    confidence: float
    """0..1, the softmax score."""


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """What the engine heard in one window; times are seconds from the window's start."""

    text: str
    tokens: tuple[Token, ...]
    words: tuple[Word, ...]
    language: str
    """ISO 639-1 code, or UNDETERMINED."""
    avg_logprob: float | None = None
    """Mean natural logarithm of the tokens' probabilities, where the engine tells."""
    no_speech_prob: float | None = None
    """How probable it is that nobody speaks, where the engine tells."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One decoded stretch of speech."""

    start: float
    end: float
    text: str
    words: tuple[Word, ...]
    avg_logprob: float | None = None
    no_speech_prob: float | None = None
    """Both as in the hypothesis."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of the speech that was found went through the engine; equal figures mean nothing was lost."""

    speech_s: float
    transcribed_s: float


@dataclass(frozen=True, slots=True)
class Transcript:
    """The result for one file or stream."""

    segments: tuple[Segment, ...]
    duration: float
    """Seconds of audio that were decoded."""
    language: str
    """Of the text, ISO 639-1: given, detected, the model's only one, or `en` for translations; else UNDETERMINED."""
    coverage: Coverage
    declared_duration: float | None = None
    """What the container promised, where it did; more than `duration` means the file was cut short."""
    diarization: Literal["done", "failed"] | None = None
    """Whether speakers were told apart; None where nobody asked for it."""
    channels: int | None = None
    """How many were transcribed by themselves, each the speaker of its number; None where they were mixed."""
    recognized: Mapping[int, int] = field(default_factory=dict)
    """Speakers who are among the voices that were known beforehand, and which of these they are."""

    @property
    def text(self) -> str:
        separator = word_separator(self.language)
        return separator.join(segment.text for segment in self.segments if segment.text)

    @property
    def words(self) -> tuple[Word, ...]:
        """In the order of the text; those of several channels by their start, since segments overlap there."""
        words = (word for segment in self.segments for word in segment.words)
        return tuple(words) if self.channels is None else tuple(sorted(words, key=lambda word: word.start))


def word_separator(language: str) -> str:
    """What stands between two words of `language` in running text."""
    return "" if language in UNSPACED_LANGUAGES else " "
