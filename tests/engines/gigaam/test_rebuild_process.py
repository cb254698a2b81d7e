"""An encoder rebuilt in a child: the same result, the same errors, and no orphan."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from molva.engines.gigaam import rebuild_process
from molva.engines.gigaam.rebuild_process import rebuild_apart
from molva.errors import DiskFull, ModelError, ModelFilesInvalid
from molva.runtime.loading import sample_speech
from tests.conftest import TINY


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    """A folder of one's own."""
    copy = tmp_path / "v3_rnnt_encoder.onnx"
    copy.write_bytes((TINY / copy.name).read_bytes())
    return copy


def make(encoder: Path) -> float:
    return rebuild_apart(encoder, encoder.with_name("rebuilt"), "s7", sample_speech(), "v3")


def test_it_is_made_and_its_agreement_told(encoder: Path) -> None:
    assert make(encoder) > 0.97
    assert (encoder.parent / "rebuilt" / "encoder.onnx").exists()


def test_a_damaged_encoder_is_the_same_error_as_without_a_child(encoder: Path) -> None:
    encoder.write_bytes(b"no graph")
    with pytest.raises(ModelFilesInvalid, match=r"Model file 'v3_rnnt_encoder.onnx': is damaged or not") as told:
        make(encoder)
    assert told.value.file_name == encoder.name


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b'{"error": "DiskFull", "arguments": ["No room"]}', DiskFull),
        (b'{"error": "ModelError", "arguments": ["cannot be written"]}', ModelError),
    ],
)
def test_other_errors_come_back_with_their_class_and_message(answer: bytes, kind: type[ModelError]) -> None:
    with pytest.raises(kind, match=r"No room|cannot be written"):
        rebuild_process._read(answer, Path("e.onnx"), 0)


def test_a_child_that_dies_is_told(encoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(ModelError, match="status 1"):
        make(encoder)


def test_the_child_ends_with_its_parent_and_leaves_nothing_behind(encoder: Path) -> None:
    speech = np.tile(sample_speech(), 60)  # so that its check takes longer than the test
    folder = encoder.with_name("rebuilt")
    command = [sys.executable, "-m", rebuild_process.__name__, str(encoder), str(folder), "s7", "v3", str(speech.size)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None
        child.stdin.write(speech.tobytes())
        child.stdin.flush()
        deadline = time.monotonic() + 60
        while not list(encoder.parent.glob(".rebuilt-*")):
            assert time.monotonic() < deadline
            assert child.poll() is None
            time.sleep(0.01)
        child.stdin.close()
        child.wait(60)
    assert {path.name for path in encoder.parent.iterdir()} == {encoder.name, ".rebuilt.lock"}
