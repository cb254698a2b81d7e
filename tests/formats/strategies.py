"""Random transcripts."""

from hypothesis import strategies as st

from molva.transcript import Coverage, Segment, Transcript, Word

PRINTED = st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zs", "Zl", "Zp", "Cf"])

spellings = st.one_of(
    st.sampled_from(["да", "Волга,", "море.", "R&B", "<b>", "-->", "a|b", "…", "слово" * 30]),
    st.text(
        st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zs", "Zl", "Zp", "Cf"]), min_size=1, max_size=9
    ),
)


@st.composite
def transcripts(draw: st.DrawFn, speakers: bool = True) -> Transcript:
    """Words in order, some of no length, some after long pauses; languages with and without spaces."""
    position, segments = 0.0, []
    for _ in range(draw(st.integers(0, 4))):
        words = []
        for _ in range(draw(st.integers(1, 12))):
            position += draw(st.sampled_from([0.0, 0.04, 0.2, 1.0, 3.0, 4000.0]))
            length = draw(st.sampled_from([0.0, 0.04, 0.32, 1.0]))
            speaker = draw(st.sampled_from([None, 0, 1])) if speakers else None
            words.append(Word(draw(spellings), round(position, 3), round(position + length, 3), 0.5, speaker))
            position += length
        text = " ".join(word.text for word in words)
        segments.append(Segment(words[0].start, words[-1].end, text, tuple(words)))
    language = draw(st.sampled_from(["ru", "en", "zh"]))
    return Transcript(tuple(segments), position + 1, language, Coverage(position, position))


def spoken(start: float, *words: str, step: float = 0.5, speaker: int | None = None) -> Segment:
    """A segment of words, one each `step` seconds."""
    made = tuple(
        Word(text, round(start + i * step, 3), round(start + (i + 1) * step, 3), 0.9, speaker)
        for i, text in enumerate(words)
    )
    return Segment(made[0].start, made[-1].end, " ".join(words), made)


def transcript_of(*segments: Segment, language: str = "ru") -> Transcript:
    duration = segments[-1].end if segments else 3.0
    return Transcript(segments, duration, language, Coverage(duration, duration))
