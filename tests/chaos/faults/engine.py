"""An engine that fails, and threads that end."""

import time

from tests.chaos.scene import Fault, Scene

LASTS_S = 2.0


def raises(scene: Scene) -> None:
    for trouble in ("error", "memory"):
        scene.arm("engine", trouble)
        time.sleep(LASTS_S)
        scene.disarm("engine")


ENGINE = (
    Fault("engine raises", "each call of the engine raises, for two seconds, then a MemoryError", raises, short=True),
)
