"""What comes out, read back by independent parsers."""

import io
import json
import re

import pytest
import srt
import webvtt
from hypothesis import given

from molva.errors import InvalidFormat
from molva.formats.cues import split_cues
from molva.formats.render import FORMATS, Layout, parse_format, render
from molva.transcript import Coverage, Transcript
from tests.formats.strategies import spoken, transcript_of, transcripts

LAYOUT = Layout()
EXAMPLE = transcript_of(spoken(0.5, "Раз,", "два", speaker=0), spoken(3605.25, "три", "&", "<ещё>", speaker=1))
EMPTY = transcript_of()


def test_srt_exactly() -> None:
    assert render(EXAMPLE, FORMATS["srt"], LAYOUT) == (
        "1\n00:00:00,500 --> 00:00:01,500\n[SPEAKER_0] Раз, два\n"
        "\n2\n01:00:05,250 --> 01:00:06,750\n[SPEAKER_1] три & <ещё>\n"
    )


def test_vtt_exactly() -> None:
    assert render(EXAMPLE, FORMATS["vtt"], LAYOUT) == (
        "WEBVTT\n"
        "\n00:00:00.500 --> 00:00:01.500\n[SPEAKER_0] Раз, два\n"
        "\n01:00:05.250 --> 01:00:06.750\n[SPEAKER_1] три &amp; &lt;ещё&gt;\n"
    )


def test_tsv_exactly() -> None:
    assert render(EXAMPLE, FORMATS["tsv"], LAYOUT) == (
        "start\tend\ttext\n500\t1500\t[SPEAKER_0] Раз, два\n3605250\t3606750\t[SPEAKER_1] три & <ещё>\n"
    )


def test_markdown_exactly() -> None:
    assert render(EXAMPLE, FORMATS["md"], LAYOUT) == (
        "---\nduration: 3606.75\nlanguage: ru\nspeakers: 2\n---\n\n# Transcript\n\n"
        "**[SPEAKER_0]** Раз, два\n\n**[SPEAKER_1]** три & <ещё>\n"
    )


def test_markdown_with_words() -> None:
    table = render(transcript_of(spoken(0, "a|b", "c")), FORMATS["md"], Layout(word_timestamps=True)).split(
        "## Words\n\n"
    )[1]
    assert table == (
        "| word | start | end | confidence |\n|---|---|---|---|\n"
        "| a\\|b | 00:00:00.000 | 00:00:00.500 | 0.90 |\n| c | 00:00:00.500 | 00:00:01.000 | 0.90 |\n"
    )


def test_json_exactly() -> None:
    cut = Transcript(transcript_of(spoken(0.5, "да")).segments, 2.0, "ru", Coverage(0.5, 0.5), declared_duration=4.0)
    assert json.loads(render(cut, FORMATS["json"], LAYOUT)) == {
        "text": "да",
        "words": [{"word": "да", "start": 0.5, "end": 1.0, "confidence": 0.9}],
        "duration": 2.0,
        "language": "ru",
        "coverage": {"speech": 0.5, "transcribed": 0.5},
        "declared_duration": 4.0,
    }
    diarized = json.loads(render(EXAMPLE, FORMATS["json"], LAYOUT))
    assert [word["speaker"] for word in diarized["words"]] == [0, 0, 1, 1, 1]
    assert "declared_duration" not in diarized


def test_nothing_recognised_is_still_a_document() -> None:
    expected = {"text": "", "srt": "", "vtt": "WEBVTT\n", "tsv": "start\tend\ttext\n"}
    assert {name: render(EMPTY, FORMATS[name], LAYOUT) for name in expected} == expected
    assert json.loads(render(EMPTY, FORMATS["json"], LAYOUT))["words"] == []


@given(transcripts())
def test_an_srt_parser_reads_the_same_cues(transcript: Transcript) -> None:
    cues = split_cues(transcript, LAYOUT)
    parsed = list(srt.parse(render(transcript, FORMATS["srt"], LAYOUT)))
    assert [entry.index for entry in parsed] == list(range(1, len(cues) + 1))
    assert [entry.content for entry in parsed] == [cue.text.replace("-->", "->") for cue in cues]
    assert [entry.start.total_seconds() for entry in parsed] == pytest.approx([cue.start for cue in cues], abs=1e-6)
    assert [entry.end.total_seconds() for entry in parsed] == pytest.approx([cue.end for cue in cues], abs=1e-6)


@given(transcripts())
def test_a_vtt_parser_reads_the_same_cues(transcript: Transcript) -> None:
    cues = split_cues(transcript, LAYOUT)
    parsed = webvtt.from_buffer(io.StringIO(render(transcript, FORMATS["vtt"], LAYOUT))).captions
    assert [unescape(caption.raw_text) for caption in parsed] == [cue.text for cue in cues]
    assert [caption.start_in_seconds for caption in parsed] == [int(cue.start) for cue in cues]


def unescape(text: str) -> str:
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


@given(transcripts())
def test_json_and_tsv_lose_nothing(transcript: Transcript) -> None:
    words = json.loads(render(transcript, FORMATS["json"], LAYOUT))["words"]
    assert [word["word"] for word in words] == [word.text for word in transcript.words]
    rows = render(transcript, FORMATS["tsv"], LAYOUT).splitlines()
    assert len(rows) == 1 + len(split_cues(transcript, LAYOUT))
    assert all(re.fullmatch(r"\d+\t\d+\t[^\t]+", row) for row in rows[1:])


def test_names_and_aliases_in_any_case() -> None:
    assert parse_format("TXT").name == parse_format("Text").name == "text"
    assert parse_format("Markdown") is FORMATS["md"]
    with pytest.raises(InvalidFormat, match=r"'doc'.*json.*markdown"):
        parse_format("doc")


def test_unspaced_languages_are_written_without_spaces() -> None:
    transcript = transcript_of(spoken(0, "你", "好"), language="zh")
    assert "你好" in render(transcript, FORMATS["srt"], LAYOUT)
