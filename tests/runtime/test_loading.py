"""Files to engines; INT8 by itself."""

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest

from molva.engines.base import Options
from molva.errors import ModelFilesInvalid, ModelNotInstalled
from molva.models.catalog import find
from molva.models.store import ModelStore
from molva.runtime import loading
from molva.runtime.loading import choose_encoder, load_engine, sample_speech
from tests.conftest import SEEN


@pytest.fixture
def store(tiny_dir: Path, tmp_path: Path) -> ModelStore:
    """A folder of one's own, without INT8 files."""
    for file in tiny_dir.iterdir():
        if file.is_file() and "int8" not in file.name:
            shutil.copy(file, tmp_path)
    return ModelStore(tmp_path)


@pytest.mark.parametrize("head", ["ctc", "rnnt"])
def test_int8_is_made_once_and_then_taken(store: ModelStore, head: str) -> None:
    model = store.require(find(f"gigaam-v3-{head}"))
    engine = load_engine(model, device="cpu", precision="auto", workers=1)
    assert engine.info.precision == "int8"
    [hypothesis] = engine.transcribe([SEEN[0].samples], Options())
    assert hypothesis.text == getattr(SEEN[0], head)
    made = loading.int8_encoder(model)
    assert made is not None
    before = made.stat().st_mtime_ns
    load_engine(model, device="cpu", precision="auto", workers=1)
    assert made.stat().st_mtime_ns == before


def test_fp32_is_served_where_it_is_asked_for(store: ModelStore) -> None:
    model = store.require(find("gigaam-v3-ctc"))
    assert load_engine(model, device="cpu", precision="fp32", workers=1).info.precision == "fp32"
    assert loading.int8_encoder(model) is None


def test_an_int8_file_under_onnx_asrs_name_is_taken(store: ModelStore) -> None:
    model = store.require(find("gigaam-v3-ctc"))
    made = loading.quantize(model)
    foreign = made.rename(made.with_name("v3_ctc.int8.onnx"))
    assert choose_encoder(model, device="cpu", precision="auto").path == foreign


def test_int8_alone_is_enough_but_is_not_fp32(store: ModelStore) -> None:
    model = store.require(find("gigaam-v3-ctc"))
    loading.quantize(model)
    loading.fp32_encoder(model).unlink()
    model = store.require(find("gigaam-v3-ctc"))
    assert load_engine(model, device="cpu", precision="auto", workers=1).info.precision == "int8"
    with pytest.raises(ModelNotInstalled, match="--precision int8"):
        load_engine(model, device="cpu", precision="fp32", workers=1)
    with pytest.raises(ModelNotInstalled, match="INT8 is made from it"):
        loading.quantize(model)


def test_fp32_is_served_where_int8_comes_out_wrong(
    store: ModelStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object, **__: object) -> float:
        raise ModelFilesInvalid("v3_ctc.onnx", "its INT8 form agrees with it only to 0.640")

    monkeypatch.setattr(loading, "quantize_apart", refuse)
    model = store.require(find("gigaam-v3-ctc"))
    with caplog.at_level(logging.WARNING):
        assert load_engine(model, device="cpu", precision="auto", workers=1).info.precision == "fp32"
    assert "0.640" in caplog.text
    with pytest.raises(ModelFilesInvalid):
        load_engine(model, device="cpu", precision="int8", workers=1)


def test_the_shipped_clip_is_five_seconds_of_speech() -> None:
    clip = sample_speech()
    assert clip.dtype == np.float32
    assert clip.size == 87_000
    assert 0.1 < np.abs(clip).max() <= 1
