"""Which window is next."""

from concurrent.futures import Future

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from molva.engines.base import Engine, Hypothesis, Options
from molva.engines.fake import FakeEngine
from molva.runtime.queue import PATIENCE, Priority, Work, WorkQueue

FINAL, PARTIAL, REQUEST, JOB = Priority


ONE, BATCHES, EQUAL = FakeEngine(), FakeEngine(batch_size=4), FakeEngine(batch_size=8, equal_lengths=True)


def work(priority: Priority, size: int = 1, language: str | None = None, engine: Engine = ONE) -> Work:
    return Work(engine, np.zeros(size, np.float32), Options(language=language), priority)


def filled(*works: Work) -> WorkQueue:
    queue = WorkQueue()
    for each in works:
        queue.add(each)
    return queue


def take(queue: WorkQueue, *, partials: bool = True) -> list[Work]:
    return queue.take(partials=partials)


def test_classes_go_by_priority_and_in_turn_within() -> None:
    works = [work(priority) for priority in (JOB, REQUEST, PARTIAL, FINAL, JOB, FINAL)]
    queue = filled(*works)
    taken = [take(queue)[0] for _ in works]
    assert [works.index(each) for each in taken] == [3, 5, 2, 1, 0, 4]
    assert take(queue) == []


@given(st.lists(st.sampled_from(Priority), min_size=1, max_size=200))
def test_nothing_is_lost_or_given_twice(priorities: list[Priority]) -> None:
    works = [work(priority) for priority in priorities]
    queue = filled(*works)
    taken = [each for _ in works for each in take(queue)]
    assert sorted(map(id, taken)) == sorted(map(id, works))
    assert sum(queue.depths().values()) == 0


@given(st.lists(st.sampled_from(Priority), min_size=1, max_size=300))
def test_finals_never_wait_for_another_class(arrivals: list[Priority]) -> None:
    queue = WorkQueue()
    for priority in arrivals:
        queue.add(work(priority))
        if queue.depths()[FINAL]:
            assert take(queue)[0].priority == FINAL


def test_no_class_waits_for_ever_for_partials_and_requests() -> None:
    """A job's turn comes after PATIENCE others, as long as they are no finals."""
    queue = filled(work(JOB))
    order = []
    while JOB not in order:
        queue.add(work(PARTIAL))
        queue.add(work(REQUEST))
        order.append(take(queue)[0].priority)
        assert len(order) <= PATIENCE + 1
    assert REQUEST not in order[:-1]


def test_patience_starts_anew_when_nobody_waits() -> None:
    queue = WorkQueue()
    for _ in range(PATIENCE):
        queue.add(work(PARTIAL))
        take(queue)
    queue.add(work(JOB))
    queue.add(work(PARTIAL))
    assert take(queue)[0].priority == PARTIAL


def test_partials_may_be_held_back() -> None:
    queue = filled(work(PARTIAL), work(JOB))
    assert take(queue, partials=False)[0].priority == JOB
    assert take(queue, partials=False) == []
    assert take(queue)[0].priority == PARTIAL


def test_a_newer_partial_takes_the_place_of_the_older() -> None:
    old, other, new = work(PARTIAL, 1), work(PARTIAL, 2), work(PARTIAL, 3)
    queue = filled(old, other)
    queue.add(new, replacing=old.future)
    assert old.future.cancelled()
    assert [take(queue)[0], take(queue)[0]] == [new, other]


def test_one_that_has_started_is_not_replaced() -> None:
    old, new = work(PARTIAL), work(PARTIAL)
    queue = filled(old)
    take(queue)
    queue.add(new, replacing=old.future)
    assert not old.future.cancelled()
    assert take(queue) == [new]


def test_a_promoted_window_goes_with_its_new_class() -> None:
    promoted, partial, final = work(PARTIAL), work(PARTIAL), work(FINAL)
    queue = filled(promoted, partial, final)
    queue.promote(promoted.future, FINAL)
    assert [take(queue)[0] for _ in range(3)] == [final, promoted, partial]


def test_those_who_have_gone_are_left_out() -> None:
    gone, also_gone, here = (work(REQUEST, engine=BATCHES) for _ in range(3))
    queue = filled(gone, here, also_gone)
    gone.future.cancel()
    also_gone.future.cancel()
    assert take(queue) == [here]
    assert take(queue) == []


def test_a_batch_goes_across_classes_but_not_across_options_or_engines() -> None:
    first, third = work(REQUEST, engine=BATCHES), work(JOB, engine=BATCHES)
    other_options, other_engine = work(REQUEST, language="ru", engine=BATCHES), work(REQUEST)
    assert take(filled(first, other_options, other_engine, third)) == [first, third]


def test_a_batch_is_no_larger_than_the_engine_wants() -> None:
    works = [work(REQUEST, engine=BATCHES) for _ in range(6)]
    queue = filled(*works)
    assert [take(queue), take(queue)] == [works[:4], works[4:]]


def test_a_batch_of_equal_lengths_leaves_the_others_for_later() -> None:
    works = [work(REQUEST, size, engine=EQUAL) for size in (5, 7, 5, 5)]
    queue = filled(*works)
    assert take(queue) == [works[0], works[2], works[3]]
    assert take(queue) == [works[1]]


def test_a_batch_has_no_partials_that_are_held_back() -> None:
    request, partial = work(REQUEST, engine=BATCHES), work(PARTIAL, engine=BATCHES)
    assert take(filled(partial, request), partials=False) == [request]


def test_clearing_gives_everything_back() -> None:
    works = [work(priority) for priority in Priority]
    queue = filled(*works)
    assert queue.clear() == works
    assert take(queue) == []


def test_a_future_nobody_queued_changes_nothing() -> None:
    queue, stranger = filled(work(JOB)), Future[Hypothesis]()
    queue.promote(stranger, FINAL)
    queue.add(work(JOB), replacing=stranger)
    assert queue.depths()[JOB] == 2
