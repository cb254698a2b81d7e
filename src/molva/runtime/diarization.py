"""Who speaks in a recording, found out beside its transcription, in a thread of its own.

It has no right to spoil the transcription: whatever goes wrong here is logged, and the words have no speakers then.
"""

import logging
import queue
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress

import numpy as np

from molva.runtime.futures import in_context
from molva.runtime.speakers import SpeakerModels
from molva.samples import Samples
from molva.speech.clustering import Embedding, SpeakerCount, mean_voice
from molva.speech.diarization import Diarizer
from molva.transcript import Turn

log = logging.getLogger(__name__)

BLOCKS_AHEAD = 30
"""Blocks of a second that may wait; the transcription then waits too, so that memory stays bounded."""
MARGIN_S = 2.0
"""So long before the deadline of the transcription this gives up, for the text to arrive without it."""


class Diarization:
    """One recording. Feed it the blocks that are transcribed, then ask for the turns. Close it on every way out."""

    def __init__(
        self,
        models: SpeakerModels,
        count: SpeakerCount,
        *,
        deadline: float | None = None,
        known: Sequence[Embedding] = (),
    ) -> None:
        """`deadline`, in `time.monotonic()`: that of the transcription. `known`: voices that may be among them."""
        self._diarizer = Diarizer(models.segment, models.embed)
        self._count = count
        self._known = known
        self._deadline = None if deadline is None else deadline - MARGIN_S
        self._blocks: queue.Queue[Samples | None] = queue.Queue(BLOCKS_AHEAD)
        self._stopped = threading.Event()
        self._turns: Future[tuple[Turn, ...]] = Future()
        self._thread = threading.Thread(target=in_context(self._run), name="speakers", daemon=True)
        self._started = False

    @property
    def running(self) -> list[Future[tuple[Turn, ...]]]:
        """Done when the models are free of this recording; none where they never had it."""
        return [self._turns] if self._started else []

    @property
    def recognized(self) -> dict[int, int]:
        """Of the turns' speakers, those who are among the known voices, and which these are."""
        return self._diarizer.recognized if self._turns.done() else {}

    def feed(self, samples: Samples) -> None:
        """The next samples. Waits while too much of what came before has not been looked at; never raises."""
        if not self._started:
            self._started = True
            self._turns.set_running_or_notify_cancel()
            try:
                self._thread.start()
            except RuntimeError as error:  # `running` must come to its end, or the place is never free again
                self._turns.set_exception(error)
        self._put(samples)

    def finish(self) -> tuple[Turn, ...] | None:
        """The turns; None where they could not be found out, for a reason that is logged."""
        if not self._started:
            return ()
        self._put(None)
        try:
            return self._turns.result(self._time_left())
        except TimeoutError:
            log.warning("speakers are not told apart: that took too long")
        except _Stopped:
            pass
        except BaseException:
            log.warning("speakers are not told apart", exc_info=True)
        finally:
            self.close()
        return None

    def close(self) -> None:
        """Stop at the next window. Does not wait for it: `running` tells."""
        self._stopped.set()

    def _put(self, samples: Samples | None) -> None:
        while not self._stopped.is_set() and not self._turns.done():
            left = self._time_left()
            if left == 0:
                log.warning("speakers are not told apart: that would take too long")
                self._stopped.set()
                return
            with suppress(queue.Full):
                self._blocks.put(samples, timeout=0.5 if left is None else min(left, 0.5))
                return

    def _time_left(self) -> float | None:
        return None if self._deadline is None else max(self._deadline - time.monotonic(), 0.0)

    def _run(self) -> None:
        try:
            self._turns.set_result(self._diarize())
        except BaseException as error:  # noqa: BLE001 - `finish` looks at it
            self._turns.set_exception(error)

    def _diarize(self) -> tuple[Turn, ...]:
        while True:
            if self._stopped.is_set():
                raise _Stopped
            try:
                block = self._blocks.get(timeout=0.5)
            except queue.Empty:
                continue
            if block is None:
                return self._diarizer.finish(self._count, self._known)
            self._diarizer.feed(block, self._stopped.is_set)


def voice_in(samples: Samples, models: SpeakerModels) -> Embedding | None:
    """Who speaks in a short recording of one speaker; None where nobody does. Blocking. Raises InferenceError."""
    diarizer = Diarizer(models.segment, models.embed)
    diarizer.feed(samples)
    stretches = diarizer.stretches()
    if not stretches:
        return None
    embeddings = np.stack([stretch.embedding for stretch in stretches])
    return mean_voice(embeddings, np.array([stretch.speech_s for stretch in stretches]))


class _Stopped(Exception):
    """Nobody waits for the turns any more."""
