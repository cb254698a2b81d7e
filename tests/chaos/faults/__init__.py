"""Every fault, in the order of the report."""

from tests.chaos.faults.clock import CLOCK
from tests.chaos.faults.database import DATABASE
from tests.chaos.faults.descriptors import DESCRIPTORS
from tests.chaos.faults.disk import DISK
from tests.chaos.faults.engine import ENGINE
from tests.chaos.faults.floods import FLOODS
from tests.chaos.faults.hub import HUB
from tests.chaos.faults.network import NETWORK
from tests.chaos.faults.process import PROCESS
from tests.chaos.faults.threads import THREADS
from tests.chaos.scene import Fault

FAULTS: tuple[Fault, ...] = (
    *ENGINE,
    *THREADS,
    *DISK,
    *DATABASE,
    *CLOCK,
    *DESCRIPTORS,
    *PROCESS,
    *NETWORK,
    *HUB,
    *FLOODS,
)
