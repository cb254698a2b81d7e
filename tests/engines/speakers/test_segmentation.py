"""Scores of the powerset -> who speaks."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from molva.engines.speakers.segmentation import POWERSET, Segmentation
from molva.errors import ModelFilesInvalid
from molva.samples import SAMPLE_RATE
from molva.speech.diarization import WINDOW
from tests.speaker_models import silence, voice


def write_constant(path: Path, scores: list[list[float]]) -> None:
    """A model that answers with these scores, whatever it hears."""
    value = np.array([scores], np.float32)
    node = helper.make_node("Identity", ["scores"], ["output"])
    graph = helper.make_graph(
        [node],
        "constant",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["B", "C", "T"])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, list(value.shape))],
        [numpy_helper.from_array(value, "scores")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)


def test_each_class_is_its_set_of_speakers(tmp_path: Path) -> None:
    write_constant(tmp_path / "model.onnx", np.eye(7).tolist())
    activity = Segmentation(tmp_path / "model.onnx")(np.zeros(WINDOW, np.float32))
    speaking = [tuple(np.flatnonzero(frame).tolist()) for frame in activity]
    assert speaking == [(), (0,), (1,), (2,), (0, 1), (0, 2), (1, 2)]


def test_no_more_than_two_speak_at_once() -> None:
    assert POWERSET.sum(axis=1).max() == 2


def test_a_window_has_a_frame_every_17_ms(speaker_dir: Path) -> None:
    window = np.concatenate([silence(4), voice(200, 6)])
    activity = Segmentation(speaker_dir / "segmentation-3.0.onnx")(window)
    assert activity.shape == (589, 3)
    assert np.flatnonzero(activity[:, 0])[0] == pytest.approx(4 * SAMPLE_RATE / 270, abs=4)  # it hears 31 ms ahead


def test_another_model_is_refused(speaker_dir: Path) -> None:
    with pytest.raises(ModelFilesInvalid, match="no segmentation model"):
        Segmentation(speaker_dir / "wespeaker_resnet34.onnx")
