"""Packages of versions that are known to be wrong are named, with the command that mends it."""

import pytest
from packaging.specifiers import SpecifierSet

from molva.doctor.software import check_device, check_packages, check_python, check_runtime, installed_version
from molva.runtime.gpu import Gpu

ALLOWED = SpecifierSet(">=1.20,!=1.25.*")


def test_this_python_and_these_packages_are_right() -> None:
    assert check_python().status == "ok"
    assert {finding.status for finding in check_packages()} == {"ok"}


def test_missing_and_wrong_packages_are_told_apart() -> None:
    wanted = ["missing>=1", "old>=2", "good>=2", "elsewhere>=1; python_version < '3'", "extra; extra == 'gpu'"]
    here = {"old": "1.9", "good": "2.0"}
    findings = list(check_packages(wanted, here.get))
    assert [finding.status for finding in findings] == ["problem", "problem", "ok"]
    assert "missing" in findings[0].message
    assert "old 1.9" in findings[1].message


@pytest.mark.parametrize(
    ("builds", "status"),
    [
        ({"onnxruntime": "1.26.1", "onnxruntime-gpu": None}, "ok"),
        ({"onnxruntime": None, "onnxruntime-gpu": "1.26.1"}, "ok"),
        ({"onnxruntime": "1.25.3", "onnxruntime-gpu": None}, "problem"),
        ({"onnxruntime": "1.26.1", "onnxruntime-gpu": "1.26.1"}, "problem"),
        ({"onnxruntime": None, "onnxruntime-gpu": None}, "problem"),
    ],
)
def test_one_sound_build_of_onnx_runtime(builds: dict[str, str | None], status: str) -> None:
    assert check_runtime(ALLOWED, builds).status == status


def test_the_versions_that_compute_wrong_results_are_in_the_packages_own_requirements() -> None:
    broken = {"onnxruntime": "1.25.1", "onnxruntime-gpu": None}
    findings = check_packages(installed=lambda name: broken[name] if name in broken else installed_version(name))
    assert [finding.check for finding in findings if finding.status == "problem"] == ["onnxruntime"]


def test_a_device_that_this_build_lacks_is_a_problem() -> None:
    assert check_device("cpu", "gigaam", lambda: None).status == "ok"
    assert check_device("cpu", "whisper", lambda: None).status == "ok"
    assert check_device("coreml", "gigaam", lambda: None).status == "problem"


def test_a_gpu_is_told_with_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("molva.doctor.software.find_provider", lambda device: device)
    found = check_device("cuda", "gigaam", lambda: Gpu("H200", 1000, 300, 700))
    assert (found.status, "700 of 1000 MB" in found.message) == ("ok", True)
    assert check_device("cuda", "gigaam", lambda: None).status == "warning"
