"""INT8 encoders: made once, held against FP32, never half there."""

import errno
import os
import shutil
import tempfile
from pathlib import Path

import onnx
import pytest
from onnx import numpy_helper

from molva.engines.base import Options
from molva.engines.cpu import has_wide_accumulation
from molva.engines.gigaam import quantize
from molva.engines.gigaam.model import load_gigaam
from molva.engines.gigaam.quantize import int8_path, measure_agreement, quantize_encoder, saturates, write_int8
from molva.errors import DiskFull, ModelError, ModelFilesInvalid
from molva.runtime.loading import sample_speech
from tests.conftest import SEEN
from tests.engines.gigaam.test_model import files_of

GRAPHS = {"ctc": "v3_ctc.onnx", "rnnt": "v3_rnnt_encoder.onnx"}


@pytest.fixture
def folder(tiny_dir: Path, tmp_path: Path) -> Path:
    for name in ("v3_ctc.onnx", "v3_rnnt_encoder.onnx"):
        shutil.copy(tiny_dir / name, tmp_path)
    return tmp_path


def largest_weight(path: Path) -> int:
    weights = [
        numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer if t.data_type == onnx.TensorProto.INT8
    ]
    assert weights
    return max(int(abs(w.astype(int)).max()) for w in weights)


@pytest.mark.parametrize("head", GRAPHS)
@pytest.mark.parametrize(("wide", "largest"), [(False, 64), (True, 127)])
def test_weights_have_seven_bits_where_eight_would_saturate(folder: Path, head: str, wide: bool, largest: int) -> None:
    encoder = folder / GRAPHS[head]
    agreement = quantize_encoder(encoder, sample_speech(), "v3", wide=wide)
    assert agreement > 0.99
    assert largest // 2 < largest_weight(int8_path(encoder)) <= largest
    assert int8_path(encoder).stat().st_size < encoder.stat().st_size / 2
    assert sorted(path.name for path in folder.iterdir()) == sorted([*GRAPHS.values(), int8_path(encoder).name])


@pytest.mark.parametrize("head", GRAPHS)
def test_an_int8_model_hears_the_same(folder: Path, tiny_dir: Path, head: str) -> None:
    encoder = folder / GRAPHS[head]
    quantize_encoder(encoder, sample_speech(), "v3", wide=has_wide_accumulation())
    files = files_of(head, tiny_dir)
    engine = load_gigaam(
        type(files)(int8_path(encoder), files.vocabulary, files.config, files.decoder, files.joint),
        model="tiny",
        variant=head,
        precision="int8",
    )
    texts = [h.text for h in engine.transcribe([clip.samples for clip in SEEN], Options())]
    right = sum(text == getattr(clip, head) for text, clip in zip(texts, SEEN, strict=True))
    assert right >= len(SEEN) - 3


def test_a_result_that_disagrees_is_not_left_behind(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real comparison, with a graph whose weights were spoilt on the way."""

    def spoil(source: Path, target: Path, *, bits: int) -> None:
        write_int8(source, target, bits=bits)
        model = onnx.load(target)
        for tensor in model.graph.initializer:
            if tensor.data_type == onnx.TensorProto.INT8:
                tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor)[::-1].copy(), tensor.name))
        onnx.save(model, target)

    monkeypatch.setattr(quantize, "write_int8", spoil)
    encoder = folder / GRAPHS["rnnt"]
    with pytest.raises(ModelFilesInvalid, match="agrees with it only to"):
        quantize_encoder(encoder, sample_speech(), "v3", wide=True)
    assert sorted(path.name for path in folder.iterdir()) == sorted(GRAPHS.values())


def test_a_damaged_source_is_named(folder: Path) -> None:
    encoder = folder / GRAPHS["ctc"]
    encoder.write_bytes(encoder.read_bytes()[:100_000])
    with pytest.raises(ModelFilesInvalid, match=r"v3_ctc\.onnx"):
        quantize_encoder(encoder, sample_speech(), "v3", wide=True)
    assert not int8_path(encoder).exists()


def test_agreement_is_one_with_oneself(folder: Path) -> None:
    encoder = folder / GRAPHS["rnnt"]
    assert measure_agreement(encoder, encoder, sample_speech(), "v3") == pytest.approx(1)


def test_a_file_made_for_a_wider_cpu_is_known(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = folder / GRAPHS["rnnt"]
    outcomes = {}
    for bits in (7, 8):
        write_int8(encoder, int8_path(encoder), bits=bits)
        for wide in (False, True):
            monkeypatch.setattr(quantize, "has_wide_accumulation", lambda wide=wide: wide)
            outcomes[bits, wide] = saturates(int8_path(encoder))
    assert outcomes == {(7, False): False, (7, True): False, (8, False): True, (8, True): False}


@pytest.mark.parametrize(("number", "kind"), [(errno.ENOSPC, DiskFull), (errno.EROFS, ModelError)])
def test_a_folder_that_cannot_be_written_is_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[Exception]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(tempfile, "TemporaryDirectory", refuse)
    with pytest.raises(kind, match=r"v3_ctc\.onnx"):
        quantize_encoder(folder / GRAPHS["ctc"], sample_speech(), "v3", wide=True)
