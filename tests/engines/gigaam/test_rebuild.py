"""Rebuilt encoders: made once for this machine and this source, held against FP32, never half there."""

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import jiwer
import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from molva.engines.base import Options
from molva.engines.gigaam import rebuild as module
from molva.engines.gigaam.encoder import Encoder
from molva.engines.gigaam.features import Features
from molva.engines.gigaam.model import GigaamEngine, GigaamFiles, load_gigaam
from molva.engines.gigaam.rebuild import MIN_AGREEMENT, find_rebuilt, measure_agreement, rebuild, write_plain
from molva.engines.gigaam.weights import Format
from molva.engines.onnx import open_session
from molva.errors import DiskFull, ModelError, ModelFilesInvalid
from molva.runtime.loading import sample_speech
from tests.conftest import CLIPS, UNSEEN
from tests.engines.gigaam.test_model import files_of, load_gigaam_like

GRAPHS = {"ctc": "v3_ctc.onnx", "rnnt": "v3_rnnt_encoder.onnx"}


@pytest.fixture
def source(tiny_dir: Path, tmp_path: Path) -> Path:
    """An encoder in a folder of one's own."""
    return Path(shutil.copy(tiny_dir / GRAPHS["rnnt"], tmp_path))


@pytest.fixture
def folder(source: Path) -> Path:
    return source.with_name("rebuilt")


def make(source: Path, folder: Path, form: Format = "s8") -> float:
    return rebuild(source, folder, form, sample_speech(), "v3")


def load(
    files: GigaamFiles, graph: Path, head: str, *, rebuilt: bool = True, threads: int = 1, precision: str = "int8"
) -> GigaamEngine:
    own = GigaamFiles(graph, files.vocabulary, files.config, files.decoder, files.joint)
    return load_gigaam(own, model="tiny", variant=head, rebuilt=rebuilt, threads=threads, precision=precision)


@pytest.mark.parametrize("head", GRAPHS)
def test_fp32_hears_the_same_to_the_token(tiny_dir: Path, tmp_path: Path, head: str) -> None:
    files = files_of(head, tiny_dir)
    assert make(files.encoder, tmp_path / "rebuilt", "fp32") > 0.999999
    engines = [
        load(files, files.encoder, head, rebuilt=False),
        load(files, tmp_path / "rebuilt" / "encoder.onnx", head),
    ]
    for clip in CLIPS:
        tokens = [
            [(t.id, t.start) for t in engine.transcribe([clip.samples], Options())[0].tokens] for engine in engines
        ]
        assert tokens[0] == tokens[1]


@pytest.mark.parametrize("head", GRAPHS)
def test_fp16_hears_the_same_to_the_token_in_batches_of_similar_lengths(
    tiny_dir: Path, tmp_path: Path, head: str
) -> None:
    """As on a GPU, where windows of other lengths go through the encoder together; this is the arithmetic of a CPU,
    which computes in FP32 between the roundings to FP16.
    """
    files = files_of(head, tiny_dir)
    assert make(files.encoder, tmp_path / "rebuilt", "fp16") > 0.9999
    published = load(files, files.encoder, head, rebuilt=False)
    half = load(files, tmp_path / "rebuilt" / "encoder.onnx", head, precision="fp16")
    assert not half.info.equal_lengths
    ran: list[list[int]] = []

    class Watched(Encoder):
        def run(self, features: Sequence[Features]) -> NDArray[np.float32]:
            ran.append([feature.shape[1] for feature in features])
            return super().run(features)

    batching = load_gigaam_like(half, batch_size=4, encoder=Watched(half._encoder._narrow.runs, bound=True))
    windows = [clip.samples for clip in CLIPS] + [clip.samples[:-8000] for clip in CLIPS]
    together = batching.transcribe(windows, Options())
    for window, hypothesis in zip(windows, together, strict=True):
        [alone] = published.transcribe([window], Options())
        assert [token.id for token in hypothesis.tokens] == [token.id for token in alone.tokens]
        starts = [[token.start for token in each.tokens] for each in (hypothesis, alone)]
        assert starts[0] == pytest.approx(starts[1], abs=0.0401)  # a tie of two frames may end otherwise
    assert any(min(lengths) < max(lengths) for lengths in ran)


@pytest.mark.parametrize("form", ["s8", "s7", "u8"])
@pytest.mark.parametrize("head", GRAPHS)
def test_int8_errs_no_more_than_half_a_point_more(tiny_dir: Path, tmp_path: Path, head: str, form: Format) -> None:
    """Word error over what the model was not trained on, against the published graph's."""
    files = files_of(head, tiny_dir)
    agreement = make(files.encoder, tmp_path / "rebuilt", form)
    assert agreement > 0.999
    errors = []
    for engine in (
        load(files, files.encoder, head, rebuilt=False),
        load(files, tmp_path / "rebuilt/encoder.onnx", head),
    ):
        heard = [engine.transcribe([clip.samples], Options())[0].text for clip in CLIPS]
        errors.append(jiwer.wer([clip.reference for clip in CLIPS], heard))
    assert errors[1] <= errors[0] + 0.005


@pytest.mark.parametrize(("form", "largest"), [("s7", 63), ("s8", 127)])
def test_weights_have_seven_bits_where_eight_would_saturate(source: Path, form: Format, largest: int) -> None:
    write_plain(source, source.with_name("plain.onnx"), form)
    weights = [
        numpy_helper.to_array(tensor)
        for tensor in onnx.load(source.with_name("plain.onnx")).graph.initializer
        if tensor.data_type == onnx.TensorProto.INT8 and tensor.dims
    ]
    assert max(int(abs(weight.astype(int)).max()) for weight in weights) == largest


def test_it_is_made_once(source: Path, folder: Path) -> None:
    assert find_rebuilt(source, folder, "s8") is None
    agreement = make(source, folder)
    graph = find_rebuilt(source, folder, "s8")
    assert graph is not None
    made = graph.stat().st_mtime_ns
    assert make(source, folder) == agreement
    assert graph.stat().st_mtime_ns == made
    assert {path.name for path in source.parent.iterdir()} == {source.name, folder.name, f".{folder.name}.lock"}


def touch(source: Path) -> None:
    os.utime(source, (1, 1))


def change_a_weight(source: Path) -> None:
    """The same size, at the same time."""
    time = source.stat().st_mtime_ns
    model = onnx.load(source)
    [bias] = [tensor for tensor in model.graph.initializer if tensor.name == "layers.0.norm_conv.bias"]
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) * 1.01, bias.name))
    onnx.save(model, source)
    os.utime(source, ns=(time + 1, time + 1))


def grow(source: Path) -> None:
    source.write_bytes(source.read_bytes() + b"\0")


def add_data(source: Path) -> None:
    source.with_name(f"{source.name}.data").write_bytes(b"weights")


@pytest.mark.parametrize(
    ("change", "is_current"), [(touch, True), (change_a_weight, False), (grow, False), (add_data, False)]
)
def test_it_belongs_to_the_source_as_it_is(
    source: Path, folder: Path, change: Callable[[Path], None], is_current: bool
) -> None:
    make(source, folder)
    change(source)
    assert (find_rebuilt(source, folder, "s8") is not None) == is_current


@pytest.mark.parametrize("what", ["onnxruntime", "processor", "recipe", "format"])
def test_it_belongs_to_the_machine_and_the_recipe(
    source: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    make(source, folder)
    if what == "onnxruntime":
        monkeypatch.setattr(onnxruntime, "__version__", "1.99.0")
    elif what == "processor":
        monkeypatch.setattr(module, "instruction_sets", lambda: frozenset({"avx2", "x86_64"}))
    elif what == "recipe":
        monkeypatch.setattr(module, "RECIPE", module.RECIPE + 1)
    assert find_rebuilt(source, folder, "u8" if what == "format" else "s8") is None


def test_a_stale_one_is_replaced(source: Path, folder: Path) -> None:
    make(source, folder)
    change_a_weight(source)
    noted = json.loads((folder / "key.json").read_text())["source"]
    make(source, folder)
    assert find_rebuilt(source, folder, "s8")
    assert json.loads((folder / "key.json").read_text())["source"] != noted


@pytest.mark.parametrize("name", ["encoder.onnx", "encoder.weights", "key.json"])
def test_a_damaged_one_is_none(source: Path, folder: Path, name: str) -> None:
    make(source, folder)
    if name == "encoder.weights":
        (folder / name).write_bytes(b"short")
    else:
        (folder / name).unlink()
    assert find_rebuilt(source, folder, "s8") is None


def test_what_a_killed_process_left_is_removed(source: Path, folder: Path) -> None:
    leftover = source.with_name(f".{folder.name}-abcd")
    leftover.mkdir()
    (leftover / "plain.onnx").write_bytes(b"half")
    make(source, folder)
    assert not leftover.exists()


def test_a_result_that_disagrees_is_not_left_behind(
    source: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real comparison, with a graph whose weights were spoilt on the way."""

    def spoil(encoder: Path, target: Path, form: Format) -> None:
        write_plain(encoder, target, form)
        model = onnx.load(target)
        for tensor in model.graph.initializer:
            if tensor.data_type == onnx.TensorProto.INT8 and tensor.dims:
                tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor)[::-1].copy(), tensor.name))
        onnx.save(model, target)

    monkeypatch.setattr(module, "write_plain", spoil)
    with pytest.raises(ModelFilesInvalid, match="agrees with it only to"):
        make(source, folder)
    assert not folder.exists()
    assert not list(source.parent.glob(".rebuilt-*"))


def test_a_damaged_source_is_named(source: Path, folder: Path) -> None:
    source.write_bytes(source.read_bytes()[:100_000])
    with pytest.raises(ModelFilesInvalid, match=r"v3_rnnt_encoder\.onnx"):
        make(source, folder)
    assert not folder.exists()


def test_agreement_is_one_with_oneself_and_every_format_has_a_least(source: Path) -> None:
    write_plain(source, source.with_name("plain.onnx"), "fp32")
    assert measure_agreement(source, source, sample_speech(), "v3") == pytest.approx(1)
    assert min(MIN_AGREEMENT.values()) > 0.64


@pytest.mark.parametrize(("number", "kind"), [(errno.ENOSPC, DiskFull), (errno.EROFS, ModelError)])
def test_a_folder_that_cannot_be_written_is_told(
    source: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[Exception]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(tempfile, "TemporaryDirectory", refuse)
    with pytest.raises(kind, match=r"v3_rnnt_encoder\.onnx"):
        make(source, folder)


def test_a_wide_session_hears_the_same(tiny_dir: Path, source: Path, folder: Path) -> None:
    make(source, folder)
    files = files_of("rnnt", tiny_dir)
    engines = [load(files, folder / "encoder.onnx", "rnnt", threads=threads) for threads in (1, 2)]
    assert [engine.info.longest_wide_s > 0 for engine in engines] == [False, True]
    window = UNSEEN[0].samples[: 5 * 16_000]
    texts = [engine.transcribe([window], Options())[0].text for engine in engines]
    assert texts[0] == texts[1] != ""


def test_weights_are_mapped_and_not_copied(source: Path, folder: Path) -> None:
    """What makes a second session cheap: the packed weights of both are pages of one file."""
    make(source, folder)
    sessions = [open_session(folder / "encoder.onnx", as_saved=True) for _ in range(2)]
    mapped = [line for line in Path("/proc/self/smaps").read_text().splitlines() if "encoder.weights" in line]
    assert len(mapped) >= len(sessions) * 5
