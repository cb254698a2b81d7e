"""One fault, from a server that is well to the account of what it cost."""

import os
import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.aftermath import Holdings, complaints, left_on_disk, remains
from tests.chaos.clients import DOORS, Account, Address, End
from tests.chaos.load import Expected, Load, undisturbed
from tests.chaos.receiver import Receiver, receiving
from tests.chaos.server import SABOTAGED, Server
from tests.speaker_models import write_speaker_models

CALM_S = 2.0
"""Of load before a fault and after it."""
EXERCISE_S = 1.0
"""Of load before anybody counts: each client asks for something."""
WEBHOOKS_S = 60.0


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong."""

    name: str
    happens: str
    """What is done to the server, for the report."""
    do: "Callable[[Scene], None]"
    """Makes it happen and mends it, under load."""
    short: bool = False
    """Whether it is part of the short form."""
    flags: Sequence[str] = ()
    """Of the server that it happens to."""
    cuts: bool = False
    """Whether connections may end without a word, as a dead process says none."""
    disk_mib: int = 0
    """Size of the disk of its own that the data folder is on; 0 for none."""
    threads_stay: bool = True
    """False where the process is another one afterwards."""


class LeftOut(Exception):
    """Raised by a fault that cannot be had on this machine, saying why."""


@dataclass
class Scene:
    """What a fault happens to."""

    server: Server
    load: Load
    receiver: Receiver
    dice: random.Random
    sabotage: Path
    notes: list[str] = field(default_factory=list)
    """What a fault saw go wrong by itself; each is a loss."""
    struck: int = 0
    """How often the fault happened."""
    figures: dict[str, float] = field(default_factory=dict)
    """What a fault has measured, with its unit in the name."""

    def arm(self, point: str, trouble: str) -> None:
        """Have a trouble happen at a point until `disarm`."""
        draft = self.sabotage / f"{point}.draft"
        draft.write_text(trouble)
        draft.rename(self.sabotage / point)
        self.struck += 1

    def disarm(self, point: str) -> None:
        (self.sabotage / point).unlink()

    def struck_at(self, point: str) -> int:
        """How often somebody came by the point while there was trouble."""
        try:
            return (self.sabotage / f"{point}.struck").stat().st_size
        except FileNotFoundError:
            return 0

    def told(self, code: str) -> bool:
        """Whether a client was told this code."""
        return any(code in account.detail for account in [*self.load.accounts, *self.load.submitter.accounts])

    def expect(self, holds: bool, what: str) -> None:
        if not holds:
            self.notes.append(what)

    def wait_until(self, condition: Callable[[], bool], what: str, timeout_s: float = 60) -> None:
        """Note it where the condition does not come to hold."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                self.notes.append(f"not in {timeout_s:.0f} s: {what}")
                return
            time.sleep(0.05)

    @property
    def disk(self) -> Path:
        """The data folder as the server sees it, whose mounts are its own."""
        return self.seen(self.server.data)

    def seen(self, folder: Path) -> Path:
        """A folder with the mounts that the server has."""
        return Path(f"/proc/{self.server.pid}/root{folder}")


@dataclass(frozen=True)
class Outcome:
    """What a fault has cost."""

    fault: str
    happens: str
    struck: int
    ends: dict[str, int]
    """How many of the things that were asked for ended so."""
    problems: list[str]
    took_s: float
    left_out: str = ""
    """Why it could not be tried here."""
    figures: dict[str, float] = field(default_factory=dict)

    @property
    def survived(self) -> bool:
        return not self.problems


def learn(model_dir: Path) -> Expected:
    """What a server of this model says while nothing happens to it."""
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder), model_dir)
        server.start()
        try:
            server.wait_until_ready()
            return undisturbed(server)
        finally:
            server.kill()


def play(fault: Fault, model_dir: Path, expected: Expected, seed: int) -> Outcome:
    """Start a server, let clients at it, make the fault happen, and look at what is left.

    `expected`: what `learn` has found for this model.
    """
    began, dice = time.monotonic(), random.Random(seed)
    with tempfile.TemporaryDirectory() as folder, receiving(random.Random(seed + 1)) as receiver:
        home = Path(folder)
        sabotage = home / "sabotage"
        sabotage.mkdir()
        server = Server(
            home,
            _with_speakers(model_dir, home / "models"),
            flags=fault.flags,
            under=_with_disk(fault.disk_mib, home / "data"),
            program=(*SABOTAGED, str(sabotage)),
        )
        server.start()
        try:
            accounts, scene, problems = _under_load(fault, server, receiver, expected, dice, sabotage)
        except LeftOut as reason:
            return Outcome(fault.name, fault.happens, 0, {}, [], time.monotonic() - began, str(reason))
        except Exception as error:  # noqa: BLE001 - of one fault; the others have their turn
            return Outcome(fault.name, fault.happens, 0, {}, [repr(error)], time.monotonic() - began)
        finally:
            if server.alive:
                server.kill()
    ends = Counter(account.end for account in accounts)
    allowed = {End.DONE, End.TOLD, End.CUT} if fault.cuts else {End.DONE, End.TOLD}
    problems += [f"{each.end}: {each.door}: {each.detail}" for each in accounts if each.end not in allowed]
    return Outcome(
        fault.name,
        fault.happens,
        scene.struck,
        {end.value: ends[end] for end in End},
        problems,
        time.monotonic() - began,
        figures=scene.figures,
    )


def _under_load(
    fault: Fault, server: Server, receiver: Receiver, expected: Expected, dice: random.Random, sabotage: Path
) -> tuple[list[Account], Scene, list[str]]:
    server.wait_until_ready()
    exercise(server, receiver, expected, dice)
    time.sleep(CALM_S)
    before = Holdings.of(server, sabotage)

    load = Load(server, receiver.url, expected, dice.randrange(2**30))
    scene = Scene(server, load, receiver, dice, sabotage)
    load.start()
    time.sleep(CALM_S)
    fault.do(scene)
    server.wait_until_ready()
    time.sleep(CALM_S)
    load.stop()

    accounts = load.accounts + load.submitter.collect(expected)
    problems = (
        scene.notes
        + ([] if scene.struck else ["it never happened"])
        + serves(server, expected)
        + webhook_problems(receiver, set(load.submitter.jobs))
    )
    if fault.threads_stay:
        problems += remains(server, before, sabotage)
    disk, temporary = scene.disk, server.temporary
    held = os.open(disk, os.O_RDONLY | os.O_DIRECTORY)  # a disk of its own would go with the process
    status = server.stop()
    problems += [f"the server ended with {status}"] if status else []
    copy = server.home / "left"  # SQLite looks for the path that a descriptor once had
    shutil.copytree(f"/proc/self/fd/{held}", copy)
    os.close(held)
    problems += left_on_disk(copy, temporary)
    return accounts, scene, problems + complaints(server.log.read_text(errors="replace"))


def exercise(server: Server, receiver: Receiver, expected: Expected, dice: random.Random) -> None:
    """So that whatever is made once and kept has been made before anybody counts."""
    load = Load(server, receiver.url, expected, dice.randrange(2**30))
    load.start()
    time.sleep(EXERCISE_S)
    load.stop()
    load.submitter.collect(expected)
    webhook_problems(receiver, set(load.submitter.jobs))


def serves(server: Address, expected: Expected) -> list[str]:
    """Whether all doors give what they gave before."""
    with ThreadPoolExecutor() as pool:
        answers = list(pool.map(lambda act: act(server, 0), DOORS.values()))
    accounts = [expected.judge(account, 0, text) for account, text in answers]
    return [f"afterwards: {each.door}: {each.end} {each.detail}" for each in accounts if each.end != End.DONE]


def webhook_problems(receiver: Receiver, jobs: set[str]) -> list[str]:
    """What is wrong with what was told of these jobs, once there was time to tell it."""
    deadline = time.monotonic() + WEBHOOKS_S
    while not jobs <= receiver.taken.keys() and time.monotonic() < deadline:
        time.sleep(0.1)
    return receiver.problems(jobs)


def _with_speakers(model_dir: Path, folder: Path) -> Path:
    """A folder with copies of the same models, and tiny ones that tell speakers apart. What a server makes of them is
    made there."""
    folder.mkdir()
    for file in filter(Path.is_file, model_dir.iterdir()):
        shutil.copy(file, folder)
    write_speaker_models(folder)
    return folder


def _with_disk(mib: int, mounted_at: Path) -> tuple[str, ...]:
    """A command that gives the server a disk of its own for its data."""
    if not mib:
        return ()
    mounted_at.mkdir(parents=True)
    return (
        *("unshare", "--user", "--map-root-user", "--mount", "sh", "-c"),
        f'mount -t tmpfs -o size={mib}m,mode=700 molva "$0" && exec "$@"',
        str(mounted_at),
    )
