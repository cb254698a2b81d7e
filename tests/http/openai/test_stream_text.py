"""Whatever is said and wherever it is cut: the deltas together are the text of `done` and of the unstreamed answer."""

import random
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from molva.engines.base import Options
from molva.models.store import ModelStore
from molva.runtime.speakers import Speakers
from molva.samples import Samples
from tests.conftest import UNSEEN
from tests.http.conftest import Running, wav
from tests.http.openai.conftest import Speaker, events, post, serving_openai

CLIPS = [clip.samples for clip in UNSEEN[:4]]
WORDS = ["да", "Нет.", "раз-два", "«так»", "3,5", "—", "I", "今日", "は", "晴れ。"]


@dataclass
class Script:
    """Words for a window: the same for the same samples, others with another seed, sometimes none."""

    seed: int = 0

    def __call__(self, samples: Samples, _options: Options) -> str:
        words = random.Random(zlib.crc32(samples.tobytes()) ^ self.seed)
        return " ".join(words.choices(WORDS, k=words.choice([0, 1, 2, 5, 40])))


SCRIPT = Script()


@pytest.fixture(scope="module")
def spaced(speaker_dir: Path) -> Iterator[Running]:
    with serving_openai(
        Speaker("gigaam-v3-e2e-rnnt", "ru", SCRIPT), speakers=Speakers(ModelStore(speaker_dir))
    ) as server:
        yield server


@pytest.fixture(scope="module")
def unspaced(speaker_dir: Path) -> Iterator[Running]:
    with serving_openai(Speaker("whisper-base", "ja", SCRIPT), speakers=Speakers(ModelStore(speaker_dir))) as server:
        yield server


def recording(parts: list[tuple[int, float]]) -> bytes:
    """Clips of real speech, each with a pause of so many seconds behind it."""
    pieces = [np.concatenate([CLIPS[clip], np.zeros(int(pause * 16_000), np.float32)]) for clip, pause in parts]
    return wav(np.concatenate([np.zeros(1600, np.float32), *pieces]))


PARTS = st.lists(
    st.tuples(st.integers(0, len(CLIPS) - 1), st.sampled_from([0.0, 0.2, 0.8, 3.5, 6.0])), min_size=1, max_size=9
)


def check(server: Running, file: bytes, **fields: Any) -> None:
    text = post(server, file, **fields).json()["text"]
    assert post(server, file, response_format="text").text == text
    fields |= {"include[]": "logprobs"}
    *deltas, done, end = events(post(server, file, stream="true", **fields))
    assert end == {}
    assert "".join(event["delta"] for event in deltas) == done["text"] == text
    assert "".join(token["token"] for token in done["logprobs"]) == text
    *parts, done, _ = events(post(server, file, stream="true", response_format="diarized_json"))
    assert "".join(event.get("delta", "") for event in parts) == done["text"] == text


@settings(max_examples=8)
@given(parts=PARTS, seed=st.integers(0, 2**32))
@pytest.mark.slow
def test_with_spaces_between_words(spaced: Running, parts: list[tuple[int, float]], seed: int) -> None:
    SCRIPT.seed = seed
    check(spaced, recording(parts))


@settings(max_examples=8)
@given(parts=PARTS, seed=st.integers(0, 2**32))
@pytest.mark.slow
def test_without_spaces(unspaced: Running, parts: list[tuple[int, float]], seed: int) -> None:
    """The language is told by the model, not by the client."""
    SCRIPT.seed = seed
    check(unspaced, recording(parts))


def test_where_windows_overlap(speaker_dir: Path) -> None:
    """Two people at once for 45 s, so that nowhere is a pause to cut in."""
    length = 45 * 16_000
    speech = np.resize(CLIPS[0], length) / 2 + np.resize(np.roll(CLIPS[1], 8000), length) / 2
    for model, language in (("gigaam-v3-e2e-rnnt", "ru"), ("whisper-base", "ja")):
        engine = Speaker(model, language, SCRIPT)
        with serving_openai(engine, speakers=Speakers(ModelStore(speaker_dir))) as server:
            check(server, wav(speech.astype(np.float32)))
        assert sum(map(sum, engine.calls)) > 4 * (length + 3 * 16_000), "4 answers, with 4 s that two windows have"
