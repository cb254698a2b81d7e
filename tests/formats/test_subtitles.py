"""SRT and WebVTT are read back by parsers that know nothing of molva."""

import html
from datetime import timedelta

import pytest
import srt
import webvtt
from hypothesis import given

from molva.formats.cues import Cue, build_cues
from molva.formats.subtitles import write_srt, write_tsv, write_vtt
from molva.transcript import Transcript
from tests.formats.transcripts import DIALOGUE, EMPTY, transcripts

CUES = build_cues(DIALOGUE)


def test_srt_exactly() -> None:
    assert write_srt(CUES) == (
        "1\n00:00:00,500 --> 00:00:01,360\n[SPEAKER_0] Привет, как дела?\n"
        "\n2\n00:00:02,000 --> 00:00:02,300\n[SPEAKER_1] Хорошо.\n"
        "\n3\n01:02:03,000 --> 01:02:04,000\n[SPEAKER_1] А R&D <a|b>?\n"
    )


def test_vtt_exactly() -> None:
    assert write_vtt(CUES) == (
        "WEBVTT\n"
        "\n00:00:00.500 --> 00:00:01.360\n[SPEAKER_0] Привет, как дела?\n"
        "\n00:00:02.000 --> 00:00:02.300\n[SPEAKER_1] Хорошо.\n"
        "\n01:02:03.000 --> 01:02:04.000\n[SPEAKER_1] А R&amp;D &lt;a|b&gt;?\n"
    )


def test_tsv_exactly() -> None:
    assert write_tsv(CUES) == (
        "start\tend\ttext\n"
        "500\t1360\t[SPEAKER_0] Привет, как дела?\n"
        "2000\t2300\t[SPEAKER_1] Хорошо.\n"
        "3723000\t3724000\t[SPEAKER_1] А R&D <a|b>?\n"
    )


def test_nothing_said() -> None:
    cues = build_cues(EMPTY)
    assert write_srt(cues) == ""
    assert write_vtt(cues) == "WEBVTT\n\n"
    assert write_tsv(cues) == "start\tend\ttext\n"


def test_the_contracts_example() -> None:
    assert write_srt([Cue(500, 800, "привет")]) == "1\n00:00:00,500 --> 00:00:00,800\nпривет\n"


@pytest.mark.parametrize(
    ("milliseconds", "clock"),
    [(1, "00:00:00,001"), (59_999, "00:00:59,999"), (3_600_000, "01:00:00,000"), (360_000_999, "100:00:00,999")],
)
def test_hours_may_exceed_99(milliseconds: int, clock: str) -> None:
    [_, line, *_] = write_srt([Cue(milliseconds, milliseconds + 1, "а")]).splitlines()
    assert line.startswith(f"{clock} --> ")


@given(transcripts())
def test_srt_reads_back_as_the_same_cues(transcript: Transcript) -> None:
    cues = build_cues(transcript)
    read = list(srt.parse(write_srt(cues)))
    assert [subtitle.index for subtitle in read] == list(range(1, len(cues) + 1))
    assert [(subtitle.start, subtitle.end, subtitle.content) for subtitle in read] == [
        (timedelta(milliseconds=cue.start_ms), timedelta(milliseconds=cue.end_ms), cue.text) for cue in cues
    ]


@given(transcripts())
def test_vtt_reads_back_as_the_same_cues(transcript: Transcript) -> None:
    cues = build_cues(transcript)
    read = webvtt.from_string(write_vtt(cues)).captions
    assert [html.unescape(caption.raw_text) for caption in read] == [cue.text for cue in cues]
    assert [(in_ms(caption.start_time), in_ms(caption.end_time)) for caption in read] == [
        (cue.start_ms, cue.end_ms) for cue in cues
    ]


def in_ms(time: webvtt.models.Timestamp) -> int:
    seconds = time.hours * 3600 + time.minutes * 60 + time.seconds
    return int(seconds * 1000 + time.milliseconds)


@given(transcripts())
def test_tsv_has_three_columns_everywhere(transcript: Transcript) -> None:
    cues = build_cues(transcript)
    rows = [line.split("\t") for line in write_tsv(cues).split("\n")]
    assert rows == [["start", "end", "text"], *([str(c.start_ms), str(c.end_ms), c.text] for c in cues), [""]]
