"""Transcripts to write down: two made by hand, and a strategy for any other."""

from hypothesis import strategies as st

from molva.transcript import Coverage, Segment, Transcript, Word

Spoken = tuple[str, float, float] | tuple[str, float, float, int]


def segment(*spoken: Spoken) -> Segment:
    """A segment of (word, start, end) or (word, start, end, speaker)."""
    words = tuple(
        Word(text=text, start=start, end=end, confidence=0.9, speaker=rest[0] if rest else None)
        for text, start, end, *rest in spoken
    )
    return Segment(words[0].start, words[-1].end, " ".join(word.text for word in words), words)


def transcript(
    *segments: Segment,
    duration: float = 10.0,
    language: str = "ru",
    declared_duration: float | None = None,
    channels: int | None = None,
) -> Transcript:
    return Transcript(
        segments=segments,
        duration=duration,
        language=language,
        coverage=Coverage(speech_s=duration, transcribed_s=duration),
        declared_duration=declared_duration,
        channels=channels,
    )


EMPTY = transcript(duration=0.0)

DIALOGUE = transcript(
    segment(("Привет,", 0.5, 0.8, 0), ("как", 0.84, 0.96, 0), ("дела?", 1.0, 1.36, 0), ("Хорошо.", 2.0, 2.0, 1)),
    segment(("А", 3723.0004, 3723.04, 1), ("R&D", 3723.1, 3723.5, 1), ("<a|b>?", 3723.6, 3724.0, 1)),
    duration=3730.25,
)
"""Two speakers, a word without length, an hour's pause, and signs that some format must escape."""

TALKED_OVER = transcript(
    segment(("Я", 0.0, 1.0, 0), ("говорю", 1.0, 4.0, 0)),
    segment(("угу", 2.0, 2.5, 1)),
    segment(("долго", 5.0, 6.0, 0)),
    channels=2,
)
"""Two channels: the second says something while the first goes on."""

# No control characters: neither an engine nor a subtitle file has a place for them.
_texts = st.text(
    st.characters(exclude_categories=("Cs", "Cc")) | st.sampled_from('&<>|\\-"[] \t\n\u2028'), min_size=1, max_size=12
) | st.sampled_from(["-->", "&amp;", "<b>", "[SPEAKER_0]", "1", "WEBVTT", "NOTE", "слово", "x" * 100])
_gaps = st.sampled_from([0.0, 0.0, 0.02, 0.3, 1.99, 2.01, 60.0]) | st.floats(0, 5)


@st.composite
def transcripts(draw: st.DrawFn) -> Transcript:
    """Words in order of time, some of no length, some overlapping the one before; segments with and without words."""
    now = 0.0
    segments: list[Segment] = []
    for _ in range(draw(st.integers(0, 4))):
        words: list[Word] = []
        first = now
        for _ in range(draw(st.integers(0, 25))):
            start = max(now + draw(_gaps) - draw(st.sampled_from([0.0, 0.0, 0.5])), 0.0)
            now = start + draw(_gaps)
            words.append(
                Word(
                    text=draw(_texts),
                    start=start,
                    end=now,
                    confidence=draw(st.floats(0, 1)),
                    speaker=draw(st.sampled_from([None, None, 0, 1])),
                )
            )
        text = " ".join(word.text for word in words) if words else draw(_texts)
        segments.append(Segment(first, max(now, first), text, tuple(words)))
    duration = max([now, *(word.end for segment in segments for word in segment.words)]) + draw(_gaps)
    return transcript(*segments, duration=duration, language=draw(st.sampled_from(["ru", "en", "ja", "und"])))
