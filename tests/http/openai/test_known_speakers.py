"""diarized_json: speakers by letters, or by names where samples of their voices are sent."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest

from molva.engines.fake import FakeEngine
from molva.models.store import ModelStore
from molva.runtime.speakers import Speakers
from molva.samples import Samples
from tests.http.conftest import Running, wav
from tests.http.openai.conftest import post, serving_openai, told
from tests.speaker_models import SoundVad, silence, voice

LOW, HIGH, OTHER = 200, 2000, 600
CONVERSATION = wav(np.concatenate([voice(LOW, 5), silence(0.5), voice(HIGH, 5), silence(0.5), voice(LOW, 5)]))


def data_url(samples: Samples) -> str:
    return "data:audio/wav;base64," + base64.b64encode(wav(samples)).decode()


@pytest.fixture(scope="module")
def server(speaker_dir: Path) -> Iterator[Running]:
    with serving_openai(FakeEngine(), speakers=Speakers(ModelStore(speaker_dir)), vad=SoundVad()) as running:
        yield running


def ask(server: Running, **known: str) -> httpx2.Response:
    fields: dict[str, Any] = {
        "response_format": "diarized_json",
        "known_speaker_names[]": list(known),
        "known_speaker_references[]": list(known.values()),
    }
    return post(server, CONVERSATION, **fields)


def speakers(answer: httpx2.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [part["speaker"] for part in answer.json()["segments"]]


def test_speakers_are_letters_in_the_order_of_appearance(server: Running) -> None:
    assert speakers(ask(server)) == ["A", "B", "A"]


def test_voices_that_are_known_have_their_names(server: Running) -> None:
    known = {"Ben": data_url(voice(HIGH, 3)), "Anna": data_url(voice(LOW, 4))}
    assert speakers(ask(server, **known)) == ["Anna", "Ben", "Anna"]


def test_whoever_is_not_known_has_a_letter(server: Running) -> None:
    assert speakers(ask(server, Ben=data_url(voice(HIGH, 3)))) == ["A", "Ben", "A"]
    assert speakers(ask(server, Carl=data_url(voice(OTHER, 3)))) == ["A", "B", "A"]


def test_the_length_of_a_sample_may_be_anything_from_2_to_10_s(server: Running) -> None:
    for length_s in (2, 10):
        assert speakers(ask(server, Ben=data_url(voice(HIGH, length_s)))) == ["A", "Ben", "A"]


@pytest.mark.parametrize(
    "reference",
    [
        "https://a.example/voice.wav",
        "file:///etc/passwd",
        "data:audio/wav,plain",
        "data:audio/wav;base64,%%%",
        "data:audio/wav;base64,яяяя",
        "data:audio/wav;base64,",
        "data:audio/wav;base64," + base64.b64encode(b"not audio").decode(),
        "data:application/x-mpegurl;base64," + base64.b64encode(b"#EXTM3U\n/etc/passwd\n").decode(),
        data_url(voice(HIGH, 1.5)),
        data_url(voice(HIGH, 11)),
        data_url(silence(3)),
    ],
)
def test_what_is_no_sample_of_a_voice_is_refused(server: Running, reference: str) -> None:
    answer = ask(server, Ben=reference)
    assert answer.status_code == 400
    error = told(answer)
    assert (error["param"], error["type"]) == ("known_speaker_references", "invalid_request_error")
    assert "'Ben'" in error["message"]


def test_a_wrong_sample_is_told_before_a_stream_begins(server: Running) -> None:
    fields: dict[str, Any] = {"known_speaker_names[]": "Ben", "known_speaker_references[]": "x", "stream": "true"}
    answer = post(server, CONVERSATION, response_format="diarized_json", **fields)
    assert (answer.status_code, told(answer)["param"]) == (400, "known_speaker_references")


def test_without_the_models_the_format_is_refused(tmp_path: Path) -> None:
    with serving_openai(FakeEngine(), speakers=Speakers(ModelStore(tmp_path))) as server:
        answer = ask(server)
        assert answer.status_code == 400
        error = told(answer)
        assert error["param"] == "response_format"
        assert "molva models pull speakers" in error["message"]
        assert post(server, CONVERSATION).status_code == 200
