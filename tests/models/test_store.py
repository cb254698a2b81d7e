"""What counts as an installed model, and what removing and verifying one touches."""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from molva.errors import ModelError, ModelNotInstalled
from molva.models.catalog import CATALOG, SPEAKERS, ModelFile, ModelSpec, find
from molva.models.store import FileCheck, ModelStore, Record, RecordedFile, default_model_dir

RNNT = find("gigaam-v3-rnnt")
CTC = find("gigaam-v3-ctc")
LARGE = find("gigaam-multilingual-large-ctc")
WHISPER = find("whisper-base")

RNNT_FILES = ("v3_vocab.txt", "v3_rnnt_joint.onnx", "v3_rnnt_decoder.onnx", "v3_rnnt_encoder.onnx")


def fill(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_text(name)


def names(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir() if not entry.name.endswith(".lock")}


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path)


def test_nothing_is_installed_where_there_is_no_folder(tmp_path: Path) -> None:
    store = ModelStore(tmp_path / "nowhere")
    assert store.installed() == []
    assert store.locate(RNNT) is None


def test_our_own_layout_is_a_folder_for_each_model(store: ModelStore, tmp_path: Path) -> None:
    fill(tmp_path / RNNT.name, *RNNT_FILES)
    assert store.require(RNNT).directory == tmp_path / RNNT.name


def test_gigastts_layout_works_as_it_is(store: ModelStore, tmp_path: Path) -> None:
    fill(tmp_path, *RNNT_FILES, "v3_rnnt_encoder_int8.onnx", "wespeaker_resnet34.onnx", ".download.lock")
    assert store.require(RNNT).directory == tmp_path
    assert [model.spec for model in store.installed()] == [RNNT]


def test_models_of_speakers_may_lie_where_gigastt_keeps_its_own(store: ModelStore, tmp_path: Path) -> None:
    fill(tmp_path, "wespeaker_resnet34.onnx")
    assert store.locate(SPEAKERS) is None
    fill(tmp_path, "segmentation-3.0.onnx")
    assert store.require(SPEAKERS).directory == tmp_path


def test_models_of_speakers_are_nothing_to_recognise_with(store: ModelStore, tmp_path: Path) -> None:
    fill(tmp_path / SPEAKERS.name, *(file.name for file in SPEAKERS.files))
    assert store.locate(SPEAKERS) is not None
    assert store.installed() == []


def test_the_tiny_model_of_the_tests_is_such_a_folder() -> None:
    store = ModelStore(Path(__file__).parents[1] / "data" / "gigaam-tiny-ru")
    assert [model.spec.name for model in store.installed()] == ["gigaam-v3-rnnt"]


def test_several_gigaam_heads_share_one_folder(store: ModelStore, tmp_path: Path) -> None:
    fill(tmp_path, *RNNT_FILES, "v3_ctc.onnx")
    assert [model.spec for model in store.installed()] == [RNNT, CTC]


@pytest.mark.parametrize("missing", RNNT_FILES)
def test_a_model_without_one_of_its_files_is_not_installed(store: ModelStore, tmp_path: Path, missing: str) -> None:
    fill(tmp_path / RNNT.name, *(set(RNNT_FILES) - {missing}))
    assert store.locate(RNNT) is None


@pytest.mark.parametrize("int8", ["v3_rnnt_encoder_int8.onnx", "v3_rnnt_encoder.int8.onnx"])
def test_an_int8_encoder_does_instead_of_the_fp32_one(store: ModelStore, tmp_path: Path, int8: str) -> None:
    fill(tmp_path, *RNNT_FILES[:-1], int8)
    assert store.locate(RNNT) is not None


def test_an_int8_graph_needs_no_external_data(store: ModelStore, tmp_path: Path) -> None:
    fill(tmp_path, "multilingual_vocab.txt", "multilingual_large_ctc.int8.onnx")
    assert store.locate(LARGE) is not None


def test_an_fp32_graph_needs_its_external_data(store: ModelStore, tmp_path: Path) -> None:
    fill(tmp_path, "multilingual_vocab.txt", "multilingual_large_ctc.onnx")
    assert store.locate(LARGE) is None


def test_whisper_files_tell_no_size_so_they_need_their_own_folder(store: ModelStore, tmp_path: Path) -> None:
    files = [file.name for file in WHISPER.files]
    fill(tmp_path, *files)
    assert store.locate(WHISPER) is None
    fill(tmp_path / WHISPER.name, *files)
    assert store.locate(WHISPER) is not None


def test_a_partial_file_is_not_a_file(store: ModelStore, tmp_path: Path) -> None:
    fill(tmp_path / RNNT.name, *RNNT_FILES[:-1], f"{RNNT_FILES[-1]}.partial", f"{RNNT_FILES[-1]}.partial.json")
    assert store.locate(RNNT) is None


def test_a_missing_model_says_how_to_get_it(store: ModelStore) -> None:
    with pytest.raises(ModelNotInstalled, match="molva models pull gigaam-v3-rnnt"):
        store.require(RNNT)


def test_removing_takes_the_models_own_folder(store: ModelStore, tmp_path: Path) -> None:
    fill(tmp_path / RNNT.name, *RNNT_FILES)
    fill(tmp_path / CTC.name, "v3_vocab.txt", "v3_ctc.onnx")
    store.remove(RNNT)
    assert names(tmp_path) == {CTC.name}


def test_removing_takes_what_an_unfinished_download_left(store: ModelStore, tmp_path: Path) -> None:
    fill(tmp_path / RNNT.name, "config.json", "v3_rnnt_encoder.onnx.partial")
    store.remove(RNNT)
    assert names(tmp_path) == set()


def test_removing_what_is_not_there_says_so(store: ModelStore) -> None:
    with pytest.raises(ModelNotInstalled):
        store.remove(RNNT)


def test_removing_from_a_shared_folder_leaves_what_others_need(store: ModelStore, tmp_path: Path) -> None:
    fill(tmp_path, *RNNT_FILES, "v3_rnnt_encoder_int8.onnx", "v3_ctc.onnx", "config.json", "wespeaker_resnet34.onnx")
    store.remove(RNNT)
    assert names(tmp_path) == {"v3_vocab.txt", "v3_ctc.onnx", "config.json", "wespeaker_resnet34.onnx"}


def test_removing_the_last_one_from_a_shared_folder_takes_all_its_files(store: ModelStore, tmp_path: Path) -> None:
    fill(tmp_path, "v3_vocab.txt", "v3_ctc.onnx", "v3_ctc_int8.onnx", "config.json", "notes.txt")
    store.remove(CTC)
    assert names(tmp_path) == {"notes.txt"}


def test_removing_a_linked_folder_leaves_what_it_links_to(store: ModelStore, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    fill(elsewhere, *RNNT_FILES)
    (tmp_path / RNNT.name).symlink_to(elsewhere)
    store.remove(RNNT)
    assert names(elsewhere) == set(RNNT_FILES)
    assert not (tmp_path / RNNT.name).exists()


def test_what_was_made_of_a_model_goes_with_it(store: ModelStore, tmp_path: Path) -> None:
    fill(tmp_path, *RNNT_FILES, "v3_ctc.onnx")
    for folder in ("v3_rnnt_encoder.s8", "v3_rnnt_encoder.u8", "v3_ctc.s8"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "encoder.onnx").write_bytes(b"graph")
    store.remove(RNNT)
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == {"v3_ctc.s8"}


def test_a_model_that_is_being_downloaded_is_not_removed(store: ModelStore, tmp_path: Path) -> None:
    fill(tmp_path / RNNT.name, *RNNT_FILES)
    with store.exclusive(RNNT, on_wait=lambda: None), pytest.raises(ModelError, match="downloading"):
        ModelStore(tmp_path).remove(RNNT)
    assert store.locate(RNNT) is not None


def pinned(content: str) -> ModelSpec:
    digest = hashlib.sha256(content.encode()).hexdigest()
    files = (ModelFile("config.json", optional=True), ModelFile("vocab.txt"), ModelFile("v9_ctc.onnx", digest))
    return ModelSpec("gigaam-v9-ctc", "gigaam", "ctc", "some/body", "main", files, "MIT", ("ru",), punctuation=False)


def test_verifying_holds_files_to_pinned_hashes(store: ModelStore, tmp_path: Path) -> None:
    fill(tmp_path, "vocab.txt", "v9_ctc.onnx")
    assert FileCheck("v9_ctc.onnx", "ok") in store.verify(pinned("v9_ctc.onnx"))
    assert FileCheck("v9_ctc.onnx", "mismatch") in store.verify(pinned("something else"))


def test_verifying_holds_files_to_recorded_hashes(store: ModelStore, tmp_path: Path) -> None:
    spec = pinned("v9_ctc.onnx")
    fill(tmp_path / spec.name, "vocab.txt", "v9_ctc.onnx")
    store.record(spec, "main", "vocab.txt", RecordedFile(hashlib.sha256(b"vocab.txt").hexdigest(), 9))
    assert FileCheck("vocab.txt", "ok") in store.verify(spec)
    (tmp_path / spec.name / "vocab.txt").write_text("altered")
    assert FileCheck("vocab.txt", "mismatch") in store.verify(spec)


def test_verifying_admits_where_no_hash_is_known(store: ModelStore, tmp_path: Path) -> None:
    fill(tmp_path, "vocab.txt", "v9_ctc_int8.onnx")
    assert store.verify(pinned("")) == (FileCheck("vocab.txt", "unknown"), FileCheck("v9_ctc_int8.onnx", "unknown"))


def test_verifying_names_what_is_missing(store: ModelStore, tmp_path: Path) -> None:
    spec = pinned("v9_ctc.onnx")
    fill(tmp_path / spec.name, "vocab.txt")
    assert FileCheck("v9_ctc.onnx", "missing") in store.verify(spec)


def test_the_record_is_read_back(tmp_path: Path) -> None:
    record = Record("abc", {"a": RecordedFile("0" * 64, 3)})
    record.write(tmp_path)
    assert Record.read(tmp_path) == record
    assert json.loads((tmp_path / ".molva.json").read_text()) == {
        "revision": "abc",
        "files": {"a": {"sha256": "0" * 64, "size": 3}},
    }


@pytest.mark.parametrize(
    "content", ["", "[]", "null", "{}", '{"revision": 1, "files": []}', '{"revision":"a","files":{"b":1}}']
)
def test_a_damaged_record_is_no_record(tmp_path: Path, content: str) -> None:
    (tmp_path / ".molva.json").write_text(content)
    assert Record.read(tmp_path) == Record()


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[Path]:
    """A folder this process may not look into."""
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o000)
    if os.geteuid() != 0:
        yield folder
    else:  # root may look everywhere
        os.seteuid(65534)
        yield folder
        os.seteuid(0)
    folder.chmod(0o700)


def test_a_folder_that_may_not_be_read_says_so(closed: Path) -> None:
    with pytest.raises(ModelError, match="No permission"):
        ModelStore(closed).installed()


def test_without_a_home_the_models_are_kept_here(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError

    monkeypatch.setattr(Path, "home", no_home)
    assert default_model_dir() == Path(".molva/models")


def test_a_tilde_is_the_home_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert ModelStore(Path("~/models")).directory == tmp_path / "models"
    assert default_model_dir() == tmp_path / ".molva" / "models"


def test_every_model_of_the_catalog_can_be_installed(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    for spec in CATALOG.values():
        fill(tmp_path / spec.name, *(file.name for file in spec.files))
    assert [model.spec for model in store.installed()] == list(CATALOG.values())
