"""Every fault, in the order of the report."""

from tests.chaos.faults.clock import CLOCK
from tests.chaos.faults.database import DATABASE
from tests.chaos.faults.descriptors import DESCRIPTORS
from tests.chaos.faults.disk import DISK
from tests.chaos.faults.engine import ENGINE
from tests.chaos.faults.threads import THREADS
from tests.chaos.scene import Fault

FAULTS: tuple[Fault, ...] = (*ENGINE, *THREADS, *DISK, *DATABASE, *CLOCK, *DESCRIPTORS)
