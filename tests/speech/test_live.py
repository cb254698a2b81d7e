"""The live session's rules, over scripted speech probabilities and a scripted engine."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from molva.samples import SAMPLE_RATE, Samples, seconds
from molva.speech.drafts import MAX_DRAFTS
from molva.speech.live import (
    VAD_LAG,
    Action,
    Decode,
    Final,
    LiveRule,
    LiveSession,
    Partial,
    SpeechStarted,
    SpeechStopped,
)
from molva.speech.tail import LONGEST_S
from molva.speech.vad import FRAME, Probabilities, VadState
from molva.transcript import Hypothesis, Word

SECOND = round(SAMPLE_RATE / FRAME)
"""Frames of about a second."""

RULE = LiveRule(max_window_s=5.0)


class ScriptedVad:
    """Gives the probabilities it was made with, frame by frame."""

    def __init__(self, probabilities: Sequence[float]) -> None:
        self._probabilities = np.array(probabilities, np.float32)

    def initial(self) -> VadState:
        return VadState(np.zeros(1, np.float32), np.zeros(1, np.float32))

    def __call__(self, frames: NDArray[np.float32], state: VadState) -> tuple[Probabilities, VadState]:
        start = int(state.hidden[0])
        end = start + len(frames)
        known = self._probabilities[start:end]
        return np.pad(known, (0, end - start - known.size)), VadState(np.array([end], np.float32), state.cell)


def heard(samples: Samples, step_s: float = 0.5) -> Hypothesis:
    """One word for every half second that lies in the window as a whole, named by its place in the stream.

    The samples are their own positions.
    """
    first, last = int(samples[0]), int(samples[-1]) + 1
    step = int(step_s * SAMPLE_RATE)
    words = tuple(
        Word(f"w{k}", seconds(k * step - first), seconds((k + 1) * step - first), 1.0)
        for k in range(-(-first // step), last // step)
    )
    return Hypothesis(" ".join(word.text for word in words), (), words, "ru")


@dataclass
class Run:
    """A session under test, and what came of it."""

    session: LiveSession
    audio: Samples
    position: int = 0
    asked: list[Decode] = field(default_factory=list)
    told: list[Partial | Final | SpeechStarted | SpeechStopped] = field(default_factory=list)
    answering: bool = True

    def feed(self, n_samples: int) -> None:
        self.take(self.session.feed(self.audio[self.position : self.position + n_samples]))
        self.position += n_samples

    def take(self, actions: list[Action]) -> None:
        """An answer never comes before the rest of what its request came with has been told."""
        self.told += [action for action in actions if not isinstance(action, Decode)]
        for action in actions:
            if isinstance(action, Decode):
                self.asked.append(action)
                if self.answering:
                    self.answer(action)

    def answer(self, decode: Decode, hypothesis: Hypothesis | None = None) -> None:
        self.take(self.session.answer(decode, hypothesis or heard(decode.samples)))

    def fail(self, decode: Decode) -> None:
        self.take(self.session.answer(decode, None))

    def hear(self, block: int = FRAME) -> "Run":
        while self.position < self.audio.size:
            self.feed(block)
        return self

    def finish(self, block: int = FRAME) -> "Run":
        self.hear(block)
        self.take(self.session.flush())
        return self

    @property
    def finals(self) -> list[Final]:
        return [event for event in self.told if isinstance(event, Final)]

    @property
    def partials(self) -> list[Partial]:
        return [event for event in self.told if isinstance(event, Partial)]


def speech(*stretches: tuple[float, int], rule: LiveRule = RULE, start: int = 0) -> Run:
    """A session over stretches of (probability, frames)."""
    probabilities = [probability for probability, length in stretches for _ in range(length)]
    audio = np.arange(start, start + len(probabilities) * FRAME, dtype=np.float32)
    return Run(LiveSession(ScriptedVad(probabilities), rule, start=start), audio)


stretches = st.lists(st.tuples(st.sampled_from([0.0, 0.2, 0.9]), st.integers(1, 200)), min_size=1, max_size=8).map(
    tuple
)


def described(finals: Sequence[Final]) -> list[tuple[str, str | None, tuple[tuple[float, float], ...]]]:
    return [(f.text, f.reason, tuple((word.start, word.end) for word in f.words)) for f in finals]


@given(stretches, st.integers(1, 50_000))
def test_blocks_do_not_change_finals(parts: tuple[tuple[float, int], ...], block: int) -> None:
    expected = speech(*parts).finish()
    assert described(speech(*parts).finish(block).finals) == described(expected.finals)


@given(stretches)
def test_no_word_of_speech_is_lost_or_doubled_and_each_is_in_its_place(parts: tuple[tuple[float, int], ...]) -> None:
    run = speech(*parts).finish()
    words = [word for final in run.finals for word in final.words]
    for word in words:
        assert word.start == int(word.text[1:]) * 0.5
    numbers = [int(word.text[1:]) for word in words]
    assert numbers == sorted(set(numbers))
    frame = 0
    for probability, length in parts:
        begin, end = seconds(frame * FRAME), seconds((frame + length) * FRAME)
        frame += length
        if probability == 0.9 and length > 2:
            inside = {
                k for k in range(int(begin / 0.5), int(end / 0.5) + 1) if begin <= k * 0.5 and k * 0.5 + 0.5 <= end
            }
            assert inside <= set(numbers)


@given(stretches)
def test_partials_come_before_their_final_and_grow_by_their_stable_start(parts: tuple[tuple[float, int], ...]) -> None:
    stable = ""
    for event in speech(*parts).finish().told:
        if isinstance(event, Final):
            stable = ""
        elif isinstance(event, Partial):
            assert event.text.startswith(stable)
            assert event.text
            stable = event.text[: event.n_stable]


@given(stretches)
def test_one_final_ends_the_stream(parts: tuple[tuple[float, int], ...]) -> None:
    run = speech(*parts).finish()
    assert [final.reason for final in run.finals].count("stop") == 1
    assert run.told[-1] is run.finals[-1]
    assert run.session.done


def test_silence_says_nothing() -> None:
    run = speech((0.0, 60 * SECOND)).finish()
    assert run.asked == []
    assert described(run.finals) == [("", "stop", ())]


def test_the_first_partial_is_asked_for_when_a_little_is_heard() -> None:
    run = speech((0.0, 100), (0.9, 100))
    while not run.asked:
        run.feed(FRAME)
    assert 0.4 <= seconds(run.position - 100 * FRAME) < 0.45
    assert not run.asked[0].is_final


def test_partials_thin_out_when_they_take_long() -> None:
    def asked(delay: int) -> int:
        run = speech((0.9, 10 * SECOND), rule=LiveRule())
        run.answering = False
        waiting: list[tuple[int, Decode]] = []
        seen = 0
        while run.position < run.audio.size:
            run.feed(FRAME)
            waiting += [(run.position + delay, decode) for decode in run.asked[seen:]]
            seen = len(run.asked)
            while waiting and waiting[0][0] <= run.position:
                run.answer(waiting.pop(0)[1])
        return seen

    assert asked(0) >= 18
    assert asked(SAMPLE_RATE // 2) <= asked(0) / 1.5


@pytest.mark.parametrize("min_silence_ms", [100, 300, 500, 1500])
def test_silence_ends_an_utterance(min_silence_ms: int) -> None:
    rule = LiveRule(min_silence_ms=min_silence_ms, max_window_s=5.0)
    run = speech((0.9, 2 * SECOND), (0.0, 4 * SECOND), rule=rule)
    while not run.finals:
        run.feed(FRAME)
    silence_ms = 1000 * seconds(run.position - 2 * SECOND * FRAME)
    lag_ms = 1000 * seconds(VAD_LAG * FRAME)  # the model notices the end so much later
    assert abs(silence_ms + lag_ms - min_silence_ms) <= 16
    assert run.finals[0].reason == "vad"


def test_a_shorter_pause_does_not_end_it() -> None:
    run = speech((0.9, 2 * SECOND), (0.0, 14), (0.9, SECOND)).finish()
    assert [final.reason for final in run.finals] == ["stop"]


def test_without_endpoints_only_the_end_ends_it() -> None:
    rule = LiveRule(endpoint=False, max_window_s=5.0)
    run = speech(*[(0.9, 2 * SECOND), (0.0, 2 * SECOND)] * 10, rule=rule).finish()
    assert [final.reason for final in run.finals] == ["stop"]
    assert len(run.finals[0].words) > 10 * 3


def test_the_pause_is_decoded_before_it_is_known_to_be_the_end() -> None:
    """The final then costs no decode of its own."""
    run = speech((0.9, 2 * SECOND), (0.0, 2 * SECOND)).finish()
    assert [decode.is_final for decode in run.asked] == [False] * len(run.asked)
    assert [final.reason for final in run.finals] == ["vad", "stop"]


def test_a_pause_that_is_still_being_decoded_at_the_end_becomes_the_final() -> None:
    run = speech((0.9, 2 * SECOND), (0.0, 2 * SECOND))
    run.answering = False
    run.finish()
    first, again = run.asked[-2:]
    assert (first.is_final, again.is_final, again.id) == (False, True, first.id)
    assert run.finals == []
    run.answer(first)
    assert [final.reason for final in run.finals] == ["vad", "stop"]


def test_the_final_is_the_decode_of_the_whole_utterance() -> None:
    run = speech((0.0, SECOND), (0.9, 2 * SECOND), (0.0, 2 * SECOND)).finish()
    window = run.asked[-1].samples
    assert seconds(int(window[0])) == pytest.approx(seconds(SECOND * FRAME) - 0.2)
    assert seconds(int(window[-1])) == pytest.approx(seconds(3 * SECOND * FRAME) + 0.2, abs=0.001)
    assert run.finals[0].text == heard(window).text


def test_a_long_partial_decodes_its_tail_and_shows_the_whole() -> None:
    run = speech((0.9, 24 * SECOND), rule=LiveRule()).hear()
    assert max(seconds(decode.samples.size) for decode in run.asked) <= LONGEST_S + 0.6
    assert [word.text for word in run.partials[-1].words] == [f"w{k}" for k in range(len(run.partials[-1].words))]
    assert run.partials[-1].words[-1].end > 22.5
    for word in run.partials[-1].words:
        assert word.start == int(word.text[1:]) * 0.5


def test_a_tail_never_becomes_a_final() -> None:
    run = speech((0.9, 20 * SECOND), (0.0, 2 * SECOND), rule=LiveRule()).finish()
    [final, _] = run.finals
    [whole] = [decode for decode in run.asked if seconds(decode.samples.size) > 20]
    assert not whole.is_final  # in the pause
    assert described([final])[0][0] == heard(whole.samples).text


def test_a_final_of_a_window_whose_pause_was_not_decoded_in_time_is_decoded_whole() -> None:
    run = speech((0.9, 20 * SECOND), (0.0, 2 * SECOND), rule=LiveRule())
    while run.position < 20 * SECOND * FRAME:
        run.feed(FRAME)
    run.answering = False
    run.finish()
    assert seconds(run.asked[-1].samples.size) > 20


def test_an_utterance_longer_than_a_window_is_one_final() -> None:
    run = speech((0.9, 18 * SECOND), (0.0, 2 * SECOND)).finish()
    assert [final.reason for final in run.finals] == ["vad", "stop"]
    assert [word.text for word in run.finals[0].words] == [f"w{k}" for k in range(36)]
    assert all(decode.samples.size <= 5 * SAMPLE_RATE for decode in run.asked)


def test_a_very_long_utterance_is_told_in_parts() -> None:
    rule = LiveRule(max_window_s=5.0, max_utterance_s=20.0)
    run = speech((0.9, 60 * SECOND), (0.0, 2 * SECOND), rule=rule).finish()
    assert {final.reason for final in run.finals[:-2]} == {None}
    assert [final.reason for final in run.finals[-2:]] == ["vad", "stop"]
    assert [word.text for final in run.finals for word in final.words] == [
        f"w{k}" for k in range(int(60 * SECOND * FRAME / 8000))
    ]


def test_finals_wait_for_their_turn() -> None:
    """An utterance that was decoded first is not told before the one that was spoken first."""
    run = speech(*[(0.9, SECOND), (0.0, SECOND)] * 2)
    run.answering = False
    run.finish()
    finals = [decode for decode in run.asked if decode.is_final]
    run.answer(finals[1])
    assert run.told == []
    run.answer(finals[0])
    assert [final.reason for final in run.finals] == ["vad", "vad", "stop"]


def test_no_partial_of_an_utterance_before_the_final_of_the_one_before() -> None:
    run = speech((0.9, SECOND), (0.0, SECOND), (0.9, 2 * SECOND))
    run.answering = False
    run.finish()
    last_partial = [decode for decode in run.asked if not decode.is_final][-1]
    run.answer(last_partial)
    assert run.told == []


def test_a_failed_final_falls_back_on_what_was_heard_so_far() -> None:
    run = speech((0.9, 3 * SECOND))
    run.feed(2 * SECOND * FRAME)
    run.answering = False
    run.finish()
    final = run.asked[-1]
    assert final.is_final
    run.fail(final)
    assert run.finals[-1].text == run.partials[-1].text != ""


def test_what_was_heard_is_kept_however_many_partials_fail_after_it() -> None:
    run = speech((0.9, 5 * SECOND), (0.0, 2 * SECOND), rule=LiveRule())
    while not run.partials:
        run.feed(FRAME)
    run.answering = False
    asked = len(run.asked)
    run.hear()
    for decode in run.asked[asked:]:
        run.fail(decode)
    assert len(run.asked) - asked > 2 * MAX_DRAFTS
    [final] = run.finals
    assert final.failed
    assert final.text == run.partials[-1].text


def test_a_failed_partial_costs_nothing_else() -> None:
    run = speech((0.9, 2 * SECOND), (0.0, 2 * SECOND))
    run.answering = False
    run.feed(SECOND * FRAME)
    run.fail(run.asked[0])
    run.answering = True
    assert run.finish().finals[0].text == "w0 w1 w2 w3"


def test_noise_in_which_nothing_is_heard_gives_no_final() -> None:
    run = speech((0.9, SECOND), (0.0, SECOND))
    run.answering = False
    run.finish()
    for decode in run.asked:
        run.answer(decode, Hypothesis("", (), (), "ru"))
    assert described(run.finals) == [("", "stop", ())]


def test_what_was_shown_is_taken_back_by_an_empty_final() -> None:
    run = speech((0.9, SECOND), (0.0, SECOND))
    run.feed(SECOND * FRAME - FRAME)
    assert run.partials
    run.answering = False
    run.finish()
    for decode in run.asked[1:]:
        run.answer(decode, Hypothesis("", (), (), "ru"))
    assert described(run.finals) == [("", "vad", ()), ("", "stop", ())]


def test_times_count_from_the_start_of_the_stream() -> None:
    run = speech((0.9, SECOND), (0.0, SECOND), start=100 * SAMPLE_RATE).finish()
    assert run.finals[0].words[0] == Word("w200", 100.0, 100.5, 1.0)


def long_speech() -> Iterator[tuple[float, int]]:
    for _ in range(200):
        yield (0.9, 20 * SECOND)
        yield (0.0, 10)


def test_a_session_holds_no_more_than_a_window_and_what_is_being_decoded() -> None:
    run = speech(*long_speech(), rule=LiveRule(endpoint=False, max_utterance_s=60.0))
    while run.position < run.audio.size:
        run.feed(SAMPLE_RATE)
        run.asked.clear()
        assert len(run.session._planner._audio) <= 27 * SAMPLE_RATE
        assert len(run.session._parts) <= 2
        assert len(run.session._segments) <= 10


def test_spans_are_told_beside_partials_and_numbered_as_their_finals() -> None:
    run = speech((0, 20), (0.9, 60), (0, 60), (0.9, 60), (0, 60), rule=replace(RULE, spans=True)).finish()
    stopped = [event for event in run.told if isinstance(event, SpeechStopped)]
    assert [event.span for event in stopped] == [final.span for final in run.finals] == [1, 2, 3]
    assert len([event for event in run.told if isinstance(event, SpeechStarted)]) == 2
    plain = speech((0, 20), (0.9, 60), (0, 60), (0.9, 60), (0, 60)).finish()
    assert [event for event in run.told if not isinstance(event, SpeechStarted | SpeechStopped)] == plain.told


TURNS = replace(RULE, turns=True)
MANUAL = replace(TURNS, endpoint=False)


def started(at_frame: float, padding_s: float = 0.2) -> SpeechStarted:
    return SpeechStarted(seconds(int(at_frame * FRAME)) - padding_s)


class TestTurns:
    @given(stretches, st.integers(1, 50_000))
    def test_each_start_has_an_end_and_a_final_and_no_partial(
        self, parts: tuple[tuple[float, int], ...], block: int
    ) -> None:
        rule = replace(TURNS, max_utterance_s=20.0)
        run = speech(*parts, rule=rule)
        run.hear(block)
        if run.session.is_open:
            run.take(run.session.commit())
        turns = [type(event) for event in run.told if isinstance(event, SpeechStarted | SpeechStopped)]
        assert turns == [SpeechStarted, SpeechStopped] * len(run.finals)
        assert run.partials == []
        stops = [event for event in run.told if isinstance(event, SpeechStopped)]
        assert [stop.reason for stop in stops] == [final.reason for final in run.finals]
        for stop, following in pairwise(stops):
            assert stop.start_s < stop.end_s <= following.start_s

    def test_their_finals_are_those_of_any_session(self) -> None:
        parts = [(0.9, SECOND), (0.0, SECOND), (0.9, 12 * SECOND), (0.0, SECOND)]
        usual, turns = speech(*parts).finish(), speech(*parts, rule=TURNS).finish()
        assert described(turns.finals) == described(usual.finals)

    def test_a_start_has_its_padding_and_an_end_its_silence(self) -> None:
        rule = replace(TURNS, padding_s=0.3)
        run = speech((0.0, 2 * SECOND), (0.9, SECOND), (0.0, 2 * SECOND), rule=rule)
        run.feed(run.audio.size)
        start, stop, _ = run.told
        assert start == started(2 * SECOND, 0.3)
        assert isinstance(stop, SpeechStopped)
        assert stop.start_s == start.start_s
        assert stop.end_s == seconds((3 * SECOND + rule.min_silence) * FRAME)

    def test_padding_does_not_reach_into_the_utterance_before(self) -> None:
        run = speech((0.9, SECOND), (0.0, 16), (0.9, SECOND), rule=replace(TURNS, padding_s=2.0)).hear()
        first, stop, _, second = run.told
        assert isinstance(stop, SpeechStopped)
        assert (first, second) == (SpeechStarted(0.0), SpeechStarted(stop.end_s))

    def test_the_start_is_told_at_once(self) -> None:
        run = speech((0.0, 10), (0.9, 1), rule=TURNS)
        run.feed(run.audio.size)
        assert run.told == [started(10)]

    def test_noise_has_an_empty_final(self) -> None:
        run = speech((0.9, SECOND), (0.0, SECOND), rule=TURNS)
        run.answering = False
        run.feed(run.audio.size)
        for decode in run.asked:
            run.answer(decode, Hypothesis("", (), (), "ru"))
        assert described(run.finals) == [("", "vad", ())]

    def test_only_the_pause_is_decoded_ahead(self) -> None:
        run = speech((0.9, 4 * SECOND), (0.0, SECOND), rule=TURNS).hear()
        assert [decode.is_final for decode in run.asked] == [False]
        assert run.finals[0].text

    def test_a_higher_onset_hears_less(self) -> None:
        loud = speech((0.4, 2 * SECOND), rule=replace(TURNS, onset=0.5, release=0.35))
        loud.feed(loud.audio.size)
        assert loud.told == []

    def test_a_very_long_utterance_is_several(self) -> None:
        run = speech((0.9, 60 * SECOND), (0.0, 2 * SECOND), rule=replace(TURNS, max_utterance_s=20.0))
        run.hear()
        stops = [event for event in run.told if isinstance(event, SpeechStopped)]
        starts = [event for event in run.told if isinstance(event, SpeechStarted)]
        assert {stop.reason for stop in stops[:-1]} == {None}
        assert stops[-1].reason == "vad"
        assert len(stops) == len(run.finals) > 2
        assert [start.start_s for start in starts[1:]] == [stop.end_s for stop in stops[:-1]]

    def test_a_final_tells_that_the_engine_failed(self) -> None:
        run = speech((0.9, 2 * SECOND), rule=TURNS)
        run.answering = False
        run.feed(run.audio.size)
        run.take(run.session.commit())
        run.fail(run.asked[-1])
        assert [(final.text, final.failed) for final in run.finals] == [("", True)]


class TestCommit:
    def test_it_ends_the_utterance_now(self) -> None:
        run = speech((0.9, 2 * SECOND), (0.9, 2 * SECOND), (0.0, SECOND), rule=TURNS)
        run.feed(2 * SECOND * FRAME)
        run.take(run.session.commit())
        assert [type(event) for event in run.told] == [SpeechStarted, SpeechStopped, Final]
        assert (run.finals[0].reason, run.finals[0].text) == ("commit", "w0 w1 w2")
        assert not run.session.is_open

    def test_what_comes_next_begins_anew_in_the_time_of_the_stream(self) -> None:
        run = speech((0.9, 200), rule=MANUAL)
        run.feed(100 * FRAME + 100)
        run.take(run.session.commit())
        run.session._vad._state = ScriptedVad([]).initial()  # scripted from its start again
        run.feed(100 * FRAME - 100)
        run.take(run.session.commit())
        stops = [event for event in run.told if isinstance(event, SpeechStopped)]
        middle = seconds(100 * FRAME + 100)
        assert [(stop.start_s, stop.end_s) for stop in stops] == [(0.0, middle), (middle, seconds(200 * FRAME))]
        for final, stop in zip(run.finals, stops, strict=True):
            assert final.words
            for word in final.words:
                assert word.start == int(word.text[1:]) * 0.5
                assert stop.start_s <= word.start <= word.end <= stop.end_s

    @pytest.mark.parametrize("probability", [0.0, 0.9])
    def test_without_endpoints_any_audio_is_an_utterance(self, probability: float) -> None:
        run = speech((probability, 2), rule=MANUAL)
        states = [run.session.is_open]
        run.feed(1)
        states.append(run.session.is_open)
        run.take(run.session.commit())
        assert described(run.finals) == [("", "commit", ())]
        assert [*states, run.session.is_open] == [False, True, False]

    def test_with_endpoints_silence_is_none(self) -> None:
        run = speech((0.0, 100), rule=TURNS)
        run.feed(run.audio.size)
        assert not run.session.is_open

    def test_what_waits_for_its_hypothesis_stays_in_order(self) -> None:
        run = speech((0.9, 200), rule=MANUAL)
        run.answering = False
        for _ in range(2):
            run.feed(50 * FRAME)
            run.take(run.session.commit())
        first, second = run.asked
        run.answer(second)
        assert run.finals == []
        run.answer(first)
        assert [final.words[0].start for final in run.finals] == [0.0, 2.0]


class TestClear:
    @given(stretches, stretches)
    def test_nothing_of_it_is_told_later(
        self, before: tuple[tuple[float, int], ...], after: tuple[tuple[float, int], ...]
    ) -> None:
        run = speech(*before, *after, rule=MANUAL)
        length = sum(frames for _, frames in before) * FRAME
        run.feed(length)
        run.session.clear()
        assert not run.session.is_open
        run.feed(run.audio.size - length)
        run.take(run.session.commit())
        assert all(word.start >= seconds(length) for final in run.finals for word in final.words)

    def test_utterances_that_have_ended_stay(self) -> None:
        run = speech((0.9, 2 * SECOND), (0.0, SECOND), (0.9, 8 * SECOND), rule=TURNS)
        run.answering = False
        run.feed(run.audio.size)
        run.session.clear()
        for decode in run.asked:
            run.answer(decode)
        assert [final.text for final in run.finals] == ["w0 w1 w2 w3"]
        assert run.session.done

    def test_an_answer_for_what_is_cleared_is_ignored(self) -> None:
        run = speech((0.9, 8 * SECOND), rule=MANUAL)
        run.answering = False
        run.feed(run.audio.size)
        assert run.asked
        run.session.clear()
        run.answer(run.asked[0])
        assert run.told == []
