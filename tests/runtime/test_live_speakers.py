"""Speakers of a live session: known, guessed, or given up. The level of the audio is the voice."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from molva.runtime.live_speakers import BEFORE, MAX_BEHIND_S, LiveSpeakers
from molva.runtime.speakers import SpeakerModels
from molva.samples import SAMPLE_RATE, Samples, seconds
from molva.speech.clustering import Embedding
from molva.speech.diarization import FIRST_FRAME, FRAME, LOCAL_SPEAKERS, Activity
from molva.speech.live import Final, SpeechStarted, SpeechStopped
from molva.transcript import Word

N_FRAMES = 589
ANNA, BEN = 0.1, 0.4


def segment(window: Samples) -> Activity:
    activity = np.zeros((N_FRAMES, LOCAL_SPEAKERS), np.bool_)
    activity[:, 0] = window[FIRST_FRAME + FRAME // 2 + FRAME * np.arange(N_FRAMES)] > 0
    return activity


def embed(pieces: Sequence[Samples]) -> Embedding:
    is_anna = np.concatenate(pieces).mean() < (ANNA + BEN) / 2
    return np.array([is_anna, not is_anna], np.float32)


@dataclass
class Session:
    """What `LiveStream` does with them."""

    open: threading.Event = field(default_factory=threading.Event)
    at_s: float = 0.0
    span: int = 0

    def __post_init__(self) -> None:
        self.open.set()
        self.speakers = LiveSpeakers(SpeakerModels(self._segment, embed), lambda: None)

    def _segment(self, window: Samples) -> Activity:
        assert self.open.wait(20)
        return segment(window)

    def hear(self, level: float, length_s: float) -> None:
        """A second at a time."""
        for _ in range(round(length_s)):
            self.speakers.hear(np.full(SAMPLE_RATE, level, np.float32))
            self.speakers.catch_up(open_ended=False)
            self.at_s += 1

    def begin(self) -> None:
        self.began_s = self.at_s
        self.speakers.follow(SpeechStarted(self.at_s))

    def end(self) -> Final:
        """The final of the utterance, with a word each second."""
        self.span += 1
        self.speakers.follow(SpeechStopped(self.began_s, self.at_s, "vad", self.span))
        words = tuple(Word("слово", s, s + 0.9, 1.0) for s in np.arange(self.began_s, self.at_s).tolist())
        return Final(words, "", "vad", span=self.span)

    def say(self, level: float, length_s: float) -> set[int | None]:
        """A whole utterance: who speaks in it, once that is known."""
        self.begin()
        self.hear(level, length_s)
        final = self.end()
        until(lambda: self.speakers.knows(final))
        return told(self.speakers.attribute(final))


def told(final: Final) -> set[int | None]:
    return {word.speaker for word in final.words}


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


@pytest.fixture
def session() -> Iterator[Session]:
    session = Session()
    yield session
    session.open.set()
    session.speakers.close()


def test_numbers_are_those_of_the_voices(session: Session) -> None:
    assert [session.say(level, 3) for level in (BEN, ANNA, BEN)] == [{0}, {1}, {0}]


def test_an_utterance_begins_before_it_is_noticed(session: Session) -> None:
    session.hear(0, 60)
    session.hear(BEN, 1)
    session.began_s = session.at_s - 1
    session.speakers.follow(SpeechStarted(session.began_s))
    session.hear(BEN, 1)
    final = session.end()
    until(lambda: session.speakers.knows(final))
    assert told(session.speakers.attribute(final)) == {0}
    assert len(session.speakers._audio) <= BEFORE


def test_a_final_that_cannot_wait_is_guessed_from_the_start_of_its_utterance(session: Session) -> None:
    session.say(ANNA, 3)
    session.say(BEN, 3)
    session.begin()
    session.hear(BEN, 12)
    until(lambda: session.speakers.behind_s == 0)
    session.open.clear()
    final = session.end()
    assert not session.speakers.knows(final)
    assert told(session.speakers.attribute(final)) == {1}
    session.open.set()
    assert session.say(ANNA, 3) == {0}


def test_what_is_too_far_behind_is_given_up_and_the_next_utterance_is_not(session: Session) -> None:
    session.open.clear()
    session.begin()
    session.hear(BEN, MAX_BEHIND_S + 10)
    final = session.end()
    assert session.speakers.knows(final)
    assert told(session.speakers.attribute(final)) == {None}
    session.open.set()
    until(lambda: session.speakers.behind_s == 0)
    assert session.say(ANNA, 3) == {0}


def test_what_is_forgotten_is_in_nobodys_turn(session: Session) -> None:
    session.begin()
    session.hear(BEN, 5)
    session.speakers.forget()
    assert session.say(ANNA, 3) == {0}


def test_the_end_waits_for_nothing_and_tells_what_still_runs(session: Session) -> None:
    session.open.clear()
    session.begin()
    session.hear(BEN, 5)
    until(lambda: any(future.running() for _, future in session.speakers._work))
    [running] = session.speakers.close()
    assert not running.done()
    session.open.set()
    running.result(20)


def test_times_are_those_of_the_stream(session: Session) -> None:
    session.hear(0, 7)
    session.begin()
    session.hear(ANNA, 3)
    session.hear(BEN, 3)
    final = session.end()
    until(lambda: session.speakers.knows(final))
    assert [word.speaker for word in session.speakers.attribute(final).words] == [0, 0, 0, 1, 1, 1]
    assert seconds(round(session.at_s * SAMPLE_RATE)) == 13


@pytest.mark.parametrize("raised", [RuntimeError, SystemExit])
def test_a_model_that_fails_costs_the_speakers_of_its_utterance(
    monkeypatch: pytest.MonkeyPatch, raised: type[BaseException]
) -> None:
    session, failures = Session(), [raised]

    def once_broken(window: Samples) -> Activity:
        if failures:
            raise failures.pop()
        return segment(window)

    session.speakers = LiveSpeakers(SpeakerModels(once_broken, embed), lambda: None)
    assert [session.say(level, 3) for level in (BEN, ANNA)] == [{None}, {0}]
    session.speakers.close()


def test_without_a_thread_an_utterance_has_no_speakers(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        assert session.say(BEN, 3) == {None}
    assert session.say(ANNA, 3) == {0}
