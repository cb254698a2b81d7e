"""An hour of mixed load and mild faults, after which nothing may have grown or got lost: `python -m tests.soak`, or
`make soak`.

The exit status is 1 where anything did.
"""

import argparse
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

from tests.conftest import TINY
from tests.soak.report import summary, write
from tests.soak.run import soak
from tests.soak.verdict import LINES, breaches, slope_of


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the moments and of what is asked for")
    parser.add_argument("--json", type=Path, metavar="OUT", help="where to write all that was seen")
    parser.add_argument("--docs", type=Path, metavar="PAGE", help="where to write the report; its plots go to images/")
    arguments = parser.parse_args()

    print(f"{arguments.minutes:g} minutes, seed {arguments.seed}", flush=True)
    record = soak(arguments.minutes * 60, TINY, arguments.seed)
    found = breaches(record)
    if arguments.json:
        arguments.json.write_text(json.dumps(asdict(record), indent=1), encoding="utf-8")
    if arguments.docs:
        write(record, arguments.docs)
    for door, ends in record.ends.items():
        print(f"{door}: {', '.join(f'{count} {end}' for end, count in ends.items())}")
    for line in LINES:
        print(f"{line.name}: {slope_of(record, line)} {line.unit} in ten minutes")
    print("\n".join(found) or summary(record))
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
