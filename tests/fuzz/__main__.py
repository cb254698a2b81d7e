"""`python -m tests.fuzz`: every target under atheris, each in a process of its own, and a report of it all.

Linux on x86-64 only: atheris has wheels for nothing else.
"""

import argparse
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from molva.engines.cpu import usable_cores
from tests.fuzz.catalog import TARGETS, Target
from tests.reports import replace_section

DEFAULT_RUNS = 20_000
MIN_RUNS = 100
"""Of the slowest target, however short the run."""
FINDINGS = Path("fuzz-findings")
"""Where inputs that broke something are kept."""

HANG_S = 60
MEMORY_MB = 3072


@dataclass(frozen=True)
class Finding:
    """An input that broke something, and what was said of it."""

    input: str
    output: str


@dataclass(frozen=True)
class Result:
    """What became of one target."""

    target: str
    executions: int
    edges: int
    """Of the bytecode under test, as libFuzzer counts them."""
    lines: tuple[int, int] | None
    """Of the modules under test: those that the inputs reach, and all. None where nobody looked."""
    seconds: float
    findings: Sequence[Finding]


def main() -> int:
    """Fuzz, report, and tell by the status whether nothing was found."""
    options = _options()
    if importlib.util.find_spec("atheris") is None:
        print(
            "atheris is not installed: it has wheels for Linux on x86-64 and Python 3.11 to 3.14 only. "
            "`python -m pytest tests/fuzz` replays the committed inputs without it.",
            file=sys.stderr,
        )
        return 2
    options.findings.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="molva-fuzz-") as folder:

        def fuzz(target: Target) -> Result:
            result = _fuzz(target, options, Path(folder) / target.name)
            print(_row(result), *(finding.output for finding in result.findings), sep="\n", flush=True)
            return result

        # The slowest first: the others fill the gaps.
        chosen = sorted((TARGETS[name] for name in options.only or TARGETS), key=lambda target: -target.cost)
        with ThreadPoolExecutor(options.jobs) as threads:
            results = sorted(threads.map(fuzz, chosen), key=lambda result: list(TARGETS).index(result.target))
    table = _table(results)
    if options.json is not None:
        options.json.write_text(json.dumps([asdict(result) for result in results], indent=2) + "\n", encoding="utf-8")
    if options.markdown is not None:
        options.markdown.write_text("".join(f"{line}\n" for line in table), encoding="utf-8")
    if options.docs is not None:
        replace_section(options.docs, "fuzz", table)
    print(*table, sep="\n")
    return 1 if any(result.findings for result in results) else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument(
        "--runs", type=int, default=DEFAULT_RUNS, help="of each target; slow ones have fewer, by their cost"
    )
    parser.add_argument("--seconds", type=int, help="longest time for each target")
    parser.add_argument("--jobs", type=int, default=usable_cores(), help="targets at once; as many as cores by default")
    parser.add_argument("--only", nargs="+", choices=TARGETS, metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--seed", type=int, default=1, help="another one tries other inputs")
    parser.add_argument("--findings", type=Path, default=FINDINGS, help="folder for inputs that broke something")
    parser.add_argument(
        "--keep", action="store_true", help="commit inputs that reach what none did: adds to the corpus"
    )
    parser.add_argument(
        "--no-lines", action="store_true", help="do not look which lines the inputs reach: twice as fast"
    )
    parser.add_argument("--json", type=Path, help="file for the report")
    parser.add_argument("--markdown", type=Path, help="file for its table")
    parser.add_argument("--docs", type=Path, help="document to put the table into, between its markers `fuzz`")
    return parser.parse_args()


def _fuzz(target: Target, options: argparse.Namespace, folder: Path) -> Result:
    """Run one target. `folder` is for what it finds interesting."""
    corpus, words = folder / "corpus", folder / "words"
    corpus.mkdir(parents=True)
    words.write_text("".join(f'"{_escaped(word)}"\n' for word in target.words), encoding="ascii")
    artifacts = options.findings / f"{target.name}-"
    arguments = [
        f"-runs={max(options.runs // target.cost, MIN_RUNS)}",
        f"-max_len={target.max_bytes}",
        *([f"-dict={words}"] if target.words else []),
        f"-seed={options.seed}",
        f"-artifact_prefix={artifacts}",
        f"-timeout={HANG_S}",
        f"-rss_limit_mb={MEMORY_MB}",
        "-print_final_stats=1",
        *([f"-max_total_time={options.seconds}"] if options.seconds else []),
    ]
    started = time.monotonic()
    run = _python("tests.fuzz.child", target.name, *arguments, str(corpus), str(target.corpus))
    seconds = time.monotonic() - started
    said = run.stderr + run.stdout
    findings = []
    if run.returncode:
        saved = re.findall(r"Test unit written to (\S+)", said)
        findings = [Finding(saved[-1] if saved else "not saved", _tail(said))]
    lines = None
    if not options.no_lines:
        reached = _python("tests.fuzz.lines", target.name, str(target.corpus), str(corpus))
        if reached.returncode:
            # What breaks is a finding without instrumentation, too.
            findings.append(Finding("the corpus, without atheris", _tail(reached.stderr)))
        else:
            counts = json.loads(reached.stdout)
            lines = (counts["run"], counts["all"])
    if options.keep and not findings:
        _python("tests.fuzz.keep", target.name, str(corpus)).check_returncode()
    shutil.rmtree(folder)
    return Result(
        target=target.name,
        executions=_last(r"stat::number_of_executed_units:\s*(\d+)", said) or _last(r"^#(\d+)\s", said),
        edges=_last(r"\bcov: (\d+)", said),
        lines=lines,
        seconds=round(seconds, 1),
        findings=findings,
    )


def _python(module: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env={**os.environ, "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        errors="replace",
    )


def _escaped(word: str) -> str:
    return "".join(chr(byte) if chr(byte).isalnum() and byte < 128 else f"\\x{byte:02x}" for byte in word.encode())


def _last(pattern: str, text: str) -> int:
    found = re.findall(pattern, text, re.MULTILINE)
    return int(found[-1]) if found else 0


def _tail(text: str) -> str:
    """What is worth reading of what a failed process has said."""
    start = max(text.rfind("Uncaught Python exception"), text.rfind("Traceback (most recent call last)"))
    return text[start:][:4000] if start >= 0 else text[-4000:]


def _table(results: Sequence[Result]) -> list[str]:
    executions = sum(result.executions for result in results)
    findings = sum(len(result.findings) for result in results)
    return [
        "| Target | Executions | Edges | Lines reached | Findings |",
        "| --- | ---: | ---: | ---: | ---: |",
        *map(_row, results),
        f"| **all** | **{executions:,}** | | | **{findings}** |",
    ]


def _row(result: Result) -> str:
    lines = "{} of {}".format(*result.lines) if result.lines else ""
    return f"| `{result.target}` | {result.executions:,} | {result.edges:,} | {lines} | {len(result.findings)} |"


if __name__ == "__main__":
    sys.exit(main())
