"""Every fault, in the order of the report."""

from tests.chaos.faults.engine import ENGINE
from tests.chaos.faults.floods import FLOODS
from tests.chaos.faults.hub import HUB
from tests.chaos.faults.network import NETWORK
from tests.chaos.faults.process import PROCESS
from tests.chaos.scene import Fault

FAULTS: tuple[Fault, ...] = (*ENGINE, *PROCESS, *NETWORK, *HUB, *FLOODS)
