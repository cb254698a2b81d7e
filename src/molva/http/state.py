"""What the doors share: the recogniser once it is loaded, and the limits. Filled by server.py."""

from dataclasses import dataclass
from typing import Literal

from molva.runtime.recognizer import Recognizer

ModelState = Literal["loading", "ready"]


@dataclass(frozen=True)
class Limits:
    """Of one request on the native routes."""

    body_bytes: int
    max_audio_s: float
    inference_timeout_s: float | None


@dataclass
class ServerState:
    """Changes twice in a server's life: when the model is ready, and when draining begins."""

    model: str
    """Catalog name of the model that is or will be served."""
    device: str
    pool_size: int
    limits: Limits
    recognizer: Recognizer | None = None
    draining: bool = False

    @property
    def model_state(self) -> ModelState:
        return "loading" if self.recognizer is None else "ready"

    @property
    def pool_available(self) -> int:
        """Places free now; none while loading or draining."""
        return 0 if self.recognizer is None or self.draining else self.recognizer.slots.available

    def drain(self) -> None:
        """Refuse new work; what runs may finish."""
        self.draining = True
        if self.recognizer is not None:
            self.recognizer.slots.close()
