"""One soak, from the start of the server to the account of what it cost."""

import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bench import machine
from molva.engines.cpu import usable_cores
from tests.chaos.aftermath import Holdings, complaints, left_on_disk, remains
from tests.chaos.clients import LENGTHS_S, Account, End
from tests.chaos.load import Expected, Load, undisturbed
from tests.chaos.receiver import Receiver, receiving
from tests.chaos.scene import CALM_S, Fault, Scene, serves, webhook_problems
from tests.chaos.server import SABOTAGED, Server
from tests.soak.faults import AT_REST, FAULTS, SETTINGS
from tests.soak.jobs import Steady
from tests.soak.meter import Meter, Sample

SHIFTS = 5
"""At least; between two of them the server comes to rest, and what it holds is compared exactly."""
LONGEST_SHIFT_S = 300.0
GAPS = 60
"""Between faults, at least."""
LONGEST_GAP_S = 20.0
WARM_UP_S = 600.0
WARM_UP_PART = 0.4
"""Of a soak so short that the former would leave too little."""
DETAILS = 30
"""Things lost or cut that are told one by one."""


@dataclass
class Record:
    """What came of a soak."""

    seed: int
    duration_s: float
    machine: str
    samples: list[Sample] = field(default_factory=list)
    rests: list[tuple[float, float]] = field(default_factory=list)
    """From when to when nobody asked for anything."""
    faults: list[tuple[float, str]] = field(default_factory=list)
    """What was made to happen, and when."""
    ends: dict[str, dict[str, int]] = field(default_factory=dict)
    """By door, how things that were asked for have ended."""
    problems: list[str] = field(default_factory=list)
    """What was seen to be wrong on the way and at the end."""


def warm_up_s(duration_s: float) -> float:
    """How much of the beginning does not count."""
    return min(WARM_UP_S, duration_s * WARM_UP_PART)


def soak(duration_s: float, model_dir: Path, seed: int) -> Record:
    """Have a server work for so long, and make trouble."""
    record = Record(seed, duration_s, machine.describe(usable_cores()))
    with tempfile.TemporaryDirectory() as folder, receiving(random.Random(seed + 1)) as receiver:
        home = Path(folder)
        sabotage = home / "sabotage"
        sabotage.mkdir()
        server = Server(home, model_dir, program=(*SABOTAGED, str(sabotage)))
        server.data.mkdir()
        (server.data / "molva.toml").write_text(SETTINGS)
        server.start()
        soaking = _Soak(server, receiver, sabotage, random.Random(seed), record)
        try:
            soaking.run()
        except (RuntimeError, TimeoutError, AssertionError) as error:
            record.problems.append(f"the soak ended early: {error!r}")
        finally:
            soaking.close_accounts()
            if server.alive:
                server.kill()
    return record


class _Soak:
    def __init__(self, server: Server, receiver: Receiver, sabotage: Path, dice: random.Random, record: Record) -> None:
        self._server = server
        self._receiver = receiver
        self._sabotage = sabotage
        self._dice = dice
        self._record = record
        self._expected = Expected()
        self._loads: list[tuple[Load, Steady]] = []
        self._before: Holdings | None = None
        self._deck: list[Fault] = []

    def run(self) -> None:
        server, record = self._server, self._record
        server.wait_until_ready()
        self._expected = undisturbed(server)
        shift_s = min(record.duration_s / SHIFTS, LONGEST_SHIFT_S)
        with Meter(server, lambda: len(self._accounts())) as meter:
            record.samples = meter.samples
            self._work(iter(FAULTS), meter)  # so that whatever is made once and kept has been made
            ends_s = max(record.duration_s, meter.now_s + shift_s)  # a slow machine has a second shift too
            while (left_s := ends_s - meter.now_s) > 0:
                self._work(self._now_and_then(min(shift_s, left_s)), meter)
        record.problems += serves(server, self._expected)
        status = server.stop()
        record.problems += [f"the server ended with {status}"] if status else []
        record.problems += left_on_disk(server.data, server.temporary)
        record.problems += complaints(server.log.read_text(errors="replace"))

    def _work(self, faults: Iterator[Fault], meter: Meter) -> None:
        """Load while these faults happen, and the rest after it, in which everything that was asked for ends."""
        seed, hook = self._dice.randrange(2**30), self._receiver.url
        submitter = Steady(self._server, hook, random.Random(seed), expected=self._expected)
        load = Load(self._server, hook, self._expected, seed, submitter)
        self._loads.append((load, submitter))
        scene = Scene(self._server, load, self._receiver, self._dice, self._sabotage)
        load.start()
        for fault in faults:
            self._strike(fault, scene, meter)
        load.stop()
        rests_since_s = meter.now_s
        submitter.collect(self._expected)
        scene.notes += webhook_problems(self._receiver, set(submitter.jobs))
        # In between it stays, and with it what it may gather: the line of memory is not to begin anew all the time.
        if meter.now_s < warm_up_s(self._record.duration_s) or meter.now_s > self._record.duration_s:
            for fault in AT_REST:
                self._strike(fault, scene, meter)
        problems = scene.notes + self._remains()
        self._record.problems += [f"at {meter.now_s:.0f} s: {problem}" for problem in problems]
        self._record.rests.append((rests_since_s, meter.now_s))

    def _remains(self) -> list[str]:
        """What is held beyond what the first rest left."""
        if self._before is not None:
            return remains(self._server, self._before, self._sabotage)
        time.sleep(CALM_S)  # what ends now has ended
        self._before = Holdings.of(self._server, self._sabotage)
        return []

    def _strike(self, fault: Fault, scene: Scene, meter: Meter) -> None:
        self._record.faults.append((meter.now_s, fault.name))
        fault.do(scene)

    def _now_and_then(self, length_s: float) -> Iterator[Fault]:
        """Each kind of fault in its turn, in another order each time, until the time is over."""
        ends = time.monotonic() + length_s
        gap_s = min(self._record.duration_s / GAPS, LONGEST_GAP_S)
        while True:
            time.sleep(max(min(gap_s * self._dice.uniform(0.5, 1.5), ends - time.monotonic()), 0))
            if time.monotonic() >= ends:
                return
            self._deck = self._deck or self._dice.sample(FAULTS, len(FAULTS))
            yield self._deck.pop()

    def _accounts(self) -> list[Account]:
        """Of all that has ended by now."""
        return [account for load, jobs in self._loads for account in [*load.accounts, *jobs.so_far]]

    def close_accounts(self) -> None:
        """Write down how everything has ended."""
        record, accounts = self._record, self._accounts()
        for door in LENGTHS_S:
            counts = Counter(account.end for account in accounts if account.door == door)
            record.ends[door] = {end.value: counts[end] for end in End}
        unwell = [f"{each.end}: {each.door}: {each.detail}" for each in accounts if each.end in (End.CUT, End.LOST)]
        record.problems += unwell[:DETAILS]
