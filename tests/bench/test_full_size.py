"""The model of the real size, here at a small one."""

from pathlib import Path

import pytest
from bench.clips import speech
from bench.full_size import CALIBRATION_S, SYMBOLS_PER_SECOND, encode, is_complete, write_model
from bench.gigaam_graph import Sizes

from molva.engines.gigaam.rnnt import Transducer, read_joint, read_predictor


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    write_model(folder, Sizes(layers=1, width=96, heads=2, feed_forward=96))
    return folder


def test_it_emits_as_many_symbols_as_people_do(model: Path) -> None:
    rate = len(emitted(model, max_symbols=10)) / CALIBRATION_S
    assert SYMBOLS_PER_SECOND / 1.2 < rate < SYMBOLS_PER_SECOND * 1.2


def test_engines_with_other_bounds_of_symbols_per_frame_emit_the_same(model: Path) -> None:
    assert emitted(model, max_symbols=1) == emitted(model, max_symbols=10)


def test_a_model_that_is_there_is_known(model: Path, tmp_path: Path) -> None:
    assert is_complete(model)
    assert not is_complete(tmp_path)


def emitted(model: Path, max_symbols: int) -> list[int]:
    frames = encode(model / "v3_rnnt_encoder.onnx", speech(CALIBRATION_S))
    predictor, joint = read_predictor(model / "v3_rnnt_decoder.onnx"), read_joint(model / "v3_rnnt_joint.onnx")
    transducer = Transducer(predictor, joint, joint.output.shape[1] - 1, max_symbols)
    return [emission.token for emission in transducer.decode(frames)]
