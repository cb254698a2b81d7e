"""The recent part of a stream, by position."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from molva.speech.buffer import SampleBuffer

steps = st.lists(
    st.one_of(st.tuples(st.just("append"), st.integers(0, 5000)), st.tuples(st.just("drop"), st.integers(0, 20_000)))
)


@given(steps)
def test_it_holds_what_was_appended_and_not_dropped(steps: list[tuple[str, int]]) -> None:
    buffer, stream, start = SampleBuffer(), np.zeros(0, np.float32), 0
    for step, number in steps:
        if step == "append":
            block = np.arange(stream.size, stream.size + number, dtype=np.float32)
            buffer.append(block)
            stream = np.concatenate([stream, block])
        else:
            buffer.drop_before(number)
            start = max(start, min(number, stream.size))
        assert (buffer.start, buffer.end, len(buffer)) == (start, stream.size, stream.size - start)
        assert (buffer.cut_out(start, stream.size) == stream[start:]).all()


def test_what_is_cut_out_does_not_change_later() -> None:
    buffer = SampleBuffer()
    buffer.append(np.ones(100, np.float32))
    piece = buffer.cut_out(0, 100)
    buffer.drop_before(100)
    buffer.append(np.zeros(10_000, np.float32))
    assert piece.all()


def test_memory_follows_what_is_kept() -> None:
    buffer = SampleBuffer()
    for position in range(0, 10_000_000, 10_000):
        buffer.append(np.zeros(10_000, np.float32))
        buffer.drop_before(position)
    assert buffer._room.size < 100_000
