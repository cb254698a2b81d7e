"""NumPy's threads while molva computes in somebody else's process."""

from collections.abc import Iterator

import pytest
import threadpoolctl

from molva.runtime.blas import SingleBlasThread


def blas_threads() -> set[int]:
    return {pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"}


@pytest.fixture(autouse=True)
def three_threads() -> Iterator[None]:
    """What somebody has asked for, whatever the machine has."""
    with threadpoolctl.threadpool_limits(3, user_api="blas"):
        yield


def test_products_take_one_thread_inside_and_as_many_as_before_outside() -> None:
    before = blas_threads()
    assert before == {3}
    with SingleBlasThread():
        assert blas_threads() == {1}
    assert blas_threads() == before


def test_it_lasts_until_the_last_one_leaves() -> None:
    single = SingleBlasThread()
    single.__enter__()
    single.__enter__()
    single.__exit__(None, None, None)
    assert blas_threads() == {1}
    single.__exit__(None, None, None)
    assert blas_threads() == {3}


def test_an_error_inside_puts_back_what_was_before() -> None:
    with pytest.raises(KeyError), SingleBlasThread():
        raise KeyError
    assert blas_threads() == {3}
