"""Models of speakers that are damaged, swapped or made to do harm are refused, whatever shapes they declare."""

import contextlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

from molva.engines.speakers.embedding import SpeakerEmbedding
from molva.engines.speakers.segmentation import Segmentation
from molva.errors import DiarizationUnavailable, InferenceError, ModelFilesInvalid
from molva.models.catalog import SPEAKERS
from molva.models.store import ModelStore
from molva.runtime.speakers import Speakers
from molva.samples import Samples
from molva.speech.diarization import WINDOW
from tests.engines import hostile

SEGMENTATION, EMBEDDING = (file.name for file in SPEAKERS.files)
READERS: dict[str, Callable[[Path], Any]] = {SEGMENTATION: Segmentation, EMBEDDING: SpeakerEmbedding}


@pytest.fixture
def folder(speaker_dir: Path, tmp_path: Path) -> Path:
    return shutil.copytree(speaker_dir, tmp_path / "model")


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize(
    "make",
    [
        onnx.ModelProto,
        hostile.endless,
        hostile.recursive,
        hostile.sparse,
        lambda: hostile.doubling(40),
        lambda: hostile.graph(tensors=[hostile.outside("../secret")]),
        lambda: hostile.graph(tensors=[hostile.weights()]),
    ],
)
def test_graphs_of_another_kind_are_refused(folder: Path, name: str, make: Callable[[], onnx.ModelProto]) -> None:
    (folder / name).write_bytes(make().SerializeToString())
    (folder.parent / "secret").write_bytes(hostile.SECRET)
    with hostile.watched(folder.parent / "secret") as was_opened:
        with pytest.raises(ModelFilesInvalid) as caught:
            READERS[name](folder / name)
        assert not was_opened()
    assert caught.value.file_name == name


@pytest.mark.parametrize("name", READERS)
def test_the_one_is_not_taken_for_the_other(folder: Path, name: str) -> None:
    [other] = READERS.keys() - {name}
    with pytest.raises(ModelFilesInvalid, match=other.replace(".", r"\.")):
        READERS[name](folder / other)


@pytest.mark.parametrize("name", READERS)
def test_a_pipe_is_not_waited_for(folder: Path, name: str) -> None:
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(ModelFilesInvalid, match="not an ordinary file"):
        READERS[name](folder / name)


def test_values_that_are_no_numbers_are_refused(folder: Path) -> None:
    model = onnx.load(folder / SEGMENTATION)
    for tensor in model.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32("nan"), tensor.name))
    onnx.save(model, folder / SEGMENTATION)
    with pytest.raises(ModelFilesInvalid, match="no numbers"):
        Segmentation(folder / SEGMENTATION)


@pytest.mark.parametrize(
    ("name", "work"),
    [(SEGMENTATION, lambda model, audio: model(audio)), (EMBEDDING, lambda model, audio: model([audio]))],
)
@given(data=st.data())
@settings(max_examples=40)
def test_flipped_bits_work_or_are_refused(
    speaker_dir: Path,
    tmp_path_factory: pytest.TempPathFactory,
    name: str,
    work: Callable[[Any, Samples], object],
    data: st.DataObject,
) -> None:
    content = bytearray((speaker_dir / name).read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(bytes(content))
    with contextlib.suppress(ModelFilesInvalid, InferenceError):
        work(READERS[name](path), np.zeros(WINDOW, np.float32))


def test_a_damaged_model_leaves_the_rest_of_the_server_as_it_is(folder: Path) -> None:
    (folder / SEGMENTATION).write_bytes(b"damage")
    speakers = Speakers(ModelStore(folder))
    speakers.load_if_here()
    assert speakers.models is None
    with pytest.raises(DiarizationUnavailable, match=r"segmentation-3\.0\.onnx.*molva models verify"):
        speakers.load()
