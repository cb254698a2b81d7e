"""Which lines of what is under test a folder of inputs reaches: `python -m tests.fuzz.lines TARGET FOLDER…`, as JSON.

Told by plain Python, in a process of its own: libFuzzer counts edges, which nobody can look up.
"""

import json
import logging
import sys
from pathlib import Path

from coverage import Coverage

from tests.fuzz.catalog import TARGETS
from tests.fuzz.modules import sources


def main() -> None:
    """Print `{"run": lines that ran, "all": lines there are}`."""
    target, folders = TARGETS[sys.argv[1]], [Path(argument) for argument in sys.argv[2:]]
    logging.disable()
    files = sources(target)
    measuring = Coverage(data_file=None, include=[str(file) for file in files], config_file=False, messages=False)
    measuring.start()
    run = target.load()
    for folder in folders:
        for path in sorted(folder.iterdir()):
            run(path.read_bytes())
    measuring.stop()
    n_all = n_run = 0
    for file in files:
        _, statements, _, missing, _ = measuring.analysis2(str(file))
        n_all += len(statements)
        n_run += len(statements) - len(missing)
    print(json.dumps({"run": n_run, "all": n_all}))


if __name__ == "__main__":
    main()
