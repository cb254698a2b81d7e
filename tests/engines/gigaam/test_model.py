"""The trained tiny model must give exactly the texts that an independent implementation gave."""

import json
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnx_asr
import onnxruntime
import pytest
from numpy.typing import NDArray

from molva.engines.base import Hypothesis, Options
from molva.engines.gigaam.encoder import Encoder
from molva.engines.gigaam.features import Features
from molva.engines.gigaam.model import GigaamEngine, GigaamFiles, load_gigaam
from molva.errors import DeviceUnavailable, InferenceError, ModelFilesInvalid, OptionError, UnsupportedTask
from tests.conftest import CLIPS, UNSEEN, Clip

HEADS = ["ctc", "rnnt"]


def files_of(head: str, folder: Path) -> GigaamFiles:
    if head == "ctc":
        return GigaamFiles(
            encoder=folder / "v3_ctc.onnx", vocabulary=folder / "v3_vocab.txt", config=folder / "config.json"
        )
    return GigaamFiles(
        encoder=folder / "v3_rnnt_encoder.onnx",
        vocabulary=folder / "v3_vocab.txt",
        config=folder / "config.json",
        decoder=folder / "v3_rnnt_decoder.onnx",
        joint=folder / "v3_rnnt_joint.onnx",
    )


@pytest.fixture(scope="module")
def engines(tiny_dir: Path) -> dict[str, GigaamEngine]:
    return {head: load_gigaam(files_of(head, tiny_dir), model=f"tiny-{head}", variant=head) for head in HEADS}


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("clip", CLIPS, ids=lambda clip: clip.path.stem)
def test_each_clip_gives_its_manifest_text(engines: dict[str, GigaamEngine], head: str, clip: Clip) -> None:
    [hypothesis] = engines[head].transcribe([clip.samples], Options())
    assert hypothesis.text == getattr(clip, head)


@pytest.mark.parametrize("head", HEADS)
def test_batched_and_single_results_are_equal_to_the_token(engines: dict[str, GigaamEngine], head: str) -> None:
    """Also with batches through the encoder, as on an accelerator: equal lengths together, others apart."""
    engine = engines[head]
    windows = [clip.samples for clip in CLIPS]
    windows += [window[: 4 * 16_000] for window in windows]
    batching = load_gigaam_like(engine, batch_size=4)
    single = [engine.transcribe([window], Options())[0] for window in windows]
    for batched in (engine.transcribe(windows, Options()), batching.transcribe(windows, Options())):
        assert [[token.id for token in h.tokens] for h in batched] == [[token.id for token in h.tokens] for h in single]
        assert [spans(h) for h in batched] == [spans(h) for h in single]


def spans(hypothesis: Hypothesis) -> list[tuple[str, float, float]]:
    return [(word.text, word.start, word.end) for word in hypothesis.words]


def load_gigaam_like(engine: GigaamEngine, batch_size: int, encoder: Encoder | None = None) -> GigaamEngine:
    """The same engine with batches through the encoder."""
    return GigaamEngine(
        replace(engine.info, batch_size=batch_size),
        engine._config,
        encoder or engine._encoder,
        engine._vocabulary,
        engine._transducer,
    )


@pytest.mark.parametrize("head", HEADS)
def test_tokens_and_frames_agree_with_onnx_asr(engines: dict[str, GigaamEngine], head: str, tiny_dir: Path) -> None:
    reference = onnx_asr.load_model(f"gigaam-v3-{head}", tiny_dir).with_timestamps()
    for clip in CLIPS:
        expected = reference.recognize(clip.samples, sample_rate=16_000)
        [hypothesis] = engines[head].transcribe([clip.samples], Options())
        assert [token.text.replace("▁", " ") for token in hypothesis.tokens] == expected.tokens
        assert [token.start for token in hypothesis.tokens] == pytest.approx(expected.timestamps, abs=1e-6)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("clip", UNSEEN, ids=lambda clip: clip.path.stem)
def test_word_times_agree_with_the_speech_bounds(engines: dict[str, GigaamEngine], head: str, clip: Clip) -> None:
    [hypothesis] = engines[head].transcribe([clip.samples], Options())
    tolerance_s = 0.3
    assert hypothesis.words[0].start == pytest.approx(clip.speech_start, abs=tolerance_s)
    assert hypothesis.words[-1].end == pytest.approx(clip.speech_end, abs=tolerance_s)


def test_several_threads_share_one_engine(engines: dict[str, GigaamEngine]) -> None:
    engine = engines["rnnt"]
    windows = [clip.samples for clip in CLIPS]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(lambda window: engine.transcribe([window], Options())[0], windows))
    assert [h.text for h in together] == [clip.rnnt for clip in CLIPS]


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("n_samples", [0, 1, 319, 320, 480, 16_000])
def test_silence_of_any_length_gives_an_empty_text(engines: dict[str, GigaamEngine], head: str, n_samples: int) -> None:
    [hypothesis] = engines[head].transcribe([np.zeros(n_samples, np.float32)], Options())
    assert hypothesis.text == ""
    assert hypothesis.words == ()


def test_confidences_are_probabilities(engines: dict[str, GigaamEngine]) -> None:
    for head in HEADS:
        [hypothesis] = engines[head].transcribe([CLIPS[0].samples], Options())
        assert all(0 < word.confidence <= 1 for word in hypothesis.words)


def test_a_task_or_language_it_cannot_serve_is_refused(engines: dict[str, GigaamEngine]) -> None:
    with pytest.raises(UnsupportedTask, match="translate"):
        engines["ctc"].transcribe([], Options(task="translate"))
    with pytest.raises(OptionError, match="Known: ru"):
        engines["ctc"].transcribe([], Options(language="en"))


@pytest.mark.parametrize(
    ("device", "advice"), [("cuda", "onnxruntime-gpu"), ("coreml", "macOS"), ("tpu", "Choose one of")]
)
def test_a_device_that_this_build_lacks_is_named_with_advice(
    tiny_dir: Path, monkeypatch: pytest.MonkeyPatch, device: str, advice: str
) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(DeviceUnavailable, match=rf"'{device}'.*{advice}"):
        load_gigaam(files_of("ctc", tiny_dir), model="tiny", variant="ctc", device=device)


def grow_vocabulary(folder: Path) -> None:
    lines = (folder / "v3_vocab.txt").read_text(encoding="utf-8").splitlines()
    lines[-1:] = ["ё 33", "<blk> 34"]
    (folder / "v3_vocab.txt").write_text("\n".join(lines), encoding="utf-8")


def break_file(name: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / name).write_bytes(b"not a model")

    return damage


def swap_in(name: str, other: str) -> Callable[[Path], None]:
    def swap(folder: Path) -> None:
        shutil.copy(folder / other, folder / name)

    return swap


def shrink_decoder(folder: Path) -> None:
    """A decoder whose embedding lacks a token."""
    path = folder / "v3_rnnt_decoder.onnx"
    model = onnx.load(path)
    [embedding] = [tensor for tensor in model.graph.initializer if tensor.name == "embed.weight"]
    smaller = onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(embedding)[:-1], embedding.name)
    embedding.CopyFrom(smaller)
    onnx.save(model, path)


@pytest.mark.parametrize(
    ("head", "damage", "named"),
    [
        ("ctc", grow_vocabulary, "v3_ctc.onnx"),
        ("rnnt", grow_vocabulary, "v3_vocab.txt"),
        ("rnnt", shrink_decoder, "v3_rnnt_decoder.onnx"),
        ("rnnt", break_file("v3_rnnt_encoder.onnx"), "v3_rnnt_encoder.onnx"),
        ("rnnt", break_file("v3_rnnt_decoder.onnx"), "v3_rnnt_decoder.onnx"),
        ("rnnt", break_file("v3_rnnt_joint.onnx"), "v3_rnnt_joint.onnx"),
        ("rnnt", break_file("v3_vocab.txt"), "v3_vocab.txt"),
        ("rnnt", break_file("config.json"), "config.json"),
        ("rnnt", swap_in("v3_rnnt_joint.onnx", "v3_rnnt_decoder.onnx"), "v3_rnnt_joint.onnx"),
        ("rnnt", swap_in("v3_rnnt_decoder.onnx", "v3_rnnt_joint.onnx"), "v3_rnnt_decoder.onnx"),
        ("rnnt", swap_in("v3_rnnt_encoder.onnx", "v3_rnnt_joint.onnx"), "v3_rnnt_encoder.onnx"),
        ("rnnt", swap_in("v3_rnnt_encoder.onnx", "v3_ctc.onnx"), "v3_rnnt_encoder.onnx"),
        ("ctc", swap_in("v3_ctc.onnx", "v3_rnnt_encoder.onnx"), "v3_ctc.onnx"),
    ],
)
def test_loading_names_the_file_that_does_not_fit(
    head: str, damage: Callable[[Path], None], named: str, tiny_dir: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_dir, tmp_path / "model")
    damage(folder)
    with pytest.raises(ModelFilesInvalid) as caught:
        load_gigaam(files_of(head, folder), model="tiny", variant=head)
    assert caught.value.file_name == named


@pytest.mark.parametrize("fields", [{"version": "v9"}, {"features_size": 80}, {"subsampling_factor": 0}, []])
def test_a_config_of_another_model_is_refused(fields: object, tiny_dir: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_dir, tmp_path / "model")
    (folder / "config.json").write_text(json.dumps(fields))
    with pytest.raises(ModelFilesInvalid, match=r"config\.json"):
        load_gigaam(files_of("ctc", folder), model="tiny", variant="ctc")


def test_without_a_config_the_file_name_tells_the_generation(tiny_dir: Path) -> None:
    files = replace(files_of("ctc", tiny_dir), config=None)
    engine = load_gigaam(files, model="tiny", variant="ctc")
    [hypothesis] = engine.transcribe([CLIPS[0].samples], Options())
    assert hypothesis.text == CLIPS[0].ctc


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_none_are_no_text(
    tiny_dir: Path, head: str, value: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would be a long row of one token, with a confidence that JSON cannot hold."""
    engine = load_gigaam(files_of(head, tiny_dir), model="tiny", variant=head)

    def spoilt(encoder: Encoder, features: Sequence[Features]) -> NDArray[np.float32]:
        return np.full_like(run(encoder, features), value)

    run = Encoder.run
    monkeypatch.setattr(Encoder, "run", spoilt)
    with pytest.raises(InferenceError):
        engine.transcribe([CLIPS[0].samples], Options())
