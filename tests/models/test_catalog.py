"""The catalog is a table people type names from and downloads are held to."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from molva.errors import UnknownModel
from molva.models.catalog import CATALOG, DEFAULT_MODEL, SPEAKERS, ModelSpec, find, find_any, int8_names

SPECS = pytest.mark.parametrize("spec", CATALOG.values(), ids=lambda spec: spec.name)


def test_the_default_is_in_the_catalog() -> None:
    assert find(DEFAULT_MODEL).variant == "e2e_rnnt"


def test_a_near_miss_gets_a_suggestion() -> None:
    with pytest.raises(UnknownModel, match="Did you mean 'gigaam-v3-e2e-rnnt'"):
        find("gigaam-v3-e2e-rnt")


def test_a_wild_guess_gets_none() -> None:
    with pytest.raises(UnknownModel) as caught:
        find("qwertyuiop")
    assert "Did you mean" not in str(caught.value)
    assert "molva models list" in str(caught.value)


@SPECS
def test_file_names_cannot_leave_the_folder(spec: ModelSpec) -> None:
    for name in (spec.name, *(file.name for file in spec.files)):
        assert re.fullmatch(r"[a-z0-9][a-z0-9_.-]*", name)
        assert ".." not in name


@SPECS
def test_hashes_look_like_hashes(spec: ModelSpec) -> None:
    for file in spec.files:
        assert file.sha256 is None or re.fullmatch("[0-9a-f]{64}", file.sha256)


@SPECS
def test_a_pinned_hash_stands_on_a_pinned_commit(spec: ModelSpec) -> None:
    """A branch moves on; a hash pinned on it would refuse every later file."""
    if any(file.sha256 for file in spec.files):
        assert re.fullmatch("[0-9a-f]{40}", spec.revision)


@SPECS
def test_every_model_has_a_config_and_a_licence(spec: ModelSpec) -> None:
    assert "config.json" in {file.name for file in spec.files}
    assert spec.licence == "MIT"


@SPECS
def test_only_gigaam_can_do_without_its_config(spec: ModelSpec) -> None:
    optional = {file.name for file in spec.files if file.optional}
    assert optional == ({"config.json"} if spec.family == "gigaam" else set())


def test_the_size_of_the_default_is_what_its_files_weigh() -> None:
    assert find("gigaam-v3-e2e-rnnt").size_bytes == 135 + 13_354 + 2_712_896 + 4_599_910 + 885_084_534


def test_a_size_that_nobody_confirmed_is_not_made_up() -> None:
    assert find("gigaam-v2-rnnt").size_bytes is None


def test_only_the_large_whispers_know_cantonese() -> None:
    knowing = {spec.name for spec in CATALOG.values() if "yue" in spec.languages}
    assert knowing == {"whisper-large-v3", "whisper-large-v3-turbo"}


@SPECS
def test_every_gigaam_has_one_graph_that_may_come_in_int8(spec: ModelSpec) -> None:
    graphs = [file.name for file in spec.files if int8_names(file.name)]
    assert len(graphs) == (1 if spec.family == "gigaam" else 0)


def test_an_encoder_may_have_either_int8_name() -> None:
    assert int8_names("v3_rnnt_encoder.onnx") == ("v3_rnnt_encoder_int8.onnx", "v3_rnnt_encoder.int8.onnx")


def test_a_ctc_file_may_have_either_int8_name() -> None:
    assert int8_names("v3_e2e_ctc.onnx") == ("v3_e2e_ctc_int8.onnx", "v3_e2e_ctc.int8.onnx")


@pytest.mark.parametrize(
    "name", ["v3_rnnt_decoder.onnx", "v3_rnnt_joint.onnx", "v3_vocab.txt", "v3_e2e_ctc_vocab.txt", "model.bin"]
)
def test_other_files_have_no_int8_sibling(name: str) -> None:
    assert int8_names(name) == ()


@given(st.text())
def test_an_int8_file_has_no_int8_sibling_of_its_own(stem: str) -> None:
    for name in int8_names(f"{stem}_encoder.onnx"):
        assert int8_names(name) == ()


def test_speakers_are_a_model_to_get_and_none_to_recognise_with() -> None:
    assert find_any("speakers") is SPEAKERS
    with pytest.raises(UnknownModel):
        find("speakers")
