"""Real recognition of one clip in many containers and rates, and a flood of damaged files, over a real socket."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from molva.engines import whisper
from molva.engines.gigaam.model import load_gigaam
from molva.runtime.loading import sample_speech
from tests import media
from tests.engines.gigaam.test_model import files_of
from tests.http.conftest import Running, serving
from tests.text import CLIP_TEXT, plain


@pytest.fixture(scope="module")
def tiny_server(tiny_dir: Path) -> Iterator[Running]:
    with serving(load_gigaam(files_of("rnnt", tiny_dir), model="gigaam-v3-rnnt", variant="rnnt")) as server:
        yield server


@pytest.fixture(scope="module")
def whisper_server(whisper_base_dir: Path) -> Iterator[Running]:
    """The tiny model knows one reader at 16 kHz only; telephone speech needs a grown one."""
    with serving(whisper.load(whisper_base_dir, model="whisper-base", variant="base", workers=2)) as server:
        yield server


@pytest.mark.parametrize("name", media.VARIANTS)
def test_every_container_gives_the_same_words(whisper_server: Running, name: str) -> None:
    body = media.VARIANTS[name].encode(sample_speech())
    answer = whisper_server.client.post("/v1/transcribe?language=ru", content=body)
    assert answer.status_code == 200
    assert plain(answer.json()["text"]) == CLIP_TEXT
    assert answer.json()["duration"] == pytest.approx(5.44, abs=0.15)


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000])
def test_every_rate_gives_the_same_words(whisper_server: Running, rate: int) -> None:
    body = media.encode(sample_speech(), "wav", "pcm_s16le", rate=rate, channels=2)
    answer = whisper_server.client.post("/v1/transcribe?language=ru", content=body)
    assert plain(answer.json()["text"]) == CLIP_TEXT


@pytest.mark.parametrize("name", media.VARIANTS)
def test_damaged_files_never_break_the_server(tiny_server: Running, name: str) -> None:
    """Truncated and bit-flipped: an answer, never a 5xx, never a hang."""
    seed = random.Random(name)
    whole = media.VARIANTS[name].encode(sample_speech()[: 2 * 16_000])
    for _ in range(12):
        body = bytearray(whole[: seed.randrange(1, len(whole))] if seed.random() < 0.5 else whole)
        for _ in range(seed.choice([0, 1, 20, 300])):
            body[seed.randrange(len(body))] ^= 1 << seed.randrange(8)
        for path in ("/v1/transcribe", "/v1/transcribe/stream"):
            answer = tiny_server.client.post(path, content=bytes(body))
            assert answer.status_code in (200, 422), answer.text
    tiny_server.wait_until(lambda state: state.pool_available == 2)
    assert tiny_server.client.get("/health").status_code == 200
