"""Where a model is in its life, and what is told of it."""

import time
from dataclasses import dataclass
from typing import Any, Literal, Self

from molva.errors import ModelNotReady
from molva.runtime.gpu import Shortage
from molva.timestamps import rfc3339

State = Literal["unloaded", "loading", "waiting_for_gpu", "ready"]

RETRY_UNLOADED_S = 30
RETRY_LOADING_S = 10
"""What clients who cannot wait are told: when it makes sense to ask again."""


@dataclass(frozen=True, slots=True)
class ModelState:
    """One state, with what belongs to it."""

    state: State
    loaded_at: str | None = None
    """RFC 3339, UTC; when it is ready."""
    shortage: Shortage | None = None
    """When it waits for GPU memory."""

    @classmethod
    def ready_now(cls) -> Self:
        """Loaded at this moment."""
        return cls("ready", loaded_at=rfc3339(time.time()))

    @property
    def retry_after_s(self) -> int:
        """Seconds after which a caller should ask again; 0 when it is ready."""
        if self.shortage is not None:
            return self.shortage.retry_in_s
        return {"unloaded": RETRY_UNLOADED_S, "loading": RETRY_LOADING_S}.get(self.state, 0)

    def not_ready(self) -> ModelNotReady:
        """The error for a caller who cannot wait."""
        return ModelNotReady(self.state, self.retry_after_s)

    def facts(self) -> dict[str, Any]:
        """What is told beside the name of the state; unknown values are left out."""
        facts: dict[str, Any] = {}
        if self.loaded_at is not None:
            facts["loaded_at"] = self.loaded_at
        if self.shortage is not None:
            facts |= self.shortage.document()
        return facts

    def document(self) -> dict[str, Any]:
        """`{"state": "ready", "loaded_at": …}`."""
        return {"state": self.state, **self.facts()}


UNLOADED = ModelState("unloaded")
LOADING = ModelState("loading")


@dataclass(frozen=True, slots=True)
class ModelEvent:
    """A model has come into a state."""

    state: ModelState

    @property
    def type(self) -> str:
        """`model_ready` and the like."""
        return f"model_{self.state.state}"

    def document(self) -> dict[str, Any]:
        """`{"type": "model_ready", "loaded_at": …}`."""
        return {"type": self.type, **self.state.facts()}
