"""`channels=split` over REST and SSE."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx2
import numpy as np
import pytest

from molva.engines.fake import FakeEngine
from molva.models.store import ModelStore
from molva.runtime.loading import sample_speech
from molva.runtime.speakers import Speakers
from molva.samples import SAMPLE_RATE
from tests.audio.hostile import wav as many_channels
from tests.http.conftest import Running, serving, wav
from tests.media import encode_channels

SPEECH = sample_speech()
LATER = np.concatenate([np.zeros(30 * SAMPLE_RATE, np.float32), SPEECH])
FIRST = np.concatenate([SPEECH, np.zeros(30 * SAMPLE_RATE, np.float32)])
CALL = encode_channels([LATER, FIRST], "wav", "pcm_s16le")
"""The right side speaks first, the left one half a minute later."""


@pytest.fixture(scope="module")
def server(speaker_dir: Path) -> Iterator[Running]:
    speakers = Speakers(ModelStore(speaker_dir))
    speakers.load()
    with serving(FakeEngine(), speakers=speakers) as running:
        yield running


def problem(answer: httpx2.Response) -> str:
    assert answer.status_code == 400
    assert answer.json()["code"] == "invalid_option"
    return str(answer.json()["message"])


def finals(answer: httpx2.Response) -> list[dict[str, object]]:
    assert answer.status_code == 200
    return [json.loads(line.removeprefix("data: ")) for line in answer.text.split("\n\n") if line]


def test_each_channel_is_a_speaker_and_the_text_is_in_the_order_of_time(server: Running) -> None:
    body = server.client.post("/v1/transcribe?channels=split", content=CALL).json()
    assert body["channels"] == 2
    speakers = [word["speaker"] for word in body["words"]]
    assert set(speakers) == {0, 1}
    assert speakers == sorted(speakers, reverse=True)
    assert [word["start"] for word in body["words"]] == sorted(word["start"] for word in body["words"])


def test_each_side_is_what_its_file_gives(server: Running) -> None:
    body = server.client.post("/v1/transcribe?channels=split", content=CALL).json()
    for number, side in enumerate((LATER, FIRST)):
        alone = server.client.post("/v1/transcribe", content=encode_channels([side], "wav", "pcm_s16le")).json()
        assert [word for word in body["words"] if word["speaker"] == number] == [
            word | {"speaker": number} for word in alone["words"]
        ]
        assert alone["text"] in body["text"]


def test_mixed_is_the_default_and_may_be_asked_for(server: Running) -> None:
    for query in ("", "?channels=mix"):
        body = server.client.post(f"/v1/transcribe{query}", content=CALL).json()
        assert "channels" not in body
        assert all("speaker" not in word for word in body["words"])


def test_subtitles_and_markdown_are_marked(server: Running) -> None:
    assert "[SPEAKER_1] " in server.client.post("/v1/transcribe?channels=split&format=srt", content=CALL).text
    markdown = server.client.post("/v1/transcribe?channels=split&format=md", content=CALL).text
    assert "\nspeakers: 2\n" in markdown
    assert markdown.index("**SPEAKER_1:**") < markdown.index("**SPEAKER_0:**")


def test_one_channel_is_one_side(server: Running) -> None:
    body = server.client.post("/v1/transcribe?channels=split", content=wav(SPEECH)).json()
    assert body["channels"] == 1
    assert {word["speaker"] for word in body["words"]} == {0}


def test_a_stream_tells_the_speaker_of_each_final(server: Running) -> None:
    told = finals(server.client.post("/v1/transcribe/stream?channels=split", content=CALL))
    assert [{word["speaker"] for word in final["words"]} for final in told] == [{1}, {0}]  # type: ignore[attr-defined]


@pytest.mark.parametrize("path", ["/v1/transcribe", "/v1/transcribe/stream"])
@pytest.mark.parametrize("value", ["left", "SPLIT", "2", ""])
def test_another_value_is_refused(server: Running, path: str, value: str) -> None:
    assert server.client.post(f"{path}?channels={value}", content=CALL).status_code == 400


def test_it_goes_without_diarization(server: Running) -> None:
    answer = server.client.post("/v1/transcribe?channels=split&diarization=true", content=CALL)
    assert problem(answer) == "channels=split goes without diarization: each channel is a speaker"
    answer = server.client.post("/v1/transcribe?channels=split&num_speakers=2", content=CALL)
    assert problem(answer) == "num_speakers needs diarization=true"


def test_it_comes_before_the_servers_default(speaker_dir: Path) -> None:
    speakers = Speakers(ModelStore(speaker_dir))
    speakers.load()
    with serving(FakeEngine(), speakers=speakers, diarization=True) as running:
        answer = running.client.post("/v1/transcribe?channels=split", content=CALL)
        assert "x-diarization" not in answer.headers
        assert answer.json()["channels"] == 2


@pytest.mark.parametrize(
    ("path", "code"), [("/v1/transcribe", "transcription_error"), ("/v1/transcribe/stream", "invalid_audio")]
)
def test_a_mixing_desk_is_refused_and_leaves_the_place_free(server: Running, path: str, code: str) -> None:
    answer = server.client.post(f"{path}?channels=split", content=many_channels(bytes(1800), channels=9))
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    server.wait_until(lambda state: state.pool_available == 2)
