"""Engines and models that fail, hang or answer nonsense."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2

from tests.chaos.clients import LOST_AFTER_S, End, recording, samples_of
from tests.chaos.scene import Fault, Scene
from tests.chaos.server import DIRECT
from tests.http.wsclient import in_session

LASTS_S = 2.0
PATIENCE_S = 10
"""What the operator allows one run of the engine."""


@contextmanager
def trouble(scene: Scene, point: str, kind: str, lasts_s: float = LASTS_S) -> Iterator[None]:
    """Trouble at a point while the context lasts, `lasts_s` at least, and somebody has met it."""
    before, began = scene.struck_at(point), time.monotonic()
    scene.arm(point, kind)
    try:
        yield
        time.sleep(max(0.0, began + lasts_s - time.monotonic()))
        scene.wait_until(lambda: scene.struck_at(point) > before, f"nobody came by '{point}'")
    finally:
        scene.disarm(point)


def raises(scene: Scene) -> None:
    for kind in ("error", "memory"):
        with trouble(scene, "engine", kind):
            pass
    scene.expect(scene.told("inference_panic"), "nobody was told inference_panic")


def hangs_for_a_while(scene: Scene) -> None:
    before = scene.load.counted()
    with trouble(scene, "engine", "hang", 4.0):
        pass
    time.sleep(LASTS_S)
    ended = scene.load.counted() - before
    scene.expect(set(ended) <= {End.DONE}, f"a pause of the engine has cost something: {ended}")


def hangs(scene: Scene) -> None:
    with trouble(scene, "engine", "hang", 1.5 * PATIENCE_S):
        pass
    scene.expect(scene.told("inference_timeout"), "nobody was told inference_timeout")
    scene.expect("its worker is replaced" in scene.server.log.read_text(), "no worker was replaced")


def answers_nonsense(scene: Scene) -> None:
    for point, kind, code in (("frames", "nan", "inference_error"), ("hypotheses", "fewer", "inference_panic")):
        with trouble(scene, point, kind):
            scene.wait_until(lambda code=code: scene.told(code), f"nobody was told {code}")  # type: ignore[misc]


def hears_no_speech(scene: Scene) -> None:
    for kind in ("error", "memory"):
        with trouble(scene, "vad", kind):
            scene.wait_until(lambda: scene.told("inference_panic"), "no live session was told inference_panic")


def knows_no_speakers(scene: Scene) -> None:
    """What speakers are told apart by fails; the words have no right to."""
    for kind in ("error", "memory", "death"):
        with trouble(scene, "speakers", kind, 0):
            scene.expect(_speakers_of_request(scene) == "failed", f"a request is not told that speakers failed: {kind}")
            scene.expect(_finals(scene) > 0, f"a live session has no finals: {kind}")
    scene.expect(_speakers_of_request(scene) == "done", "speakers are not told apart any more")


def _speakers_of_request(scene: Scene) -> str:
    answer = httpx2.post(
        f"{scene.server.url}/v1/transcribe?diarization=true",
        content=recording("request", 1),
        timeout=LOST_AFTER_S,
        **DIRECT,
    )
    return str(answer.json().get("diarization")) if answer.status_code == 200 else answer.text[:200]


def _finals(scene: Scene) -> int:
    with in_session(scene.server, diarization=True) as client:
        client.say(samples_of("live", 0))
        said = client.stop()
    scene.expect(client.ended.code == 1000, f"a live session ended with {client.ended}")
    return sum(message["type"] == "final" and bool(message["text"]) for message in said)


PATIENT = ("--inference-timeout-secs", str(PATIENCE_S))

ENGINE = (
    Fault("engine raises", "each call of the engine raises, for two seconds, then a MemoryError", raises, short=True),
    Fault("engine pauses", "the engine answers after four seconds, within all deadlines", hangs_for_a_while),
    Fault("engine hangs", "the engine answers long after the deadline", hangs, flags=PATIENT),
    Fault("engine's nonsense", "numbers that are none, then too few hypotheses", answers_nonsense),
    Fault("no voice activity", "each call of the voice-activity model raises", hears_no_speech),
    Fault("no speakers", "the models that tell speakers apart raise, and end their threads", knows_no_speakers),
)
