"""Every fault, in the order of the report."""

from tests.chaos.faults.engine import ENGINE
from tests.chaos.faults.threads import THREADS
from tests.chaos.scene import Fault

FAULTS: tuple[Fault, ...] = (*ENGINE, *THREADS)
