"""Partials of one window that grows: what was asked of the engine, what came of it, and what serves the final."""

from dataclasses import dataclass

from molva.samples import Samples
from molva.speech.chunks import Window
from molva.speech.tail import Head, next_head
from molva.transcript import Hypothesis

MAX_DRAFTS = 4
"""Partials of one window that may be on their way; hypotheses of older ones come too late."""


@dataclass
class Draft:
    """A partial's window and what came of it."""

    window: Window
    decode_id: int
    head: Head
    """Of the window; the rest of it is decoded."""
    hypothesis: Hypothesis | None = None
    """Of the whole window."""


class Drafts:
    """Those of the window that is open, the newest last. Only the first may have been heard already."""

    def __init__(self) -> None:
        self._drafts: list[Draft] = []

    def add(self, window: Window, decode_id: int, *, whole: bool) -> Samples:
        """One more; what of it is to be decoded. `whole`: it may become a final."""
        heard = None if whole else self._heard(window)
        head = Head()
        if heard is not None and heard.hypothesis is not None:
            head = next_head(heard.head, heard.hypothesis, heard.window.samples.size, window.samples.size)
        if len(self._drafts) == MAX_DRAFTS:
            # A final that fails falls back on what was heard.
            del self._drafts[1 if self._drafts[0].hypothesis else 0]
        self._drafts.append(Draft(window, decode_id, head))
        return window.samples[head.size :]

    def answer(self, decode_id: int, hypothesis: Hypothesis) -> Draft | None:
        """The draft with what came of it; None where that comes too late. Older ones are forgotten."""
        for i, draft in enumerate(self._drafts):
            if draft.decode_id == decode_id:
                draft.hypothesis = draft.head.join(hypothesis)
                del self._drafts[:i]
                return draft
        return None

    def heard(self, window: Window) -> Hypothesis | None:
        """What was heard last in the window, which may have grown since."""
        draft = self._heard(window)
        return draft.hypothesis if draft else None

    def same(self, window: Window) -> Draft | None:
        """The draft that decodes this very window, and all of it."""
        return next((d for d in self._drafts if _extent(d.window) == _extent(window) and d.head.size == 0), None)

    def clear(self) -> None:
        """The window is open no more."""
        self._drafts.clear()

    def _heard(self, window: Window) -> Draft | None:
        known = (draft for draft in self._drafts if draft.hypothesis and draft.window.start == window.start)
        return next(known, None)


def _extent(window: Window) -> tuple[int, int]:
    return window.start, window.end
