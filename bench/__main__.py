"""molva beside its peers, and against its own targets: `python -m bench`, or `make bench`. README.md explains it.

The exit status is 1 where a target does not hold.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # as the server has it; it is read when NumPy is imported, below

from bench import comparison, http, limit, scaling, stages, start, whisper
from bench.clips import Clip, write_clips
from bench.machine import describe
from bench.peers import models
from bench.peers.competitors import MOLVA
from bench.targets import Target
from bench.targets import table as targets_table

del os.environ["OPENBLAS_NUM_THREADS"]  # no peer is told how to run


@dataclass(frozen=True)
class Run:
    """What was asked for."""

    models: Path
    folder: Path
    """For recordings; it goes with the run."""
    clips: dict[str, Sequence[Clip]]
    cores: Sequence[int]
    quick: bool
    long: bool


@dataclass
class Report:
    """What was found."""

    lines: list[str] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    """By section, for JSON."""

    def add(self, title: str, lines: Sequence[str], targets: Sequence[Target], figures: Any) -> None:
        """Take in a section, and print it."""
        section = ["", f"## {title}", "", *lines]
        print("\n".join(section), flush=True)
        self.lines += section
        self.targets += targets
        self.figures[title] = figures


def compare(run: Run, report: Report) -> None:
    """The peers."""
    rounds, requests, loads = (1, 3, 1) if run.quick else (5, 15, 2)
    results = comparison.compare(run.models, run.clips, comparison.Plan(rounds, requests, loads, run.cores))
    lines = comparison.table(results)
    if different := comparison.different_work(results):
        lines += ["", f"Not comparable, as they emit far more or fewer symbols: {', '.join(different)}."]
    report.add("Peers", lines, comparison.targets(results), [asdict(measured) for measured in results])


def measure_stages(run: Run, report: Report) -> None:
    """Around the encoder."""
    found = stages.measure(run.models / MOLVA.folder, rounds=5 if run.quick else 20)
    report.add("Around the encoder", stages.table(found), stages.targets(found), asdict(found))


def measure_limit(run: Run, report: Report) -> None:
    """The encoder."""
    found = limit.measure(run.models / MOLVA.folder, rounds=5 if run.quick else 25)
    report.add("What the machine can multiply", limit.table(found), limit.targets(found), [asdict(s) for s in found])


def measure_http(run: Run, report: Report) -> None:
    """The native door."""
    requests, clients, seconds = (10, [1, 2], 5.0) if run.quick else (30, [1, 2, 4, 8], 15.0)
    found = http.measure(run.models, run.clips["5 s"][0], http.Plan(requests, clients, seconds, run.cores))
    report.add("HTTP", http.table(found), http.targets(found), asdict(found))


def measure_scaling(run: Run, report: Report) -> None:
    """Lengths and cores."""
    lengths_s = [10.0, 60.0] if run.quick else [10.0, 60.0, 300.0, 3600.0]
    if run.long:
        lengths_s.append(36_000.0)
    plan = scaling.Plan(lengths_s, 60.0 if run.quick else 600.0, 1 if run.quick else 3, run.cores)
    found = scaling.measure(run.models, run.folder, plan)
    report.add("Scaling", scaling.table(found), scaling.targets(found), asdict(found))


def measure_start(run: Run, report: Report) -> None:
    """The first answer."""
    found = start.measure(run.models, run.clips["5 s"][0], 1 if run.quick else 3)
    report.add("Start", start.table(found), [], [asdict(each) for each in found])


def measure_whisper(run: Run, report: Report) -> None:
    """The OpenAI door."""
    clips = {name: group for name, group in run.clips.items() if name in ("5 s", "25 s")}
    found = whisper.measure(run.models, clips, 2 if run.quick else 5, run.cores)
    report.add("Whisper", whisper.table(found), [], [asdict(overhead) for overhead in found])


SECTIONS: dict[str, Callable[[Run, Report], None]] = {
    "peers": compare,
    "stages": measure_stages,
    "limit": measure_limit,
    "http": measure_http,
    "scaling": measure_scaling,
    "start": measure_start,
    "whisper": measure_whisper,
}


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--dir", type=Path, default=models.default_folder(), help="keeps the models, 3 GB")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS), help="some sections")
    parser.add_argument("--cores", type=int, default=2, help="how many to use")
    parser.add_argument("--quick", action="store_true", help="few rounds: whether it works, not how fast")
    parser.add_argument("--long", action="store_true", help="with a recording of 10 hours, which takes half an hour")
    parser.add_argument("--no-targets", action="store_true", help="judge nothing")
    parser.add_argument("--json", type=Path, metavar="OUT", help="where to write all figures")
    parser.add_argument("--markdown", type=Path, metavar="OUT", help="where to write the tables too")
    arguments = parser.parse_args()

    began = time.monotonic()
    cores = sorted(os.sched_getaffinity(0))[: arguments.cores]
    os.sched_setaffinity(0, cores)  # and so of all that is started from here
    folder = arguments.dir.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    models.prepare(folder)
    report = Report([describe(len(cores)) + "."])
    print(report.lines[0], flush=True)
    with tempfile.TemporaryDirectory(prefix="recordings-", dir=folder) as recordings:
        clips = dict(write_clips(Path(recordings)))
        run = Run(folder, Path(recordings), clips, cores, arguments.quick, arguments.long)
        for name in arguments.only:
            SECTIONS[name](run, report)
    if not arguments.no_targets and report.targets:
        report.add("Targets", targets_table(report.targets), [], [asdict(target) for target in report.targets])
    print(f"\n{time.monotonic() - began:.0f} s", file=sys.stderr)
    if arguments.json:
        document = {"machine": report.lines[0], **report.figures}
        arguments.json.write_text(json.dumps(document, indent=2), encoding="utf-8")
    if arguments.markdown:
        arguments.markdown.write_text("\n".join(report.lines) + "\n", encoding="utf-8")
    return int(not arguments.no_targets and not all(target.holds for target in report.targets))


if __name__ == "__main__":
    sys.exit(main())
