"""The GPU's memory, as a script in nvidia-smi's place tells it."""

from pathlib import Path

import pytest

from molva.errors import InferenceError, ModelError
from molva.runtime.gpu import Gpu, GpuPatience, is_out_of_memory, read_gpu
from tests.conftest import fake_nvidia_smi

A_CARD = "NVIDIA Test, with a comma, 24576, 1024, 23552"


@pytest.fixture(autouse=True)
def _every_gpu_is_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_name_and_memory_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", fake_nvidia_smi(tmp_path, A_CARD))
    assert read_gpu() == Gpu("NVIDIA Test, with a comma", 24576, 1024, 23552)


def test_the_first_of_several_is_the_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", fake_nvidia_smi(tmp_path, f"{A_CARD}\nOther, 1, 1, 0"))
    gpu = read_gpu()
    assert gpu is not None
    assert gpu.total_mb == 24576


@pytest.mark.parametrize(("visible", "asked"), [("1,0", "--id=1"), ("GPU-6f2a", "--id=GPU-6f2a")])
def test_the_first_that_cuda_sees_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, visible: str, asked: str
) -> None:
    monkeypatch.setenv("PATH", fake_nvidia_smi(tmp_path, A_CARD))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    read_gpu()
    assert asked in (tmp_path / "arguments").read_text(encoding="utf-8").split()


@pytest.mark.parametrize("visible", ["", "-1"])
def test_where_cuda_sees_none_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, visible: str) -> None:
    monkeypatch.setenv("PATH", fake_nvidia_smi(tmp_path, A_CARD))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert read_gpu() is None


@pytest.mark.parametrize("answer", ["", "No devices were found", "Card, [N/A], [N/A], [N/A]"])
def test_an_answer_without_figures_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    monkeypatch.setenv("PATH", fake_nvidia_smi(tmp_path, answer))
    assert read_gpu() is None


def test_without_the_program_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert read_gpu() is None


def test_a_shortage_tells_what_is_known_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", fake_nvidia_smi(tmp_path, A_CARD))
    patience = GpuPatience(30, needed_mb=lambda name: len(name))
    assert patience.shortage("abc").document() == {"vram_needed_mb": 3, "vram_free_mb": 23552, "retry_in_secs": 30}
    monkeypatch.setenv("PATH", "")
    assert patience.shortage("abc").document() == {"vram_needed_mb": 3, "retry_in_secs": 30}


@pytest.mark.parametrize(
    "text",
    [
        "cudaMalloc failed: out of memory",
        "CUDA error: out of memory",
        "ggml: alloc_buffer failed",
        "CUDA failed with error out of memory",
        "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : bfc_arena.cc Failed to allocate memory for requested buffer",
        "cuBLAS failed with status CUBLAS_STATUS_ALLOC_FAILED",
    ],
)
def test_out_of_memory_is_told_by_the_text_of_an_error_or_of_its_cause(text: str) -> None:
    assert is_out_of_memory(RuntimeError(text))
    error = ModelError("the model cannot be used")
    error.__cause__ = InferenceError()
    error.__cause__.__cause__ = RuntimeError(text)
    assert is_out_of_memory(error)


def test_other_errors_are_not_out_of_memory() -> None:
    assert not is_out_of_memory(ModelError("is damaged"))
