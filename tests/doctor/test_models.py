"""The model that a start would serve: here, whole, in the right precision, and how fast."""

import shutil
from pathlib import Path

import pytest

from molva.doctor import models
from molva.models.catalog import find
from molva.models.store import ModelStore

RNNT = find("gigaam-v3-rnnt")


@pytest.fixture
def store(tmp_path: Path, tiny_dir: Path) -> ModelStore:
    shutil.copytree(tiny_dir, tmp_path / "models")
    return ModelStore(tmp_path / "models")


def test_auto_is_what_a_start_would_take(store: ModelStore, tmp_path: Path) -> None:
    spec, model = models.locate("auto", store)
    assert model is not None
    assert model.spec == spec
    spec, model = models.locate("auto", ModelStore(tmp_path / "empty"))
    assert (spec.name, model) == ("gigaam-v3-e2e-rnnt", None)
    assert models.check_model(spec, model, store).status == "warning"


def test_whisper_base_comes_out_of_its_packages(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    assert models.check_model(find("whisper-base"), None, store).status == "ok"


def test_a_damaged_file_is_found(store: ModelStore) -> None:
    model = store.require(RNNT)
    # The tiny model's files are not those of the catalog.
    finding = models.check_files(model, store)
    assert finding.status == "problem"
    assert "v3_rnnt_encoder.onnx" in finding.message


def test_a_damaged_rebuilt_encoder_is_found(store: ModelStore) -> None:
    for kind in ("vocab.txt", "ctc.onnx"):  # a model that no hashes are known of
        shutil.copy(store.directory / f"v3_{kind}", store.directory / f"v2_{kind}")
    model = store.require(find("gigaam-v2-ctc"))
    (store.directory / "config.json").unlink()
    assert models.check_files(model, store).status == "ok"
    (store.directory / "v2_ctc.s8").mkdir()
    finding = models.check_files(model, store)
    assert finding.status == "problem"
    assert "v2_ctc.s8: damaged" in finding.message


def test_a_rebuild_is_told_before_it_takes_its_time(store: ModelStore) -> None:
    model = store.require(RNNT)

    def status(precision: str, device: str = "cpu") -> str:
        finding = models.check_precision(model, device=device, precision=precision)
        assert finding is not None
        return finding.status

    assert status("auto") == status("int8") == "warning"
    assert status("fp32") == status("auto", device="cuda") == "ok"
    assert (status("fp16"), status("fp16", device="cuda")) == ("problem", "warning")
    shutil.copy(model.directory / "v3_rnnt_encoder.onnx", model.directory / "v3_rnnt_encoder_int8.onnx")
    assert status("auto") == "warning"  # it is not taken while the FP32 one is here
    (model.directory / "v3_rnnt_encoder.onnx").unlink()
    assert status("fp32") == "problem"
    # Of an unknown maker, it counts as 8-bit: right with VNNI, a problem without.
    assert status("auto") in ("ok", "problem")


def test_int8_weights_take_less_than_the_files(store: ModelStore) -> None:
    model = store.require(RNNT)
    whole = models.weights_bytes(RNNT, model, device="cpu", precision="fp32")
    half = models.weights_bytes(RNNT, model, device="cuda", precision="fp16")
    assert models.weights_bytes(RNNT, model, device="cpu", precision="auto") < half < whole
    assert models.weights_bytes(RNNT, None, device="cpu", precision="auto") == (RNNT.size_bytes or 0)


def test_speed_is_measured_and_held_against_the_pool(store: ModelStore) -> None:
    model = store.require(RNNT)

    def findings(pool_size: int | None) -> list[str]:
        measured = models.measure_speed(model, device="cpu", precision="fp32", workers=1, pool_size=pool_size)
        return [finding.check + " " + finding.status for finding in measured]

    assert findings(1024)[-1] == "sessions warning"
    assert findings(None)[-1] == "sessions ok"


def test_a_model_that_cannot_be_loaded_is_a_problem(store: ModelStore) -> None:
    model = store.require(RNNT)
    (model.directory / "v3_rnnt_decoder.onnx").write_bytes(b"no graph")
    [finding] = models.measure_speed(model, device="cpu", precision="fp32", workers=1, pool_size=None)
    assert finding.status == "problem"


def test_speakers_that_nobody_wants_may_be_missing(tmp_path: Path) -> None:
    assert models.check_speakers(ModelStore(tmp_path), wanted=False).status == "ok"


def test_speakers_that_are_wanted_by_default_may_not(tmp_path: Path) -> None:
    finding = models.check_speakers(ModelStore(tmp_path), wanted=True)
    assert finding.status == "problem"
    assert "molva models pull speakers" in finding.advice


def test_models_of_speakers_that_are_here_are_tried(speaker_dir: Path, tmp_path: Path) -> None:
    assert models.check_speakers(ModelStore(speaker_dir), wanted=True).status == "ok"
    for name in ("segmentation-3.0.onnx", "wespeaker_resnet34.onnx"):
        (tmp_path / name).write_bytes(b"no graph")
    assert models.check_speakers(ModelStore(tmp_path), wanted=False).status == "warning"
