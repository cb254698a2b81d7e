"""Inputs that reach what the committed ones of a target do not join them: `python -m tests.fuzz.keep TARGET FOLDER`.

The smallest first, and no more than a checkout should carry.
"""

import logging
import shutil
import sys
from pathlib import Path

from coverage import Coverage

from tests.fuzz.catalog import MAX_BYTES, MAX_FILES, TARGETS
from tests.fuzz.modules import sources


def main() -> None:
    """Copy them, and print how many."""
    target, folder = TARGETS[sys.argv[1]], Path(sys.argv[2])
    logging.disable()
    committed = sorted(target.corpus.iterdir())
    found = sorted(folder.iterdir(), key=lambda path: (path.stat().st_size, path.name))
    include = [str(file) for file in sources(target)]
    measuring = Coverage(data_file=None, branch=True, include=include, config_file=False, messages=False)
    measuring.start()
    run = target.load()
    for path in (*committed, *found):
        measuring.switch_context(str(path))
        run(path.read_bytes())
    measuring.stop()

    def reached(path: Path) -> set[tuple[str, tuple[int, int]]]:
        data = measuring.get_data()
        data.set_query_context(str(path))
        return {(file, arc) for file in data.measured_files() for arc in data.arcs(file) or ()}

    known = set().union(*map(reached, committed))
    n_files, n_bytes = len(committed), sum(path.stat().st_size for path in committed)
    for path in found:
        new, size = reached(path) - known, path.stat().st_size
        if new and n_files < MAX_FILES and n_bytes + size <= MAX_BYTES:
            shutil.copy(path, target.corpus / path.name[:16])
            known |= new
            n_files, n_bytes = n_files + 1, n_bytes + size
    print(n_files - len(committed))


if __name__ == "__main__":
    main()
