"""What `make dist` writes: complete, reproducible, and without what only developers need."""

import hashlib
import json
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from email.parser import BytesParser
from pathlib import Path

import pytest

import molva
from tests.e2e.conftest import environment

ROOT = Path(__file__).parent.parent


pytestmark = pytest.mark.slow


def make(target: Path) -> dict[str, Path]:
    """What is written, by its ending."""
    environment = {**os.environ, "PYTHON": sys.executable}
    subprocess.run([ROOT / "scripts" / "dist", target], env=environment, check=True, capture_output=True)
    return {suffix: next(target.glob(f"*{suffix}")) for suffix in (".whl", ".tar.gz", ".cdx.json", "SUMS")}


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return make(tmp_path_factory.mktemp("dist"))


def test_the_wheel_has_the_whole_package_and_nothing_else(dist: dict[str, Path]) -> None:
    names = set(zipfile.ZipFile(dist[".whl"]).namelist())
    source = [path for path in (ROOT / "src/molva").rglob("*") if path.is_file() and path.suffix != ".pyc"]
    info = f"molva-{molva.__version__}.dist-info"
    packaged = {name for name in names if not name.startswith(f"{info}/")}
    assert {path.relative_to(ROOT / "src").as_posix() for path in source} == packaged
    for needed in ("molva/py.typed", "molva/assets/silero_vad.onnx", "molva/assets/speech.wav"):
        assert needed in names
    assert {f"{info}/licenses/LICENSE", f"{info}/licenses/src/molva/assets/NOTICE.md"} <= names


def test_the_wheel_says_what_it_is(dist: dict[str, Path]) -> None:
    wheel = zipfile.ZipFile(dist[".whl"])
    metadata = BytesParser().parsebytes(wheel.read(f"molva-{molva.__version__}.dist-info/METADATA"))
    assert (metadata["Name"], metadata["Version"]) == ("molva", molva.__version__)
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "MIT"
    assert b"molva = molva.cli:main" in wheel.read(f"molva-{molva.__version__}.dist-info/entry_points.txt")


def test_the_sdist_has_no_test_data_and_makes_the_same_wheel(dist: dict[str, Path], tmp_path: Path) -> None:
    with tarfile.open(dist[".tar.gz"]) as archive:
        top = {name.split("/")[1] for name in archive.getnames()}
        assert top.isdisjoint({"tests", "bench", "scripts"})
        assert {"src", "LICENSE", "README.md", "pyproject.toml", "requirements.lock"} <= top
    subprocess.run(["tar", "-xf", dist[".tar.gz"], "-C", tmp_path], check=True)
    source = tmp_path / f"molva-{molva.__version__}"
    # The build alone, without an index: its backend is here.
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "again")]
    subprocess.run(build, cwd=source, check=True, capture_output=True)
    [again] = (tmp_path / "again").glob("*.whl")
    assert again.read_bytes() == dist[".whl"].read_bytes()


def test_the_list_of_parts_has_every_locked_package_with_its_hashes(dist: dict[str, Path]) -> None:
    document = json.loads(dist[".cdx.json"].read_text(encoding="utf-8"))
    assert document["bomFormat"] == "CycloneDX"
    assert document["metadata"]["component"]["version"] == molva.__version__
    listed = {
        (part["name"], part["version"]): {
            digest["content"] for reference in part["externalReferences"] for digest in reference["hashes"]
        }
        for part in document["components"]
    }
    locked: dict[tuple[str, str], set[str]] = {}
    for line in (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines():
        if match := re.match(r"([A-Za-z0-9._-]+)==(\S+)", line):
            hashes = locked.setdefault((match[1], match[2]), set())
        hashes_here = re.findall(r"--hash=sha256:([0-9a-f]{64})", line)
        if hashes_here:
            hashes.update(hashes_here)
    assert len(locked) > 40
    assert all(locked.values())
    assert listed == locked


def test_the_checksums_are_those_of_the_files(dist: dict[str, Path]) -> None:
    lines = dist["SUMS"].read_text(encoding="utf-8").splitlines()
    named = {name.strip(): digest for digest, name in (line.split(None, 1) for line in lines)}
    for suffix in (".whl", ".tar.gz", ".cdx.json"):
        assert named[dist[suffix].name] == hashlib.sha256(dist[suffix].read_bytes()).hexdigest()
    assert len(named) == 3


def test_the_installed_wheel_works(dist: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "venv"
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    install = [str(python), "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", str(dist[".whl"])]
    subprocess.run(install, check=True)
    # Its dependencies are those of the tests; what is installed beside it comes before them.
    [packages] = folder.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")

    def run(*words: str | Path) -> str:
        return subprocess.run(
            [folder / "bin" / "molva", *words],
            env=environment(tmp_path, PYTHONPATH=""),
            cwd=tmp_path,
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    assert run("--version").strip() == molva.__version__
    assert f"molva {molva.__version__}" in run("doctor", "--quick", "--port", "0")
    clip = packages / "molva" / "assets" / "speech.wav"
    assert "знал не так уж хорошо" in run("transcribe", "--model", "whisper-base", clip)
