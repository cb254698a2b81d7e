"""The committed inputs, one by one, and a short run that makes up others."""

import importlib.util
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fuzz.catalog import CORPUS, MAX_BYTES, MAX_FILES, TARGETS, Target
from tests.fuzz.modules import all_modules, sources

ROOT = Path(__file__).parents[2]

SHORT = ("--runs", "1000", "--no-lines")


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Thousands of refusals are logged otherwise."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("target", TARGETS.values(), ids=lambda target: target.name)
def test_nothing_that_is_committed_breaks_its_target(target: Target) -> None:
    run = target.load()
    for path in sorted(target.corpus.iterdir()):
        try:
            run(path.read_bytes())
        except Exception as error:
            raise AssertionError(f"{path.relative_to(ROOT)} breaks {target.name}") from error


@pytest.mark.parametrize("target", TARGETS.values(), ids=lambda target: target.name)
def test_corpora_are_small(target: Target) -> None:
    sizes = [path.stat().st_size for path in target.corpus.iterdir()]
    assert 0 < len(sizes) <= MAX_FILES
    assert sum(sizes) <= MAX_BYTES
    assert max(sizes) <= target.max_bytes  # libFuzzer would cut it


@pytest.mark.parametrize("target", TARGETS.values(), ids=lambda target: target.name)
def test_what_is_under_test_exists(target: Target) -> None:
    for module in target.modules:
        assert module in all_modules()
    assert sources(target)


def test_every_corpus_has_a_target() -> None:
    assert {path.name for path in CORPUS.iterdir()} == TARGETS.keys()


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris has no wheel for this platform")
def test_a_short_run_finds_nothing(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    run = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", *SHORT, "--findings", tmp_path / "found", "--json", report],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    results = json.loads(report.read_text(encoding="utf-8"))
    assert {result["target"] for result in results} == TARGETS.keys()
    for result in results:
        assert result["executions"] >= 75, result
