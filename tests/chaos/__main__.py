"""Every fault that molva is meant to survive, one after the other: `python -m tests.chaos`, or `make chaos`.

The exit status is 1 where anything that was accepted was lost, or anything remains that should not.
"""

import argparse
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from tests.chaos.faults import FAULTS
from tests.chaos.report import table
from tests.chaos.scene import Fault, Outcome, learn, play
from tests.conftest import TINY
from tests.reports import replace_section


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--short", action="store_true", help="some of the faults, in two minutes")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these faults")
    parser.add_argument("--side-by-side", type=int, default=3, metavar="N", help="how many servers at once")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the moments and of what is asked for")
    parser.add_argument("--json", type=Path, metavar="OUT", help="where to write the outcomes")
    parser.add_argument("--markdown", type=Path, metavar="OUT", help="where to write the table")
    parser.add_argument("--docs", type=Path, metavar="FILE", help="a document whose table of faults is replaced")
    arguments = parser.parse_args()

    names = [fault.name for fault in FAULTS]
    if unknown := set(arguments.only or ()) - set(names):
        parser.error(f"no such fault: {', '.join(sorted(unknown))}. There are: {', '.join(names)}")
    wanted = [fault for fault in FAULTS if fault.name in (arguments.only or names)]
    if arguments.short:
        wanted = [fault for fault in wanted if fault.short]
    began = time.monotonic()
    print(f"{len(wanted)} faults, seed {arguments.seed}", flush=True)

    expected = learn(TINY)

    def run(fault: Fault) -> Outcome:
        outcome = play(fault, TINY, expected, arguments.seed)
        verdict = "left out" if outcome.left_out else "survived" if outcome.survived else "LOST"
        print(f"{verdict}: {fault.name}, {outcome.took_s:.0f} s", flush=True)
        for problem in outcome.problems:
            print(f"    {problem}", flush=True)
        return outcome

    with ThreadPoolExecutor(arguments.side_by_side) as pool:
        outcomes = list(pool.map(run, wanted))
    lines = table(outcomes)
    print("\n".join(["", *lines, "", f"{time.monotonic() - began:.0f} s"]))
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps([asdict(outcome) for outcome in outcomes], indent=2), encoding="utf-8")
    if arguments.markdown:
        arguments.markdown.write_text("\n".join(lines) + "\n", encoding="utf-8")
    if arguments.docs:
        replace_section(arguments.docs, "chaos", lines)
    return int(not all(outcome.survived for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
