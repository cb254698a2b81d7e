"""Whisper: first what needs no model, then real speech and what is no speech through whisper-base."""

import json
import math
import re
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ctranslate2
import jiwer
import numpy as np
import pytest
from tokenizers import Tokenizer

from molva.engines.base import Engine, EngineInfo, Hypothesis, Options
from molva.engines.whisper import (
    Piece,
    WhisperEngine,
    byte_alphabet,
    is_invented,
    load,
    read_vocabulary,
    text_tokens,
    to_pieces,
    to_tokens,
    to_words,
)
from molva.errors import (
    DeviceUnavailable,
    InferenceError,
    ModelError,
    ModelFilesInvalid,
    OptionError,
    UnsupportedTask,
)
from molva.runtime.loading import sample_speech
from molva.samples import SAMPLE_RATE, Samples, seconds
from molva.transcript import UNDETERMINED, Word
from tests.conftest import DATA, read_flac
from tests.text import CLIP_TEXT, plain


def chords() -> Samples:
    """Four triads, a second each, that fade like a piano's, twice over."""
    time = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    triads = [(262, 330, 392), (220, 262, 330), (175, 220, 262), (196, 247, 294)]
    beats = [sum(np.sin(2 * math.pi * hertz * time) for hertz in triad) * np.exp(-3 * time) for triad in triads]
    return np.concatenate(beats * 2).astype(np.float32) * np.float32(0.1)


def quiet_noise() -> Samples:
    return np.random.default_rng(0).normal(0, 0.005, 10 * SAMPLE_RATE).astype(np.float32)


def tone() -> Samples:
    time = np.arange(25 * SAMPLE_RATE) / SAMPLE_RATE
    return (0.3 * np.sin(2 * math.pi * 440 * time)).astype(np.float32)


# --- without a model


def pieces(*texts: str) -> list[Piece]:
    """One piece a second; the n-th has confidence 1/n."""
    return [Piece(text, float(i), i + 1.0, 1 / (i + 1)) for i, text in enumerate(texts)]


def test_words_begin_at_spaces() -> None:
    [all_same, took] = to_words(pieces(" Всё", "-", "таки", " взял,"), " ")
    assert (all_same.text, all_same.start, all_same.end) == ("Всё-таки", 0.0, 3.0)
    assert all_same.confidence == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)
    assert took == Word("взял,", 3.0, 4.0, 0.25)


def test_languages_without_spaces_keep_each_piece_as_a_word() -> None:
    assert [word.text for word in to_words(pieces("今", "まで", " "), "")] == ["今", "まで"]


def test_times_stay_in_the_window_and_in_order() -> None:
    words = [
        SimpleNamespace(word=" a", start=-0.5, end=0.5, probability=1.5),
        SimpleNamespace(word=" b", start=2.0, end=1.0, probability=0.5),
        SimpleNamespace(word=" c", start=2.5, end=9.0, probability=-0.1),
    ]
    assert to_pieces([SimpleNamespace(words=words)], 3.0) == [
        Piece(" a", 0.0, 0.5, 1.0),
        Piece(" b", 2.0, 2.0, 0.5),
        Piece(" c", 2.5, 3.0, 0.0),
    ]


def test_tokens_take_time_and_confidence_of_their_word() -> None:
    spelled = [(7, " ко".encode()), (8, "т".encode()), (9, b" \xd0"), (10, b"\xb6"), (11, b"!")]
    tokens = to_tokens(spelled, pieces(" кот", " ж!"))
    assert [(token.id, token.start, token.confidence) for token in tokens] == [
        (7, 0.0, 1.0),
        (8, 0.0, 1.0),
        (9, 1.0, 0.5),
        (10, 1.0, 0.5),
        (11, 1.0, 0.5),
    ]
    assert [token.text for token in tokens] == [" ко", "т", r"bytes:\x20\xd0", r"bytes:\xb6", "!"]


def test_the_byte_alphabet_names_every_byte_once() -> None:
    alphabet = byte_alphabet()
    assert sorted(alphabet.values()) == list(range(256))
    assert (alphabet["A"], alphabet["Ġ"], alphabet["Ċ"], alphabet["Ð"]) == (0x41, 0x20, 0x0A, 0xD0)


@pytest.mark.parametrize(
    ("no_speech", "logprob", "compression", "invented"),
    [
        (0.005, -0.37, 1.11, False),  # the clip that ships with molva
        (0.63, -0.92, 0.66, False),  # real speech, 1.5 s out of the middle
        (0.53, -0.24, 1.77, False),  # real speech, a window cut blindly
        (0.01, -0.2, 3.0, False),  # someone who does repeat himself
        (0.767, -0.80, 0.79, True),  # СПОКОЙНАЯ МУЗЫКА, for a tone
        (0.98, -0.08, 17.15, True),  # 4-4-4-4-4…, for faint noise
    ],
)
def test_what_is_taken_for_invention(no_speech: float, logprob: float, compression: float, invented: bool) -> None:
    segment = SimpleNamespace(no_speech_prob=no_speech, avg_logprob=logprob, compression_ratio=compression)
    assert is_invented(segment) is invented


INFO = EngineInfo(
    model="whisper-base",
    family="whisper",
    variant="base",
    languages=("ru", "en"),
    tasks=("transcribe",),
    vocabulary_size=0,
    precision="int8",
    device="cpu",
    punctuation=True,
    may_repeat=True,
)


def fail(*_: object, **__: object) -> None:
    raise RuntimeError("CUDA failed with error out of memory at /root/ctranslate2/src")


class BrokenModel:
    """Fails as CTranslate2 does: at once, or while its segments are read."""

    def __init__(self, *, late: bool) -> None:
        self._late = late

    def transcribe(self, _window: Samples, **_options: Any) -> tuple[Any, Any]:
        if not self._late:
            fail()
        return map(fail, [0]), SimpleNamespace(language="ru")


class DeafModel:
    """Hears Norwegian in everything, and believes nothing of it."""

    def transcribe(self, _window: Samples, **_options: Any) -> tuple[Any, Any]:
        invented = SimpleNamespace(no_speech_prob=0.99, avg_logprob=-0.08, compression_ratio=17.0, text=" 4-4-4-4")
        return iter([invented]), SimpleNamespace(language="nn")


@pytest.mark.parametrize("late", [False, True])
def test_a_failure_inside_is_an_inference_error_without_its_words(late: bool) -> None:
    engine = WhisperEngine(INFO, BrokenModel(late=late), [])
    with pytest.raises(InferenceError) as caught:
        engine.transcribe([np.ones(1600, np.float32)], Options())
    assert str(caught.value) == "Transcription failed."
    assert isinstance(caught.value.__cause__, RuntimeError)


@pytest.mark.parametrize("n_samples", [0, 1, SAMPLE_RATE])
@pytest.mark.parametrize(("language", "expected"), [(None, UNDETERMINED), ("en", "en")])
def test_silence_does_not_reach_the_model(n_samples: int, language: str | None, expected: str) -> None:
    engine = WhisperEngine(INFO, BrokenModel(late=False), [])
    silence = np.zeros(n_samples, np.float32)
    assert engine.transcribe([silence], Options(language)) == [Hypothesis("", (), (), expected)]


@pytest.mark.parametrize(("language", "expected"), [(None, UNDETERMINED), ("en", "en")])
def test_noise_is_in_no_language(language: str | None, expected: str) -> None:
    engine = WhisperEngine(INFO, DeafModel(), [])
    assert engine.transcribe([quiet_noise()], Options(language)) == [Hypothesis("", (), (), expected)]


def test_options_are_checked_before_anything_runs() -> None:
    engine = WhisperEngine(INFO, BrokenModel(late=False), [])
    with pytest.raises(UnsupportedTask, match="translate"):
        engine.transcribe([], Options(task="translate"))
    with pytest.raises(OptionError, match="Known: ru, en") as caught:
        engine.transcribe([], Options(language="yue"))
    assert caught.value.option == "language"


def test_without_the_extra_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    with pytest.raises(ModelError, match=re.escape("pip install 'molva[whisper]'")):
        load(tmp_path, model="whisper-base", variant="base")


@pytest.mark.parametrize("device", ["coreml", "tpu"])
def test_a_device_that_whisper_does_not_know(device: str, tmp_path: Path) -> None:
    with pytest.raises(DeviceUnavailable, match=f"'{device}'.*cpu, cuda"):
        load(tmp_path, model="whisper-base", variant="base", device=device)


def test_cuda_where_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctranslate2, "get_cuda_device_count", lambda: 0)
    with pytest.raises(DeviceUnavailable, match="No CUDA device"):
        load(tmp_path, model="whisper-base", variant="base", device="cuda")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RuntimeError("CUDA failed with error no kernel image is available"), DeviceUnavailable),
        (RuntimeError("Library libcublas.so.12 is not found or cannot be loaded"), DeviceUnavailable),
        (ValueError("Requested float16 compute type, but the target device…"), DeviceUnavailable),
        (RuntimeError("Variable 'decoder/layer_2' has an invalid payload size"), ModelFilesInvalid),
    ],
)
def test_a_gpu_that_cannot_be_used_is_not_taken_for_a_damaged_file(
    error: Exception, expected: type[ModelError], whisper_base_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object, **_options: object) -> None:
        raise error

    monkeypatch.setattr(ctranslate2, "get_cuda_device_count", lambda: 1)
    monkeypatch.setattr(ctranslate2.models, "Whisper", refuse)
    with pytest.raises(expected):
        load(whisper_base_dir, model="whisper-base", variant="base", device="cuda")


# --- the model's files


def nothing(_content: bytes) -> None:
    return None


def empty(_content: bytes) -> bytes:
    return b""


def half(content: bytes) -> bytes:
    return content[: len(content) // 2]


def other_json(_content: bytes) -> bytes:
    return b'{"feature_size": 128, "model": {"type": "BPE", "vocab": {}, "merges": []}}'


@pytest.mark.parametrize(
    ("name", "harm", "named"),
    [
        ("config.json", nothing, "config.json"),
        ("config.json", half, "config.json"),
        ("model.bin", nothing, "model.bin"),
        ("model.bin", half, "model.bin"),
        ("model.bin", empty, "model.bin"),
        ("tokenizer.json", nothing, "tokenizer.json"),
        ("tokenizer.json", half, "tokenizer.json"),
        ("tokenizer.json", other_json, "tokenizer.json"),
        ("vocabulary.txt", nothing, "vocabulary"),
        ("vocabulary.txt", half, "vocabulary.txt"),
        ("preprocessor_config.json", other_json, "preprocessor_config.json"),
    ],
)
def test_missing_and_damaged_files_are_named(
    name: str, harm: Callable[[bytes], bytes | None], named: str, whisper_base_dir: Path, tmp_path: Path
) -> None:
    for file in whisper_base_dir.iterdir():
        if file.name != name:
            (tmp_path / file.name).hardlink_to(file)  # links that lead out of the folder are refused
    whole = whisper_base_dir / name
    harmed = harm(whole.read_bytes() if whole.exists() else b"")
    if harmed is not None:
        (tmp_path / name).write_bytes(harmed)
    with pytest.raises(ModelFilesInvalid) as caught:
        load(tmp_path, model="whisper-base", variant="base")
    assert caught.value.file_name == named
    assert str(tmp_path) not in str(caught.value)


def test_the_bytes_of_tokens_make_up_the_text(whisper_base_dir: Path) -> None:
    """As spelled by molva and as decoded by the tokenizers library, letters cut in two included."""
    tokenizer = Tokenizer.from_file(str(whisper_base_dir / "tokenizer.json"))
    known = text_tokens(read_vocabulary(whisper_base_dir / "tokenizer.json"))
    text = " Ещё ёж\n駅のコメント 🙂 «naïve» O'Neill"
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    assert b"".join(known[token] for token in ids).decode() == text
    whole = [token for token in ids if "\ufffd" not in tokenizer.decode([token])]
    assert len(whole) < len(ids)
    assert [known[token].decode() for token in whole] == [tokenizer.decode([token]) for token in whole]


# --- the model


@pytest.fixture(scope="module")
def engine(whisper_base_dir: Path) -> WhisperEngine:
    return load(whisper_base_dir, model="whisper-base", variant="base", workers=2)


@pytest.fixture(scope="module")
def speech() -> Samples:
    return sample_speech()


def test_what_it_says_of_itself(engine: WhisperEngine) -> None:
    protocol: Engine = engine
    assert protocol.info == replace(
        INFO, languages=engine.info.languages, tasks=("transcribe", "translate"), vocabulary_size=51_865
    )
    assert protocol.info.title == "Whisper base"
    assert len(engine.info.languages) == 99
    assert "ru" in engine.info.languages
    assert "yue" not in engine.info.languages  # only large-v3 knows it, though the library lists it for all


def test_turbo_cannot_translate(whisper_base_dir: Path) -> None:
    turbo = load(whisper_base_dir, model="whisper-large-v3-turbo", variant="large-v3-turbo")
    assert turbo.info.tasks == ("transcribe",)
    with pytest.raises(UnsupportedTask):
        turbo.transcribe([], Options(task="translate"))


@pytest.mark.parametrize("language", ["ru", None])
def test_real_speech(engine: WhisperEngine, speech: Samples, language: str | None) -> None:
    [hypothesis] = engine.transcribe([speech], Options(language))
    assert plain(hypothesis.text) == CLIP_TEXT
    assert hypothesis.language == "ru"
    assert " ".join(word.text for word in hypothesis.words) == hypothesis.text
    assert "".join(token.text for token in hypothesis.tokens).strip() == hypothesis.text
    assert all(0 <= word.start <= word.end <= seconds(speech.size) for word in hypothesis.words)
    assert all(left.start <= right.start for left, right in pairwise(hypothesis.words))
    assert all(0 < word.confidence <= 1 for word in hypothesis.words)
    assert all(left.start <= right.start for left, right in pairwise(hypothesis.tokens))


def test_translation(engine: WhisperEngine, speech: Samples) -> None:
    [hypothesis] = engine.transcribe([speech], Options("ru", task="translate"))
    assert hypothesis.text.isascii()
    assert len(hypothesis.words) > 5
    assert hypothesis.language == "ru"


@pytest.mark.parametrize("sound", [quiet_noise, tone, chords])
def test_no_speech_gives_no_text_and_no_language(engine: WhisperEngine, sound: Callable[[], Samples]) -> None:
    """`СПОКОЙНАЯ МУЗЫКА` for the tone, without `is_invented`."""
    assert engine.transcribe([sound()], Options("ru")) == [Hypothesis("", (), (), "ru")]


@pytest.mark.parametrize("length_s", [0.01, 1.0])
def test_a_fragment_gives_little(engine: WhisperEngine, speech: Samples, length_s: float) -> None:
    middle = SAMPLE_RATE
    [hypothesis] = engine.transcribe([speech[middle : middle + round(length_s * SAMPLE_RATE)]], Options("ru"))
    assert len(hypothesis.words) <= 5
    assert all(0 <= word.start <= word.end <= length_s for word in hypothesis.words)


@pytest.fixture(scope="module")
def utterances() -> list[tuple[str, Samples]]:
    """A minute of reading: each utterance's text and samples."""
    samples = read_flac(DATA / "festvox" / "minute.flac")
    return [
        (entry["text"], samples[round(entry["start"] * SAMPLE_RATE) : round(entry["end"] * SAMPLE_RATE)])
        for entry in json.loads((DATA / "festvox" / "minute.json").read_text(encoding="utf-8"))
    ]


@pytest.fixture(scope="module")
def batched(engine: WhisperEngine, utterances: Sequence[tuple[str, Samples]]) -> list[Hypothesis]:
    return engine.transcribe([samples for _, samples in utterances], Options("ru"))


@pytest.mark.slow
def test_word_error_rate_of_a_minute(batched: Sequence[Hypothesis], utterances: Sequence[tuple[str, Samples]]) -> None:
    rate = jiwer.wer([plain(text) for text, _ in utterances], [plain(hypothesis.text) for hypothesis in batched])
    assert rate <= 0.25


@pytest.mark.slow
def test_words_cover_the_text(batched: Sequence[Hypothesis]) -> None:
    """Also where Whisper splits `всё-таки` in two."""
    for hypothesis in batched:
        assert " ".join(word.text for word in hypothesis.words) == hypothesis.text


@pytest.mark.slow
def test_two_threads_at_once_and_one_by_one_give_what_the_batch_gave(
    engine: WhisperEngine, batched: Sequence[Hypothesis], utterances: Sequence[tuple[str, Samples]]
) -> None:
    with ThreadPoolExecutor(2) as pool:
        single = list(pool.map(lambda utterance: engine.transcribe([utterance[1]], Options("ru")), utterances[:4]))
    assert [hypothesis for [hypothesis] in single] == list(batched[:4])
