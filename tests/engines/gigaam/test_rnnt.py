"""The NumPy head against ONNX Runtime on the exported graphs, step by step."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from molva.engines.gigaam.ctc import Emission
from molva.engines.gigaam.features import SPECS, log_mel
from molva.engines.gigaam.rnnt import Transducer, read_joint, read_predictor
from tests.conftest import CLIPS, TINY

BLANK = 33


def decode_by_the_graphs(encoded: NDArray[np.float32], max_symbols: int) -> list[Emission]:
    """The textbook loop: one decoder and one joint call a step."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    decoder = onnxruntime.InferenceSession(TINY / "v3_rnnt_decoder.onnx", options)
    joint = onnxruntime.InferenceSession(TINY / "v3_rnnt_joint.onnx", options)
    hidden = cell = np.zeros((1, 1, 320), np.float32)
    output, next_hidden, next_cell = decoder.run(None, {"x": [[BLANK]], "h.1": hidden, "c.1": cell})
    emissions = []
    for frame, vector in enumerate(encoded):
        for _ in range(max_symbols):
            [log_probs] = joint.run(None, {"enc": vector[None, :, None], "dec": output.transpose(0, 2, 1)})
            token = int(log_probs.argmax())
            if token == BLANK:
                break
            emissions.append(Emission(frame, token, float(np.exp(log_probs.ravel()[token]))))
            hidden, cell = next_hidden, next_cell
            output, next_hidden, next_cell = decoder.run(None, {"x": [[token]], "h.1": hidden, "c.1": cell})
    return emissions


@pytest.fixture(scope="module")
def encoded() -> NDArray[np.float32]:
    """Encoder frames of real speech, shape (n_frames, 144)."""
    features = log_mel(CLIPS[0].samples, SPECS["v3"])
    encoder = onnxruntime.InferenceSession(TINY / "v3_rnnt_encoder.onnx")
    output = encoder.run(None, {"audio_signal": features[None], "length": np.array([features.shape[1]])})[0]
    return np.ascontiguousarray(output[0].T)


@pytest.mark.parametrize("max_symbols", [1, 3, 10])
@pytest.mark.parametrize(
    ("first", "n_frames", "stride"), [(0, 1, 1), (12, 7, 1), (12, 8, 1), (12, 9, 1), (0, 207, 1), (0, 60, 3)]
)
def test_equal_to_the_exported_graphs(
    encoded: NDArray[np.float32], max_symbols: int, first: int, n_frames: int, stride: int
) -> None:
    """Every third frame only: tokens crowd, so that the limit of symbols counts too."""
    frames = np.ascontiguousarray(encoded[first : first + n_frames * stride : stride])
    transducer = Transducer(
        read_predictor(TINY / "v3_rnnt_decoder.onnx"), read_joint(TINY / "v3_rnnt_joint.onnx"), BLANK, max_symbols
    )
    emissions, expected = transducer.decode(frames), decode_by_the_graphs(frames, max_symbols)
    assert [(e.frame, e.token) for e in emissions] == [(e.frame, e.token) for e in expected]
    assert [e.confidence for e in emissions] == pytest.approx([e.confidence for e in expected], abs=1e-4)
    assert len(emissions) >= n_frames // 10  # frames that only gave blanks would prove nothing


def test_weights_are_found_by_position_not_by_name(tmp_path: Path) -> None:
    """Newer exports call the states hi, ci, ho and co."""
    model = onnx.load(TINY / "v3_rnnt_decoder.onnx")
    names = {"h.1": "hi", "c.1": "ci", "h": "ho", "c": "co"}
    for node in model.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for value in [*model.graph.input, *model.graph.output]:
        value.name = names.get(value.name, value.name)
    onnx.save(model, tmp_path / "decoder.onnx")
    renamed, original = read_predictor(tmp_path / "decoder.onnx"), read_predictor(TINY / "v3_rnnt_decoder.onnx")
    assert np.array_equal(renamed.token_gates, original.token_gates)
