"""OpenAI's own Python client, unmodified, against a real server with real speech."""

import asyncio
import base64
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest
import srt
import webvtt
from openai import OpenAI

from molva.engines.base import Options
from molva.engines.fake import FakeEngine
from molva.models.store import ModelStore
from molva.runtime.loading import sample_speech
from molva.runtime.speakers import Speakers
from molva.samples import Samples
from tests.conftest import DATA, SEEN, TINY, read_flac
from tests.e2e.conftest import molva_serve
from tests.http.conftest import Gate, serving, wav
from tests.speaker_models import SoundVad, voice, write_speaker_models
from tests.speaker_models import silence as tone_pause

pytestmark = pytest.mark.slow

CLIP = SEEN[0]
LONG = TINY / "unseen" / "long.flac"
"""Fourteen utterances, 147 s."""
KEY = "sesame"
UPLOAD_LIMIT = 8_000_000


@pytest.fixture(scope="module")
def url(tiny_dir: Path, whisper_base_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serves the tiny GigaAM; whisper-base lies beside it."""
    models = tmp_path_factory.mktemp("models")
    for file in filter(Path.is_file, tiny_dir.iterdir()):
        (models / file.name).hardlink_to(file)
    (models / "whisper-base").symlink_to(whisper_base_dir)
    write_speaker_models(models)
    flags = ["--port", "0", "--model", "gigaam-v3-rnnt", "--model-dir", str(models), "--precision", "fp32"]
    flags += ["--max-models", "2", "--upload-limit-bytes", str(UPLOAD_LIMIT), "--upload-max-audio-secs", "600"]
    with molva_serve(*flags, home=tmp_path_factory.mktemp("home"), MOLVA_API_KEY=KEY) as process:
        yield f"{process.url()}/v1"
        assert process.stop() == 0


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[OpenAI]:
    with OpenAI(base_url=url, api_key=KEY, max_retries=0) as client:
        yield client


class TestTranscriptions:
    def test_json(self, client: OpenAI) -> None:
        answer = client.audio.transcriptions.create(model="whisper-1", file=CLIP.path)
        assert answer.text == CLIP.rnnt
        assert answer.usage is not None
        assert answer.usage.type == "duration"

    def test_text(self, client: OpenAI) -> None:
        assert client.audio.transcriptions.create(model="v3_rnnt", file=CLIP.path, response_format="text") == CLIP.rnnt

    def test_another_model_that_is_here_is_loaded_by_its_name(self, client: OpenAI) -> None:
        assert client.audio.transcriptions.create(model="gigaam-v3-ctc", file=CLIP.path).text == CLIP.ctc

    def test_logprobs(self, client: OpenAI) -> None:
        answer = client.audio.transcriptions.create(model="gpt-4o-transcribe", file=CLIP.path, include=["logprobs"])
        assert answer.logprobs is not None
        assert "".join(token.token or "" for token in answer.logprobs) == CLIP.rnnt
        assert all((token.logprob or 0) <= 0 for token in answer.logprobs)

    def test_verbose_json(self, client: OpenAI) -> None:
        answer = client.audio.transcriptions.create(
            model="whisper-1",
            file=LONG,
            response_format="verbose_json",
            timestamp_granularities=["word", "segment"],
            language="ru",
            temperature=0,
        )
        assert answer.language == "russian"
        assert answer.duration == pytest.approx(146.83)
        assert answer.segments is not None
        assert answer.words is not None
        assert answer.text == " ".join(segment.text for segment in answer.segments)
        assert answer.text == " ".join(word.word for word in answer.words)
        starts = [word.start for word in answer.words]
        assert starts == sorted(starts)
        assert all(segment.end <= answer.duration for segment in answer.segments)

    def test_subtitles(self, client: OpenAI) -> None:
        told = client.audio.transcriptions.create(model="whisper-1", file=LONG, response_format="srt")
        cues = list(srt.parse(told, ignore_errors=False))
        captions = webvtt.from_string(
            client.audio.transcriptions.create(model="whisper-1", file=LONG, response_format="vtt")
        ).captions
        assert len(cues) == len(captions) > 10
        assert all(0 <= cue.start.total_seconds() < cue.end.total_seconds() <= 146.83 for cue in cues)

    def test_diarized_json(self, client: OpenAI) -> None:
        answer = client.audio.transcriptions.create(
            model="gpt-4o-transcribe-diarize", file=LONG, response_format="diarized_json", chunking_strategy="auto"
        )
        assert answer.segments[0].speaker == "A"
        assert answer.text == " ".join(segment.text for segment in answer.segments)

    def test_known_speakers(self, speaker_dir: Path) -> None:
        """Tones are no speech to a real model, so that the fake one listens."""
        talk = wav(np.concatenate([voice(200, 5), tone_pause(0.5), voice(2000, 5)]))
        sample = base64.b64encode(wav(voice(2000, 3))).decode()
        with (
            serving(FakeEngine(), speakers=Speakers(ModelStore(speaker_dir)), vad=SoundVad()) as server,
            OpenAI(base_url=f"{server.url}/v1", api_key="x", max_retries=0) as client,
        ):
            answer = client.audio.transcriptions.create(
                model="gpt-4o-transcribe-diarize",
                file=("talk.wav", talk),
                response_format="diarized_json",
                chunking_strategy="auto",
                known_speaker_names=["Anna"],
                known_speaker_references=[f"data:audio/wav;base64,{sample}"],
            )
        assert [segment.speaker for segment in answer.segments] == ["A", "Anna"]

    def test_a_strategy_as_an_object_is_understood(self, client: OpenAI) -> None:
        whole = client.audio.transcriptions.create(model="whisper-1", file=LONG, chunking_strategy="auto")
        cut = client.audio.transcriptions.create(
            model="whisper-1",
            file=LONG,
            chunking_strategy={"type": "server_vad", "threshold": 0.9, "silence_duration_ms": 3000},
        )
        assert whole.text != cut.text
        with pytest.raises(openai.BadRequestError) as refused:
            client.audio.transcriptions.create(
                model="whisper-1", file=CLIP.path, chunking_strategy={"type": "server_vad", "threshold": 7}
            )
        assert refused.value.param == "chunking_strategy"

    def test_a_prompt_and_a_name_of_any_kind(self, client: OpenAI) -> None:
        file = ("доклад № 1.flac", CLIP.path.read_bytes())
        assert client.audio.transcriptions.create(model="whisper-1", file=file, prompt="Слова.").text == CLIP.rnnt


class TestStream:
    def test_deltas_are_the_text_of_the_whole_answer(self, client: OpenAI) -> None:
        whole = client.audio.transcriptions.create(model="whisper-1", file=LONG).text
        deltas, done = [], None
        for event in client.audio.transcriptions.create(model="whisper-1", file=LONG, stream=True):
            if event.type == "transcript.text.delta":
                deltas.append(event.delta)
            elif event.type == "transcript.text.done":
                done = event.text
        assert len(deltas) > 5
        assert "".join(deltas) == done == whole

    def test_with_logprobs_and_speakers(self, client: OpenAI) -> None:
        tokens: list[str] = []
        for event in client.audio.transcriptions.create(
            model="whisper-1", file=CLIP.path, stream=True, include=["logprobs"]
        ):
            if event.type == "transcript.text.delta":
                tokens += [token.token or "" for token in event.logprobs or ()]
        assert "".join(tokens) == CLIP.rnnt
        with client.audio.transcriptions.create(
            model="whisper-1", file=LONG, stream=True, response_format="diarized_json"
        ) as stream:
            kinds = [event.type for event in stream]
        assert kinds.count("transcript.text.segment") >= kinds.count("transcript.text.delta") > 5
        assert kinds.index("transcript.text.segment") > len(kinds) - 1 - kinds[::-1].index("transcript.text.delta")

    async def _read(self, url: str) -> str:
        async with openai.AsyncOpenAI(base_url=url, api_key=KEY, max_retries=0) as client:
            stream = await client.audio.transcriptions.create(model="whisper-1", file=CLIP.path, stream=True)
            return "".join([event.delta async for event in stream if event.type == "transcript.text.delta"])

    def test_the_asynchronous_client(self, url: str) -> None:
        assert asyncio.run(self._read(url)) == CLIP.rnnt


class TestWhisper:
    TWO_WINDOWS = wav(read_flac(DATA / "festvox" / "minute.flac")[: 27 * 16_000])

    @pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")  # so is the method; servers go on having it
    def test_translation_to_english(self, client: OpenAI) -> None:
        answer = client.audio.translations.create(
            model="whisper-1", file=self.TWO_WINDOWS, response_format="verbose_json"
        )
        assert answer.language == "english"
        assert answer.segments
        letters = [letter for letter in answer.text if letter.isalpha()]
        assert len(letters) > 10
        assert sum(letter.isascii() for letter in letters) > 0.98 * len(letters)

    def test_every_format_and_logprobs(self, client: OpenAI) -> None:
        create = client.audio.transcriptions.create
        plain = create(model="whisper-base", file=self.TWO_WINDOWS, include=["logprobs"], language="ru")
        assert plain.logprobs is not None
        assert "".join(token.token or "" for token in plain.logprobs) == plain.text
        verbose = create(
            model="whisper-base",
            file=self.TWO_WINDOWS,
            response_format="verbose_json",
            timestamp_granularities=["word"],
        )
        assert (verbose.language, verbose.segments) == ("russian", None)
        assert verbose.words
        streamed = [
            event.delta
            for event in create(model="whisper-base", file=self.TWO_WINDOWS, stream=True, language="ru")
            if event.type == "transcript.text.delta"
        ]
        assert "".join(streamed) == plain.text

    def test_a_language_that_the_served_model_does_not_know_goes_to_one_that_does(self, client: OpenAI) -> None:
        answer = client.audio.transcriptions.create(
            model="whisper-1", file=wav(CLIP.samples[:24_000]), language="de", response_format="verbose_json"
        )
        assert answer.language == "german"


class TestModels:
    def test_what_is_listed_can_be_retrieved(self, client: OpenAI) -> None:
        names = [model.id for model in client.models.list()]
        assert names[0] == "gigaam-v3-rnnt"
        assert {"gigaam-v3-ctc", "whisper-base", "whisper-1", "v3_ctc", "v3_rnnt"} <= set(names)
        for name in names:
            assert client.models.retrieve(name).id == name

    def test_one_that_is_not_here_is_not_found(self, client: OpenAI) -> None:
        with pytest.raises(openai.NotFoundError) as error:
            client.models.retrieve("gpt-9")
        assert error.value.code == "model_not_found"


class TestErrors:
    def test_a_wrong_key(self, url: str) -> None:
        with OpenAI(base_url=url, api_key="wrong", max_retries=0) as stranger:
            for ask in (
                lambda: stranger.audio.transcriptions.create(model="whisper-1", file=CLIP.path),
                lambda: stranger.models.list(),
            ):
                with pytest.raises(openai.AuthenticationError) as error:
                    ask()
                assert error.value.code == "invalid_api_key"

    @pytest.mark.parametrize(
        ("fields", "param"),
        [
            ({"model": "gpt-9"}, "model"),
            ({"response_format": "xml"}, "response_format"),
            ({"temperature": 2}, "temperature"),
            ({"language": "xx"}, "language"),
            ({"known_speaker_names": ["Anna"]}, "known_speaker_names"),
            ({"file": b"not audio"}, "file"),
        ],
    )
    def test_a_wrong_field_is_named(self, client: OpenAI, fields: dict[str, Any], param: str) -> None:
        with pytest.raises(openai.BadRequestError) as error:
            client.audio.transcriptions.create(**{"model": "whisper-1", "file": CLIP.path, **fields})
        assert error.value.param == param
        assert error.value.type == "invalid_request_error"

    def test_an_error_before_a_stream_is_raised_as_any_other(self, client: OpenAI) -> None:
        with pytest.raises(openai.BadRequestError) as error:
            client.audio.transcriptions.create(model="whisper-1", file=b"not audio", stream=True)
        assert error.value.param == "file"

    def test_a_file_over_the_limit(self, client: OpenAI) -> None:
        for size in (UPLOAD_LIMIT + 1, UPLOAD_LIMIT + 20_000_000):
            with pytest.raises(openai.APIStatusError) as error:
                client.audio.transcriptions.create(model="whisper-1", file=bytes(size))
            assert error.value.status_code == 413

    def test_an_unknown_path(self, client: OpenAI) -> None:
        with pytest.raises(openai.NotFoundError):
            client.audio.speech.create(model="tts-1", voice="alloy", input="hello")

    def test_no_place(self) -> None:
        gate = Gate()
        with (
            serving(FakeEngine(gate), pool_size=1, max_waiting=0) as server,
            OpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0) as client,
            ThreadPoolExecutor() as threads,
        ):
            create = client.audio.transcriptions.create
            first = threads.submit(create, model="whisper-1", file=wav(sample_speech()))
            assert gate.entered.wait(10)
            for stream in (False, True):
                with pytest.raises(openai.InternalServerError) as error:
                    create(model="whisper-1", file=wav(sample_speech()), stream=stream)
                assert error.value.status_code == 503
                assert int(error.value.response.headers["retry-after"]) > 0
            gate.opened.set()
            assert first.result(10).text == "готово"

    def test_a_place_that_becomes_free_while_the_client_tries_again(self) -> None:
        gate = Gate()
        with (
            serving(FakeEngine(gate), pool_size=1, max_waiting=0, checkout_timeout_s=1) as server,
            OpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=5) as client,
            ThreadPoolExecutor() as threads,
        ):
            create = client.audio.transcriptions.create
            asked = [threads.submit(create, model="whisper-1", file=wav(sample_speech())) for _ in range(2)]
            assert gate.entered.wait(10)
            gate.opened.set()
            assert [answer.result(30).text for answer in asked] == ["готово"] * 2

    def test_an_engine_that_fails(self) -> None:
        def crash(_samples: Samples, _options: Options) -> str:
            raise ValueError("secret")

        with (
            serving(FakeEngine(crash)) as server,
            OpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0) as client,
        ):
            with pytest.raises(openai.InternalServerError) as error:
                client.audio.transcriptions.create(model="whisper-1", file=wav(sample_speech()))
            assert error.value.status_code == 500
            assert "secret" not in json.dumps(error.value.body)
            with pytest.raises(openai.APIError, match="internal server error"):
                list(client.audio.transcriptions.create(model="whisper-1", file=wav(sample_speech()), stream=True))
