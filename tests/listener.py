"""Reads streams of events with names, beside a test."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2

from tests.outbound.receiver import until


@dataclass
class Listener:
    """Reads a stream of events in a thread."""

    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    problems: list[Exception] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)
    """Whatever it ended by; without `problems`, the server has ended it in order."""

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.events]

    def wait_for(self, condition: Callable[[list[str]], bool]) -> None:
        until(lambda: condition(self.names), 60)


@contextmanager
def listening(url: str) -> Iterator[Listener]:
    """Subscribed from the beginning of the block on."""
    listener = Listener()
    with (
        httpx2.Client(timeout=60, trust_env=False) as client,
        client.stream("GET", url) as answer,
    ):
        assert answer.headers["content-type"].startswith("text/event-stream"), answer.status_code

        def read() -> None:
            name = ""
            try:
                for line in answer.iter_lines():
                    if line.startswith("event: "):
                        name = line.removeprefix("event: ")
                    elif line.startswith("data: "):
                        listener.events.append((name, json.loads(line.removeprefix("data: "))))
            except Exception as problem:  # noqa: BLE001 - for the test to look at
                listener.problems.append(problem)
            finally:
                listener.ended.set()

        threading.Thread(target=read, daemon=True).start()
        yield listener
