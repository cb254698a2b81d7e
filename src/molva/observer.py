"""What the server tells of its work while it works. `metrics/` counts it; without metrics nobody listens."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

Door = Literal["native", "sse", "ws", "openai", "realtime", "jobs"]
"""Where audio comes in."""

Admission = Literal["granted", "timeout", "full"]
"""What became of a caller: a place, none in time, or refused at once because too many wait."""


class DecodedWindow(NamedTuple):
    """A window that has been through the engine."""

    kind: str
    """Its class in the queue, as in `Priority`, in lower case."""
    audio_s: float
    waited_s: float
    """From submission to the start of the run."""


class Observer:
    """Does nothing with what it is told. Calls come from any thread, several at once; they are quick and never raise.

    Times are seconds.
    """

    def answered(self, method: str, route: str, status: int, took_s: float) -> None:
        """The head of an answer is on its way: of a WebSocket, 101; of a stream, that of its first byte.

        `method` and `route` are among few, whatever clients send.
        """

    def rate_limited(self) -> None:
        """A request was refused with 429."""

    def inferred(self, took_s: float) -> None:
        """`/v1/transcribe` has its transcript; `took_s` from the place to the end."""

    def inference_timed_out(self) -> None:
        """A request or a live session has waited for the engine for too long."""

    def checked_out(self, places: str, outcome: Admission, waited_s: float) -> None:
        """A caller has waited for one of `places`: `requests` or `sessions`; for the `model`, only where in vain."""

    def decoded(self, model: str, windows: Sequence[DecodedWindow], took_s: float) -> None:
        """One run of an engine has ended well."""

    def partial_told(self, lag_s: float) -> None:
        """A live client is told a partial; `lag_s` after the newest audio in it came."""

    def final_told(self, delay_s: float) -> None:
        """A live client is told a final; `delay_s` after what ended its utterance: the last of the silence, or stop."""

    def audio_taken(self, door: Door, audio_s: float) -> None:
        """So much audio came in to be transcribed."""

    def job_taken_up(self) -> None:
        """A job begins, or goes on after another server has left it."""

    def job_ended(self, status: str, took_s: float) -> None:
        """A job has ended, `took_s` after it was accepted."""


NOBODY = Observer()
