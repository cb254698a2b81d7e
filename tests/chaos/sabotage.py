"""molva with parts that can be made to fail from outside: `python -m tests.chaos.sabotage FOLDER serve …`.

Whoever writes the name of a trouble into the file `FOLDER/POINT` has it happen at that point until the file goes. The
product knows nothing of it: the points are wrapped here, before the server starts.
"""

import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

LOOK_S = 0.05

real_time = time.time


class Saboteur:
    """What the files in one folder ask for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def asked(self, point: str) -> str:
        """The trouble that is wanted at a point; empty for none."""
        try:
            return (self._folder / point).read_text()
        except OSError:
            return ""

    def strike(self, point: str) -> None:
        """Make trouble where some is wanted."""
        trouble = self.asked(point)
        if trouble:
            self._note(point)
        if trouble == "error":
            raise RuntimeError("sabotage")
        if trouble == "memory":
            raise MemoryError("sabotage")
        if trouble == "death":
            raise SystemExit("sabotage")  # ends a thread without a word
        while trouble == "hang" and self.asked(point) == "hang":
            time.sleep(LOOK_S)

    def before(self, owner: Any, name: str, point: str) -> None:
        """Let a function of a class or module strike each time before it does its work."""
        original = getattr(owner, name)

        def struck(*arguments: Any, **options: Any) -> Any:
            self.strike(point)
            return original(*arguments, **options)

        setattr(owner, name, struck)

    def after(self, owner: Any, name: str, point: str, troubles: Mapping[str, Callable[[Any], Any]]) -> None:
        """Let a function give something else than it found, by the name of the trouble."""
        original = getattr(owner, name)

        def struck(*arguments: Any, **options: Any) -> Any:
            result, trouble = original(*arguments, **options), self.asked(point)
            if trouble not in troubles:
                return result
            self._note(point)
            return troubles[trouble](result)

        setattr(owner, name, struck)

    def _note(self, point: str) -> None:
        """Who came by the point while there was trouble: one byte each."""
        with (self._folder / f"{point}.struck").open("ab") as struck:
            struck.write(b".")

    def shift_clock(self) -> None:
        """`time.time()` as the file `clock` says, in seconds to add."""
        time.time = lambda: real_time() + float(self.asked("clock") or 0)

    def tell_threads(self) -> None:
        """Write how many threads of each kind there are to the file `threads`, again and again."""

        def tell() -> None:
            while True:
                kinds = Counter(thread.name.rstrip("0123456789").rstrip("-_") for thread in threading.enumerate())
                draft = self._folder / "threads.draft"
                try:
                    draft.write_text("".join(f"{kind} {count}\n" for kind, count in sorted(kinds.items())))
                    draft.rename(self._folder / "threads")
                except OSError:
                    pass  # a disk or descriptors that are wanting at present
                time.sleep(4 * LOOK_S)

        threading.Thread(target=tell, name="sabotage", daemon=True).start()


def main() -> None:
    saboteur = Saboteur(Path(sys.argv[1]))
    saboteur.shift_clock()  # before anybody takes the function along
    from molva.runtime.memory import keep_heap_small

    keep_heap_small()  # as the server does, before there is another thread
    saboteur.tell_threads()

    import numpy as np

    from molva import server
    from molva.cli import main as serve
    from molva.database import Database
    from molva.engines.gigaam.encoder import Encoder
    from molva.engines.gigaam.model import GigaamEngine
    from molva.engines.silero import SileroVad
    from molva.engines.speakers.segmentation import Segmentation
    from molva.jobs import run as jobs_run
    from molva.runtime import fleet, recognizer
    from molva.webhooks import sender

    points: list[tuple[Any, str, str]] = [
        (GigaamEngine, "transcribe", "engine"),
        (SileroVad, "__call__", "vad"),
        (Segmentation, "__call__", "speakers"),
        (Database, "_commit", "database"),
        (sender.WebhookSender, "_begin_what_is_due", "webhooks"),
        (sender, "post", "webhook"),
        (jobs_run, "_transcribe", "job"),
        (recognizer, "open_audio", "executor"),
        (server, "choose_model", "provisioning"),
        (server, "load_engine", "loading"),
        (fleet, "give_memory_back", "unloading"),
    ]
    for owner, name, point in points:
        saboteur.before(owner, name, point)
    saboteur.after(Encoder, "run", "frames", {"nan": lambda frames: np.full_like(frames, np.nan)})
    saboteur.after(GigaamEngine, "transcribe", "hypotheses", {"fewer": lambda hypotheses: hypotheses[:-1]})
    sys.argv = ["molva", *sys.argv[2:]]
    serve()


if __name__ == "__main__":
    main()
