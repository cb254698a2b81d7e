"""/v1/ws: engines that fail, clients that vanish, and the end of the server."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest

from molva.engines.base import Options
from molva.engines.fake import FakeEngine, count_seconds
from molva.errors import InferenceError
from molva.http.state import SessionLimits
from molva.samples import Samples
from tests.http.conftest import Gate, serving
from tests.http.wsclient import (
    UTTERANCE,
    Client,
    Ended,
    Message,
    codes,
    connected,
    in_session,
    kinds,
    of_type,
    pcm,
    silence,
    speech,
    texts,
)

INFERENCE_ERROR = {
    "type": "error",
    "message": "Inference failed. Please check audio format.",
    "code": "inference_error",
}
INFERENCE_PANIC = {
    "type": "error",
    "message": "Inference failed unexpectedly. Session reset.",
    "code": "inference_panic",
}
INFERENCE_TIMEOUT = {"type": "error", "message": "Inference timed out.", "code": "inference_timeout"}


@dataclass
class Moody:
    """A script for the fake engine that fails while it is told to."""

    error: Exception
    failing: bool = False

    def __call__(self, samples: Samples, options: Options) -> str:
        if self.failing:
            raise self.error
        return count_seconds(samples, options)


@dataclass
class HangsOnce:
    """A script for the fake engine whose first run waits until it is let go."""

    entered: threading.Event = field(default_factory=threading.Event)
    let_go: threading.Event = field(default_factory=threading.Event)

    def __call__(self, samples: Samples, options: Options) -> str:
        if not self.entered.is_set():
            self.entered.set()
            assert self.let_go.wait(60)
        return count_seconds(samples, options)


def failed_then_well(client: Client, moody: Moody) -> tuple[list[Message], list[Message], list[Message]]:
    """What comes of three utterances, the second of which meets a failing engine."""
    client.say(UTTERANCE)
    first = client.settled()
    moody.failing = True
    client.say(UTTERANCE)
    second = client.settled()
    moody.failing = False
    client.say(UTTERANCE)
    return first, second, client.stop()


class TestInferenceError:
    def test_it_is_told_and_the_session_goes_on(self) -> None:
        moody = Moody(InferenceError())
        with serving(FakeEngine(moody)) as server, in_session(server) as client:
            first, second, third = failed_then_well(client, moody)
            assert client.ended == Ended(1000, "")
        assert texts(first) == ["слово0 слово1"]
        assert second
        assert all(message == INFERENCE_ERROR for message in second)
        assert codes(third) == []
        assert texts(third) == ["слово0 слово1"]
        assert of_type("final", third)[0]["words"][0]["start"] == pytest.approx(7, abs=0.5)

    def test_a_failing_window_costs_no_more_than_itself(self) -> None:
        """What a partial has heard of an utterance is its final when the last run fails."""
        moody = Moody(InferenceError())
        with serving(FakeEngine(moody)) as server, in_session(server) as client:
            client.say(speech(2))
            assert "partial" in kinds(client.settled())
            moody.failing = True
            client.say(speech(1), silence(1))
            messages = client.settled()
        assert codes(messages) == ["inference_error"] * (len(messages) - 1)
        assert messages[-1]["type"] == "final"
        assert messages[-1]["text"].startswith("слово0")


class TestPanic:
    def test_it_is_told_and_the_session_goes_on_with_a_fresh_state(self) -> None:
        """Later speech has its right times, and what was half said is gone."""
        moody = Moody(ValueError("secret internals"))
        with serving(FakeEngine(moody)) as server, in_session(server) as client:
            first, second, third = failed_then_well(client, moody)
            assert client.ended == Ended(1000, "")
        assert texts(first) == ["слово0 слово1"]
        assert second
        assert all(message == INFERENCE_PANIC for message in second)
        assert codes(third) == []
        assert texts(third) == ["слово0 слово1"]
        words = of_type("final", third)[0]["words"]
        assert words[0]["start"] == pytest.approx(7, abs=0.5)
        assert words[-1]["end"] == pytest.approx(9.5, abs=0.3)

    def test_half_a_sample_and_the_rate_outlive_it(self) -> None:
        """The first frame ends inside a sample, and the rate of the session is not the default one."""
        moody = Moody(ValueError())
        windows: list[Samples] = []

        def keeping(samples: Samples, options: Options) -> str:
            text = moody(samples, options)
            windows.append(samples)
            return text

        data = pcm(np.concatenate([UTTERANCE, UTTERANCE]))
        middle = len(data) // 2 + 1
        heard = np.frombuffer(data, "<i2").astype(np.float32) / np.float32(32768)
        with serving(FakeEngine(keeping)) as server, in_session(server) as client:
            moody.failing = True
            client.connection.send(data[:middle])
            assert set(codes(client.settled())) == {"inference_panic"}
            moody.failing = False
            client.connection.send(data[middle:])
            assert texts(client.stop()) == ["слово0 слово1"]
        window = windows[-1]
        places = np.flatnonzero(heard == window[0])
        assert any(np.array_equal(heard[place : place + window.size], window) for place in places)

    def test_during_stop_the_one_final_still_comes(self) -> None:
        moody = Moody(ValueError(), failing=True)
        with serving(FakeEngine(moody)) as server, in_session(server) as client:
            client.connection.send(pcm(speech(0.9)))
            messages = client.stop()
            assert client.ended == Ended(1000, "")
        assert set(codes(messages)) == {"inference_panic"}
        assert kinds(messages)[-1] == "final"
        assert kinds(messages).count("final") == 1
        assert messages[-1]["text"] == ""


class TestHanging:
    LIMITS = SessionLimits(inference_timeout_s=1)

    def test_the_session_is_over_and_its_neighbours_go_on(self) -> None:
        """No final and no Close. The place is taken until the run ends; another worker takes over at once."""
        script = HangsOnce()
        with serving(FakeEngine(script), workers=1, pool_size=2, sessions=self.LIMITS) as server:
            with in_session(server) as neighbour:
                with in_session(server) as client:
                    client.say(speech(2))
                    assert client.rest() == [INFERENCE_TIMEOUT]
                    assert client.ended == Ended(1006, "")
                neighbour.say(UTTERANCE)
                assert texts(neighbour.stop()) == ["слово0 слово1"]
            server.wait_until(lambda state: state.pool_available == 1)
            script.let_go.set()
            server.wait_until(lambda state: state.pool_available == 2)

    def test_it_can_be_what_ends_a_stop(self) -> None:
        script = HangsOnce()
        with serving(FakeEngine(script), workers=1, pool_size=1, sessions=self.LIMITS) as server:
            with in_session(server) as client:
                client.say(speech(0.9))
                assert client.stop() == [INFERENCE_TIMEOUT]
                assert client.ended == Ended(1006, "")
            assert server.state.pool_available == 0
            script.let_go.set()
            server.wait_until(lambda state: state.pool_available == 1)

    def test_a_client_that_leaves_while_it_hangs_gives_its_place_back_when_the_run_ends(self) -> None:
        script = HangsOnce()
        with serving(FakeEngine(script), workers=1, pool_size=1) as server:
            with in_session(server) as client:
                client.say(speech(2))
                assert script.entered.wait(10)
                client.connection.socket.close()
            assert server.state.pool_available == 0
            script.let_go.set()
            server.wait_until(lambda state: state.pool_available == 1)


class TestDrain:
    def test_a_live_session_gets_its_final_and_close_1001(self) -> None:
        with serving(FakeEngine()) as server, in_session(server) as client:
            client.say(speech(2.5))
            client.settled()
            server.drain()
            messages = client.rest()
            assert client.ended == Ended(1001, "server shutdown")
        assert kinds(messages) == ["final"]
        assert messages[0]["text"] == "слово0 слово1"

    def test_the_final_of_a_silent_session_is_empty(self) -> None:
        with serving(FakeEngine()) as server, connected(server) as client:
            assert client.read()["type"] == "ready"
            server.drain()
            (final,) = client.rest()
            assert client.ended == Ended(1001, "server shutdown")
        assert (final["type"], final["text"], final["words"]) == ("final", "", [])

    @pytest.mark.parametrize("loaded", [True, False])
    def test_who_waits_for_a_place_gets_close_1001_and_no_message(self, *, loaded: bool) -> None:
        with serving(FakeEngine() if loaded else None, pool_size=1) as server, connected(server) as first:
            if loaded:
                first.read()
            with connected(server) as waiting:
                if loaded:
                    recognizer = server.state.recognizer
                    assert recognizer is not None
                    server.wait_until(lambda _: recognizer.admission.sessions.waiting == 1)
                server.drain()
                assert waiting.rest() == []
                assert waiting.ended == Ended(1001, "server shutdown")

    def test_a_session_that_the_engine_keeps_waiting_ends_when_it_answers(self, gate: Gate) -> None:
        with serving(FakeEngine(gate), pool_size=1) as server, in_session(server) as client:
            client.say(speech(2))
            assert gate.entered.wait(10)
            server.drain()
            gate.opened.set()
            messages = client.rest()
            assert client.ended == Ended(1001, "server shutdown")
        assert kinds(messages)[-1] == "final"
        assert messages[-1]["text"] == "готово"


@pytest.mark.parametrize("leave", [Client.stop, lambda client: client.connection.socket.close()], ids=["stop", "cut"])
def test_no_session_keeps_its_place(leave: Callable[[Client], object]) -> None:
    """Thirty sessions in a row in a pool of one."""
    with serving(FakeEngine(), pool_size=1) as server:
        for _ in range(30):
            with in_session(server) as client:
                client.say(speech(1), frame_s=1)
                leave(client)
        server.wait_until(lambda state: state.pool_available == 1)
