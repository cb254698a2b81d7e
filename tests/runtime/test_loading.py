"""Files to engines; encoders are rebuilt by themselves."""

import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnxruntime.quantization import QuantType, quantize_dynamic

from molva.engines.base import Options
from molva.errors import ModelFilesInvalid, ModelNotInstalled
from molva.models.catalog import find
from molva.models.store import InstalledModel, ModelStore
from molva.runtime import loading
from molva.runtime.loading import choose_encoder, load_engine, sample_speech
from molva.samples import seconds
from tests.conftest import SEEN


@pytest.fixture
def store(tiny_dir: Path, tmp_path: Path) -> ModelStore:
    """A folder of one's own, without INT8 files."""
    for file in tiny_dir.iterdir():
        if file.is_file() and "int8" not in file.name:
            shutil.copy(file, tmp_path)
    return ModelStore(tmp_path)


def write_foreign_int8(model: InstalledModel, name: str) -> Path:
    """As other tools make it."""
    path = model.directory / name
    quantize_dynamic(loading.fp32_encoder(model), path, op_types_to_quantize=["MatMul"], weight_type=QuantType.QInt8)
    return path


@pytest.mark.parametrize("head", ["ctc", "rnnt"])
def test_the_encoder_is_rebuilt_once_and_then_taken(store: ModelStore, head: str) -> None:
    model = store.require(find(f"gigaam-v3-{head}"))
    engine = load_engine(model, device="cpu", precision="auto", workers=1)
    assert engine.info.precision == "int8"
    [hypothesis] = engine.transcribe([SEEN[0].samples], Options())
    assert hypothesis.text == getattr(SEEN[0], head)
    made = choose_encoder(model, device="cpu", precision="auto")
    assert made.is_rebuilt
    before = made.path.stat().st_mtime_ns
    load_engine(model, device="cpu", precision="auto", workers=1)
    assert made.path.stat().st_mtime_ns == before


@pytest.mark.parametrize(("wide", "form"), [(True, "s8"), (False, "s7")])
def test_the_format_follows_the_processor(
    store: ModelStore, monkeypatch: pytest.MonkeyPatch, wide: bool, form: str
) -> None:
    monkeypatch.setattr(loading, "has_wide_accumulation", lambda: wide)
    model = store.require(find("gigaam-v3-ctc"))
    choices = [choose_encoder(model, device="cpu", precision=precision) for precision in ("auto", "int8", "u8")]
    assert [choice.path.parent.name for choice in choices] == [f"v3_ctc.{form}", f"v3_ctc.{form}", "v3_ctc.u8"]
    assert [choice.precision for choice in choices] == ["int8", "int8", "u8"]


def test_what_was_made_of_another_source_goes(store: ModelStore) -> None:
    model = store.require(find("gigaam-v3-rnnt"))
    for precision in ("u8", "int8"):
        choose_encoder(model, device="cpu", precision=precision)
    source = loading.fp32_encoder(model)
    source.write_bytes(source.read_bytes() + b"\x9a\x06\x00")  # a field that no reader of ONNX knows
    choice = choose_encoder(model, device="cpu", precision="auto")
    assert choice.is_rebuilt
    assert not (model.directory / "v3_rnnt_encoder.u8").exists()


def test_fp16_is_made_for_a_gpu_and_for_nothing_else(store: ModelStore) -> None:
    model = store.require(find("gigaam-v3-rnnt"))
    choice = choose_encoder(model, device="cuda", precision="fp16")
    assert (choice.path.parent.name, choice.precision) == ("v3_rnnt_encoder.fp16", "fp16")
    assert not (model.directory / "v3_rnnt_encoder.s8").exists()
    assert choose_encoder(model, device="cuda", precision="auto").precision == "fp32"
    for device in ("cpu", "coreml"):
        with pytest.raises(ModelNotInstalled, match="Only for --device cuda"):
            choose_encoder(model, device=device, precision="fp16")


def test_fp32_is_served_where_it_is_asked_for(store: ModelStore) -> None:
    model = store.require(find("gigaam-v3-ctc"))
    assert load_engine(model, device="cpu", precision="fp32", workers=1).info.precision == "fp32"
    assert not [path for path in model.directory.iterdir() if path.is_dir()]


@pytest.mark.parametrize("name", ["v3_ctc.int8.onnx", "v3_ctc_int8.onnx"])
def test_int8_of_another_maker_is_enough_but_is_not_fp32(store: ModelStore, name: str) -> None:
    model = store.require(find("gigaam-v3-ctc"))
    foreign = write_foreign_int8(model, name)
    assert choose_encoder(model, device="cpu", precision="auto").is_rebuilt
    loading.fp32_encoder(model).unlink()
    model = store.require(find("gigaam-v3-ctc"))
    assert choose_encoder(model, device="cpu", precision="auto").path == foreign
    assert load_engine(model, device="cpu", precision="auto", workers=1).info.precision == "int8"
    with pytest.raises(ModelNotInstalled, match="--precision int8"):
        load_engine(model, device="cpu", precision="fp32", workers=1)
    with pytest.raises(ModelNotInstalled, match="can INT8 be made"):
        load_engine(model, device="cpu", precision="u8", workers=1)
    with pytest.raises(ModelNotInstalled, match="smaller weights are made from it"):
        loading.rebuild(model, "s8")


def rename_a_node(path: Path) -> None:
    model = onnx.load(path)
    [node] = [node for node in model.graph.node if node.name == "/layers.1/self_attn/linear_q/MatMul"]
    node.name = "/layers.1/self_attn/query/MatMul"
    onnx.save(model, path)


def test_an_encoder_of_another_layout_is_served_as_it_is(store: ModelStore, caplog: pytest.LogCaptureFixture) -> None:
    model = store.require(find("gigaam-v3-ctc"))
    rename_a_node(loading.fp32_encoder(model))
    with caplog.at_level(logging.WARNING):
        engine = load_engine(model, device="cpu", precision="auto", workers=1)
    assert engine.info.precision == "fp32"
    assert "it has no MatMul called '/layers.1/self_attn/linear_q/MatMul'" in caplog.text
    assert engine.transcribe([SEEN[0].samples], Options())[0].text == SEEN[0].ctc
    with pytest.raises(ModelFilesInvalid):
        load_engine(model, device="cpu", precision="int8", workers=1)


@pytest.mark.parametrize("wide", [True, False])
def test_int8_of_another_maker_does_where_the_encoder_cannot_be_rebuilt(
    store: ModelStore, monkeypatch: pytest.MonkeyPatch, wide: bool
) -> None:
    """Unless it would lose its signal on this processor."""
    monkeypatch.setattr(loading, "has_wide_accumulation", lambda: wide)
    model = store.require(find("gigaam-v3-ctc"))
    foreign = write_foreign_int8(model, "v3_ctc.int8.onnx")
    rename_a_node(loading.fp32_encoder(model))
    choice = choose_encoder(model, device="cpu", precision="auto")
    assert choice.path == (foreign if wide else loading.fp32_encoder(model))


def test_a_second_thread_is_for_short_windows_of_rebuilt_encoders(
    store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "usable_cores", lambda: 2)
    model = store.require(find("gigaam-v3-ctc"))
    longest = [
        load_engine(model, device="cpu", precision=precision, workers=workers).info.longest_wide_s
        for precision, workers in (("auto", 1), ("auto", 2), ("fp32", 2))
    ]
    assert [value > 0 for value in longest] == [False, True, False]


def test_speed_is_that_of_one_worker(store: ModelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "usable_cores", lambda: 2)
    engine = load_engine(store.require(find("gigaam-v3-ctc")), device="cpu", precision="auto", workers=2)
    heard: list[float] = []
    monkeypatch.setattr(
        type(engine), "transcribe", lambda _, batch, options: heard.extend(seconds(each.size) for each in batch)
    )
    loading.measure(engine)
    assert heard[0] > engine.info.longest_wide_s > 0


def test_the_shipped_clip_is_five_seconds_of_speech() -> None:
    clip = sample_speech()
    assert clip.dtype == np.float32
    assert clip.size == 87_000
    assert 0.1 < np.abs(clip).max() <= 1


def rot(path: Path) -> None:
    """Change a byte in the middle, without a trace in size and time: as a disk does."""
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def spoil(path: Path) -> None:
    path.write_bytes(bytes(reversed(path.read_bytes())))


def make_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def lead_out(path: Path) -> None:
    outside = path.parent.parent.parent / "outside" / path.name
    outside.parent.mkdir(exist_ok=True)
    path.rename(outside)
    path.symlink_to(outside)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("encoder.onnx", spoil),
        ("encoder.weights", spoil),
        ("encoder.onnx", make_pipe),
        ("encoder.weights", make_pipe),
        ("encoder.onnx", lead_out),
        ("encoder.weights", lead_out),
        ("encoder.weights", Path.unlink),
        ("key.json", spoil),
        ("key.json", make_pipe),
        ("key.json", lambda path: path.write_text("[" * 100_000)),
        ("key.json", lambda path: path.write_text('{"result": 1, "source": [], "machine": {}}')),
    ],
)
def test_a_rebuilt_encoder_that_was_changed_is_made_anew(
    store: ModelStore, name: str, damage: Callable[[Path], object]
) -> None:
    model = store.require(find("gigaam-v3-ctc"))
    path = choose_encoder(model, device="cpu", precision="int8").path
    damage(path.parent / name)
    assert loading.damaged_rebuilt(model) == [path.parent]
    engine = load_engine(model, device="cpu", precision="int8", workers=1)
    assert engine.transcribe([SEEN[0].samples], Options())[0].text
    assert loading.damaged_rebuilt(model) == []


def test_one_that_rots_on_the_disk_is_made_anew_when_it_does_not_load(
    store: ModelStore, caplog: pytest.LogCaptureFixture
) -> None:
    """In silence only where what has changed are weights: `molva models verify` finds that."""
    model = store.require(find("gigaam-v3-ctc"))
    path = choose_encoder(model, device="cpu", precision="int8").path
    before = path.stat()
    path.write_bytes(bytes(before.st_size))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with caplog.at_level(logging.WARNING):
        engine = load_engine(model, device="cpu", precision="int8", workers=1)
    assert "is damaged and made anew" in caplog.text
    assert engine.transcribe([SEEN[0].samples], Options())[0].text
    rot(path.parent / "encoder.weights")
    assert loading.damaged_rebuilt(model) == [path.parent]


def test_the_rebuilt_encoder_of_another_model_is_not_taken(store: ModelStore) -> None:
    ctc, rnnt = (store.require(find(f"gigaam-v3-{head}")) for head in ("ctc", "rnnt"))
    foreign = choose_encoder(rnnt, device="cpu", precision="int8").path.parent
    form = loading.weights_format("int8")
    shutil.copytree(foreign, loading.rebuilt_folder(ctc, form))
    engine = load_engine(ctc, device="cpu", precision="int8", workers=1)
    assert engine.transcribe([SEEN[0].samples], Options())[0].text


def test_a_folder_of_it_that_is_a_link_is_not_taken(store: ModelStore, tmp_path: Path) -> None:
    model = store.require(find("gigaam-v3-ctc"))
    folder = choose_encoder(model, device="cpu", precision="int8").path.parent
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    choose_encoder(model, device="cpu", precision="int8")
    assert not folder.is_symlink()
    assert (tmp_path / "elsewhere" / "encoder.onnx").exists()


def test_a_model_that_fails_at_speech_is_refused_by_name(store: ModelStore) -> None:
    """Weights that no hash is known of may be anything; what they make of speech must be numbers."""
    model = store.require(find("gigaam-v3-ctc"))
    encoder = loading.fp32_encoder(model)
    graph = onnx.load(encoder)
    output = graph.graph.output[0].name
    graph.graph.initializer.append(onnx.numpy_helper.from_array(np.array(100, np.float32), "hundred"))
    # Infinite for speech, and 1 for the silence by which graphs are held against each other.
    graph.graph.node.extend(
        [
            onnx.helper.make_node("Abs", ["features"], ["sizes"]),
            onnx.helper.make_node("ReduceMax", ["sizes"], ["largest"], keepdims=0),
            onnx.helper.make_node("Mul", ["largest", "hundred"], ["large"]),
            onnx.helper.make_node("Exp", ["large"], ["infinite"]),
            onnx.helper.make_node("Mul", [output, "infinite"], ["spoilt"]),
        ]
    )
    graph.graph.output[0].name = "spoilt"
    onnx.save(graph, encoder)
    with pytest.raises(ModelFilesInvalid, match=r"v3_ctc\.onnx.*no numbers"):
        load_engine(model, device="cpu", precision="fp32", workers=1)
