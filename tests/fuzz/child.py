"""One target under atheris, in a process of its own: `python -m tests.fuzz.child TARGET [libFuzzer's options]`."""

import logging
import sys

import atheris

from tests.fuzz.catalog import TARGETS
from tests.fuzz.modules import all_modules, is_under_test


def main() -> None:
    """Never returns: libFuzzer ends the process, after a finding with a status of its own."""
    target = TARGETS[sys.argv.pop(1)]
    logging.disable()
    # Atheris includes whole packages only. What else is imported is neither under test nor worth its time.
    others = [name for name in all_modules() if not is_under_test(target, name)]
    with atheris.instrument_imports(include=["molva"], exclude=others):
        run = target.load()
    atheris.Setup(sys.argv, run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
