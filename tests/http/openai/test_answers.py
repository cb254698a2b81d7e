"""Bodies of OpenAI's formats, held against its own client's types and against parsers that know nothing of molva."""

import html
import zlib
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import srt
import webvtt
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.audio import Transcription, TranscriptionDiarized, TranscriptionVerbose, TranslationVerbose

from molva.http.openai.answers import compression_ratio, json_body, logprobs, speaker_segments, text_body
from molva.http.openai.form import Wishes, parse_fields
from molva.http.openai.languages import NAMES, english_name
from molva.models.catalog import CATALOG
from molva.transcript import Segment, Transcript, Word, word_separator
from tests.formats.transcripts import DIALOGUE, EMPTY, segment, transcript, transcripts

HELLO = transcript(segment(("Привет,", 0.5, 0.8), ("мир.", 0.9, 1.2)), duration=2.3456)
"""Short: one segment."""
LONG = transcript(
    segment(("раз", 1.0, 1.5), ("два", 1.6, 2.0)), segment(("три", 40.0, 40.4), ("четыре", 40.5, 41.0)), duration=60.01
)
JAPANESE = transcript(
    Segment(0.0, 1.0, "今日は", (Word("今日", 0.0, 0.5, 0.5), Word("は", 0.5, 1.0, 0.25))),
    Segment(30.0, 31.0, "晴れ", (Word("晴れ", 30.0, 31.0, 1.0),)),
    duration=31.0,
    language="ja",
)


def wishes(response_format: str = "json", *fields: tuple[str, str]) -> Wishes:
    return parse_fields([("response_format", response_format), *fields], lambda name, language: "served")


def body(transcript: Transcript, response_format: str = "json", *fields: tuple[str, str]) -> dict[str, Any]:
    return json_body(transcript, wishes(response_format, *fields), task="transcribe")


def granularities(*names: str) -> list[tuple[str, str]]:
    return [("timestamp_granularities[]", name) for name in names]


class TestJson:
    def test_is_the_text_and_what_was_used(self) -> None:
        assert body(HELLO) == {"text": "Привет, мир.", "usage": {"type": "duration", "seconds": 3}}
        assert body(EMPTY) == {"text": "", "usage": {"type": "duration", "seconds": 0}}

    def test_is_what_openais_client_takes_it_for(self) -> None:
        for each in (HELLO, LONG, JAPANESE, EMPTY):
            parsed = Transcription.model_validate(body(each, "json", ("include[]", "logprobs")), strict=True)
            assert parsed.text == each.text
            assert parsed.usage is not None
            assert parsed.usage.type == "duration"

    def test_logprobs_come_only_when_asked_for(self) -> None:
        assert "logprobs" not in body(HELLO)
        assert "logprobs" in body(HELLO, "json", ("include[]", "logprobs"))

    def test_logprobs_are_natural_logarithms_of_the_words_confidence(self) -> None:
        tokens = body(JAPANESE, "json", ("include[]", "logprobs"))["logprobs"]
        assert [token["token"] for token in tokens] == ["今日", "は", "晴れ"]
        assert [token["logprob"] for token in tokens] == [-0.6931, -1.3863, 0.0]

    @settings(max_examples=40)
    @given(transcripts())
    def test_the_tokens_together_are_the_text(self, said: Transcript) -> None:
        # Segments without text never leave the stitcher.
        said = transcript(*(s for s in said.segments if s.text), duration=said.duration, language=said.language)
        tokens = body(said, "json", ("include[]", "logprobs"))["logprobs"]
        assert "".join(token["token"] for token in tokens) == said.text
        assert all(bytes(token["bytes"]).decode() == token["token"] for token in tokens)
        assert all(token["logprob"] <= 0 for token in tokens)

    @given(st.text(max_size=40), st.lists(st.text(max_size=5), max_size=6))
    def test_also_where_the_words_are_not_spelled_as_in_the_text(self, text: str, words: list[str]) -> None:
        odd = Segment(0, 1, text, tuple(Word(word, 0, 1, 0.5) for word in words))
        assert "".join(token["token"] for token in logprobs(text, odd)) == text


class TestText:
    def test_is_the_text_without_a_line_end(self) -> None:
        assert text_body(HELLO, "text") == "Привет, мир."
        assert text_body(JAPANESE, "text") == "今日は晴れ"
        assert text_body(EMPTY, "text") == ""


class TestSubtitles:
    def test_srt_exactly(self) -> None:
        assert text_body(LONG, "srt") == (
            "1\n00:00:01,000 --> 00:00:02,000\nраз два\n\n2\n00:00:40,000 --> 00:00:41,000\nтри четыре\n\n"
        )
        assert text_body(EMPTY, "srt") == ""

    def test_vtt_exactly(self) -> None:
        assert text_body(LONG, "vtt") == (
            "WEBVTT\n\n00:00:01.000 --> 00:00:02.000\nраз два\n\n00:00:40.000 --> 00:00:41.000\nтри четыре\n\n"
        )

    def test_vtt_has_its_header_also_where_nothing_was_said(self) -> None:
        assert text_body(EMPTY, "vtt") == "WEBVTT\n\n"

    @pytest.mark.parametrize("said", [HELLO, LONG, JAPANESE, DIALOGUE], ids=["hello", "long", "japanese", "dialogue"])
    def test_independent_parsers_read_the_same_words_within_the_audio(self, said: Transcript) -> None:
        cues = list(srt.parse(text_body(said, "srt"), ignore_errors=False))
        captions = webvtt.from_string(text_body(said, "vtt")).captions
        assert [cue.index for cue in cues] == list(range(1, len(cues) + 1))
        assert [cue.content for cue in cues] == [html.unescape(caption.raw_text) for caption in captions]
        separator = word_separator(said.language)
        words = separator.join(word.text for word in said.words)
        spoken = separator.join(cue.content.split("] ")[-1] for cue in cues)
        assert spoken == words
        for cue, caption in zip(cues, captions, strict=True):
            assert timedelta(0) <= cue.start < cue.end <= timedelta(seconds=said.duration)
            assert caption.start_in_seconds == pytest.approx(cue.start.total_seconds(), abs=1)


class TestVerbose:
    def test_exactly(self) -> None:
        assert body(LONG, "verbose_json") == {
            "task": "transcribe",
            "language": "russian",
            "duration": 60.01,
            "text": "раз два три четыре",
            "segments": [
                {
                    "id": i,
                    "seek": 0,
                    "start": start,
                    "end": end,
                    "text": text,
                    "tokens": [],
                    "temperature": 0.0,
                    "avg_logprob": 0.0,
                    "compression_ratio": round(len(text.encode()) / len(zlib.compress(text.encode())), 4),
                    "no_speech_prob": 0.0,
                }
                for i, (start, end, text) in enumerate([(1.0, 2.0, "раз два"), (40.0, 41.0, "три четыре")])
            ],
            "usage": {"type": "duration", "seconds": 61},
        }

    @pytest.mark.parametrize(
        ("asked", "present"),
        [
            ((), {"segments"}),
            (("segment",), {"segments"}),
            (("word",), {"words"}),
            (("word", "segment"), {"words", "segments"}),
        ],
    )
    def test_what_was_not_asked_for_is_absent_and_not_null(self, asked: tuple[str, ...], present: set[str]) -> None:
        for said in (HELLO, EMPTY):
            answer = body(said, "verbose_json", *granularities(*asked))
            assert answer.keys() & {"segments", "words"} == present
            assert None not in answer.values()

    def test_words_are_one_list_over_all_segments(self) -> None:
        words = body(LONG, "verbose_json", *granularities("word"))["words"]
        assert [word["word"] for word in words] == ["раз", "два", "три", "четыре"]
        assert words[2] == {"word": "три", "start": 40.0, "end": 40.4}

    @pytest.mark.parametrize("duration", [2.3456, 25.0])
    def test_the_one_segment_of_short_audio_is_all_of_it(self, duration: float) -> None:
        said = transcript(*HELLO.segments, duration=duration)
        [only] = body(said, "verbose_json")["segments"]
        assert (only["start"], only["end"]) == (0.0, round(duration, 3))

    def test_that_of_longer_audio_is_where_it_was_said(self) -> None:
        [only] = body(transcript(*HELLO.segments, duration=25.001), "verbose_json")["segments"]
        assert (only["start"], only["end"]) == (0.5, 1.2)

    def test_times_are_whole_milliseconds_and_never_negative(self) -> None:
        early = Segment(-0.0004, 1.23456, "раз", (Word("раз", -0.2, 1.23456, 1.0),))
        answer = body(transcript(early, duration=30), "verbose_json", *granularities("word", "segment"))
        assert (answer["segments"][0]["start"], answer["segments"][0]["end"]) == (0.0, 1.235)
        assert answer["words"] == [{"word": "раз", "start": 0.0, "end": 1.235}]

    def test_what_the_engine_tells_is_told_on(self) -> None:
        said = Segment(0.0, 1.0, "hello", (), avg_logprob=-0.123456, no_speech_prob=0.654321)
        [only] = body(transcript(said), "verbose_json")["segments"]
        assert (only["avg_logprob"], only["no_speech_prob"]) == (-0.1235, 0.6543)

    @settings(max_examples=40)
    @given(transcripts())
    def test_is_what_openais_client_takes_it_for(self, said: Transcript) -> None:
        answer = body(said, "verbose_json", *granularities("word", "segment"))
        parsed = TranscriptionVerbose.model_validate(answer, strict=True)
        assert parsed.to_dict() | {"task": "transcribe"} == answer
        translated = json_body(said, wishes("verbose_json"), task="translate")
        assert translated["task"] == "translate"
        TranslationVerbose.model_validate(translated, strict=True)


class TestCompressionRatio:
    def test_counts_bytes_so_that_cyrillic_repetition_shows(self) -> None:
        loop = "Продолжение следует. " * 12
        assert compression_ratio(loop) == len(loop.encode()) / len(zlib.compress(loop.encode())) > 2.4

    def test_is_0_for_no_text_and_may_be_below_1(self) -> None:
        assert compression_ratio("") == 0.0
        assert 0 < compression_ratio("да") < 1


def said_by(said: Transcript, *speakers: int | None, recognized: dict[int, int] | None = None) -> Transcript:
    """The transcript with a speaker for each word."""
    told = iter(speakers)
    segments = tuple(
        replace(segment, words=tuple(replace(word, speaker=next(told)) for word in segment.words))
        for segment in said.segments
    )
    return replace(said, segments=segments, recognized=recognized or {})


class TestDiarized:
    def test_segments_are_cut_where_speakers_change(self) -> None:
        parts = body(said_by(LONG, 0, 0, 1, 0), "diarized_json")["segments"]
        assert [(part["speaker"], part["start"], part["end"], part["text"]) for part in parts] == [
            ("A", 1.0, 2.0, "раз два"),
            ("B", 40.0, 40.4, "три"),
            ("A", 40.5, 41.0, "четыре"),
        ]
        assert [part["id"] for part in parts] == ["seg_0", "seg_1", "seg_2"]

    def test_known_voices_have_their_names_and_the_others_letters(self) -> None:
        said = said_by(LONG, 0, 1, 2, 3, recognized={1: 1, 3: 0})
        assert [part["speaker"] for part in speaker_segments(said, ("Anna", "Ben"))] == ["A", "Ben", "B", "Anna"]

    def test_a_letter_that_is_somebodys_name_is_not_given_to_others(self) -> None:
        said = said_by(LONG, 0, 1, 1, 1, recognized={1: 0})
        assert [part["speaker"] for part in speaker_segments(said, ("A",))] == ["B", "A", "A"]

    def test_after_z_comes_aa(self) -> None:
        words = [(f"слово{i}", i, i + 0.5) for i in range(28)]
        said = said_by(transcript(segment(*words), duration=30), *range(28))
        assert [part["speaker"] for part in speaker_segments(said)][24:] == ["Y", "Z", "AA", "AB"]

    def test_without_speakers_everybody_is_one(self) -> None:
        answer = body(LONG, "diarized_json")
        assert answer["segments"] == [
            {
                "type": "transcript.text.segment",
                "id": f"seg_{i}",
                "start": start,
                "end": end,
                "speaker": "A",
                "text": text,
            }
            for i, (start, end, text) in enumerate([(1.0, 2.0, "раз два"), (40.0, 41.0, "три четыре")])
        ]

    @settings(max_examples=40)
    @given(transcripts())
    def test_is_what_openais_client_takes_it_for(self, said: Transcript) -> None:
        answer = body(said, "diarized_json")
        parsed = TranscriptionDiarized.model_validate(answer, strict=True)
        assert parsed.to_dict() == answer
        assert len({part.id for part in parsed.segments}) == len(parsed.segments)

    @settings(max_examples=40)
    @given(st.data())
    def test_texts_are_the_text(self, data: st.DataObject) -> None:
        said = data.draw(st.sampled_from([HELLO, LONG, JAPANESE]))
        n_words = len(said.words)
        speakers = data.draw(st.lists(st.integers(0, 3), min_size=n_words, max_size=n_words))
        parts = speaker_segments(said_by(said, *speakers))
        assert word_separator(said.language).join(part["text"] for part in parts) == said.text


class TestLanguages:
    @pytest.mark.parametrize("name", CATALOG)
    def test_every_language_of_the_catalog_has_an_english_name(self, name: str) -> None:
        codes = CATALOG[name].languages
        assert [code for code in codes if code not in NAMES] == []

    def test_names_are_english_words_in_lower_case_and_no_two_are_alike(self) -> None:
        assert len(set(NAMES.values())) == len(NAMES)
        assert all(
            name == name.lower() and name.replace(" ", "").isalpha() and len(name) > 2 for name in NAMES.values()
        )
        named = {code: english_name(code) for code in ("ru", "en", "de", "zh", "ht", "yue")}
        assert list(named.values()) == ["russian", "english", "german", "chinese", "haitian creole", "cantonese"]

    def test_a_code_without_a_name_stands_for_itself(self) -> None:
        assert english_name("und") == "und"
