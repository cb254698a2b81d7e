"""Threads and pools that outlive whatever their work raises."""

import asyncio
import logging
import threading

import pytest

from molva import threads
from molva.threads import ThreadPool, undying


@pytest.mark.parametrize("raised", [ValueError, MemoryError, SystemExit])
def test_a_thread_begins_again_until_its_work_returns(
    raised: type[BaseException], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(threads, "PAUSE_S", 0)
    names = []

    def work() -> None:
        names.append(threading.current_thread().name)
        if len(names) < 3:
            raise raised

    with caplog.at_level(logging.ERROR, "molva"):
        thread = undying("patient", work)
        thread.start()
        thread.join(20)
    assert names == ["patient"] * 3
    assert len(caplog.records) == 2


def test_a_work_that_would_end_the_process_fails_for_its_caller_alone() -> None:
    """Out of a pool of asyncio's own, a `SystemExit` ends the event loop."""

    async def test() -> str:
        asyncio.get_running_loop().set_default_executor(ThreadPool())
        with pytest.raises(RuntimeError, match="SystemExit"):
            await asyncio.to_thread(exit_)
        return await asyncio.to_thread(lambda: "served")

    assert asyncio.run(test()) == "served"


def test_what_a_work_raises_on_purpose_stays_as_it_is() -> None:
    with ThreadPool(1) as pool:
        assert isinstance(pool.submit(lambda: int("none")).exception(20), ValueError)
        assert pool.submit(int, "2").result(20) == 2


def exit_() -> None:
    raise SystemExit(1)
