"""A process whose event loop stands still ends."""

import subprocess
import sys

STUCK = """
import asyncio, threading
from molva.watchdog import watch

async def main():
    watch(asyncio.get_running_loop(), look_s=0.05, looks=5)
    await asyncio.sleep(1)
    print("turned", flush=True)
    {then}

asyncio.run(main())
"""


def run(then: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", STUCK.format(then=then)], capture_output=True, text=True, timeout=60, check=False
    )


def test_a_loop_that_stands_still_ends_its_process_with_a_word() -> None:
    ended = run("threading.Event().wait()")
    assert (ended.returncode, ended.stdout) == (1, "turned\n")
    assert "stands still" in ended.stderr


def test_a_loop_that_turns_is_left_alone() -> None:
    assert run("").returncode == 0
