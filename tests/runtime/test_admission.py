"""Who may come in."""

import asyncio

import pytest

from molva.engines.fake import FakeEngine
from molva.errors import Busy, ShuttingDown
from molva.runtime.admission import DEFAULT_REQUESTS, Admission
from molva.runtime.capacity import sustained_sessions
from molva.runtime.scheduler import Scheduler


def test_faster_engines_and_more_workers_sustain_more() -> None:
    factors = [2.0, 0.5, 0.1, 0.05, 0.01]
    for workers in (1, 2, 8):
        sessions = [sustained_sessions(factor, workers) for factor in factors]
        assert sessions == sorted(sessions)
        assert sessions[0] >= 1
    assert sustained_sessions(0.05, 4) >= 2 * sustained_sessions(0.05, 2) - 1


def test_one_event_loop_has_an_end() -> None:
    assert sustained_sessions(1e-9, 1000) == sustained_sessions(1e-6, 1000) < 1000


def test_a_pool_size_is_shared_by_sessions_and_requests() -> None:
    async def test() -> None:
        admission = Admission(3, max_waiting=0, timeout_s=1)
        await admission.sessions.acquire()
        await admission.requests.acquire()
        assert (admission.sessions.available, admission.requests.available) == (1, 1)

    asyncio.run(test())


def test_a_pool_size_is_not_changed_by_measurements() -> None:
    scheduler = Scheduler(1)
    lane = scheduler.lane(FakeEngine(), 0.0001)
    admission = Admission(3, max_waiting=0, timeout_s=1)
    admission.measure(lane)
    assert admission.sessions.total == 3
    scheduler.close()


def test_without_a_pool_size_the_machine_tells_and_requests_have_their_own_places() -> None:
    scheduler = Scheduler(2)
    lane = scheduler.lane(FakeEngine(), 0.1)
    admission = Admission(None, max_waiting=0, timeout_s=1)
    admission.measure(lane)
    assert admission.sessions.total == sustained_sessions(0.1, 2)
    assert admission.requests.total == DEFAULT_REQUESTS
    lane = scheduler.lane(FakeEngine(), 0.4)
    admission.measure(lane)
    assert admission.sessions.total == sustained_sessions(0.4, 2)
    scheduler.close()


def test_closing_refuses_both_kinds() -> None:
    async def test() -> None:
        admission = Admission(None, max_waiting=0, timeout_s=1)
        admission.close()
        for slots in (admission.sessions, admission.requests):
            with pytest.raises(ShuttingDown):
                await slots.acquire()

    asyncio.run(test())


def test_other_limits_hold_for_those_who_come_then() -> None:
    async def test() -> None:
        for pool_size in (1, None):
            admission = Admission(pool_size, max_waiting=0, timeout_s=60)
            for slots in (admission.requests, admission.sessions):
                while slots.available:
                    await slots.acquire()
                with pytest.raises(Busy):
                    await slots.acquire()
            admission.change(max_waiting=1, timeout_s=0.01)
            assert admission.timeout_s == 0.01
            for slots in (admission.requests, admission.sessions):
                waiting = asyncio.ensure_future(slots.acquire())
                await asyncio.sleep(0)
                assert slots.waiting == 1
                with pytest.raises(Busy):
                    await waiting

    asyncio.run(test())
