"""Which model is taken, in which order, and why."""

import shutil
from pathlib import Path

import pytest

from molva.errors import HubUnreachable, ModelError, UnknownModel
from molva.models import packages
from molva.models.store import ModelStore
from molva.runtime.provision import Hub, choose_model
from tests.models.fake_hub import FakeHub

NO_HUB = Hub(endpoint="http://127.0.0.1:9")


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def pretend(folder: Path, *names: str) -> None:
    """Files that stand for a model: choosing does not look into them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()


E2E = ("v3_e2e_rnnt_encoder.onnx", "v3_e2e_rnnt_decoder.onnx", "v3_e2e_rnnt_joint.onnx", "v3_e2e_rnnt_vocab.txt")


def test_the_default_is_taken_where_it_is_here(tmp_path: Path, tiny_dir: Path) -> None:
    shutil.copytree(tiny_dir, tmp_path, dirs_exist_ok=True)
    pretend(tmp_path, *E2E)
    choice = choose_model("auto", ModelStore(tmp_path), NO_HUB)
    assert choice.model.spec.name == "gigaam-v3-e2e-rnnt"
    assert "already here" in choice.reason


def test_another_model_that_is_here_comes_before_the_network(tmp_path: Path, tiny_dir: Path) -> None:
    choice = choose_model("auto", ModelStore(tiny_dir), NO_HUB)
    assert choice.model.spec.name == "gigaam-v3-rnnt"
    assert "molva models pull gigaam-v3-e2e-rnnt" in choice.reason


def test_without_a_hub_the_packages_are_taken(tmp_path: Path) -> None:
    choice = choose_model("auto", ModelStore(tmp_path), NO_HUB)
    assert choice.model.spec.name == "whisper-base"
    assert "could not be downloaded" in choice.reason


def test_without_hub_and_packages_the_ways_out_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "whisper_base_packages", lambda: None)
    with pytest.raises(ModelError, match=r"molva\[whisper-base\].*--model-dir"):
        choose_model("auto", ModelStore(tmp_path), NO_HUB)


def test_a_named_model_is_never_replaced(tmp_path: Path, tiny_dir: Path) -> None:
    shutil.copytree(tiny_dir, tmp_path, dirs_exist_ok=True)
    with pytest.raises(HubUnreachable):
        choose_model("gigaam-v3-e2e-ctc", ModelStore(tmp_path), NO_HUB)
    with pytest.raises(UnknownModel):
        choose_model("gigaam-v4", ModelStore(tiny_dir), NO_HUB)


def test_a_named_model_that_is_here_needs_no_network(tiny_dir: Path) -> None:
    choice = choose_model("gigaam-v3-ctc", ModelStore(tiny_dir), NO_HUB)
    assert choice.model.directory == tiny_dir
    assert "asked for by name; it was already here" in choice.reason


def test_a_hub_that_refuses_is_no_hub(tmp_path: Path) -> None:
    """As behind a proxy that lets nothing out."""
    hub = FakeHub()
    try:
        choice = choose_model("auto", ModelStore(tmp_path), Hub(endpoint=hub.endpoint))
    finally:
        hub.close()
    assert choice.model.spec.name == "whisper-base"
