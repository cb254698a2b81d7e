"""A scripted engine: the tests', demos' and load tests' stand-in for a model."""

import threading
from collections.abc import Callable, Sequence

from molva.engines.base import EngineInfo, Hypothesis, Options
from molva.samples import Samples, seconds
from molva.transcript import Word

Script = Callable[[Samples, Options], str]


def count_seconds(window: Samples, _options: Options) -> str:
    """The default script: one word per whole second of audio, none for digital silence."""
    return " ".join(f"слово{i}" for i in range(int(seconds(window.size)))) if window.any() else ""


class FakeEngine:
    """Answers each window with the words its script gives, spread evenly over the window."""

    def __init__(self, script: Script = count_seconds, *, batch_size: int = 1, equal_lengths: bool = False) -> None:
        self._script = script
        self._lock = threading.Lock()
        self.calls: list[tuple[int, ...]] = []
        """Sizes in samples of the windows of every call so far."""
        self.info = EngineInfo(
            model="fake",
            family="fake",
            variant="fake",
            languages=("ru",),
            tasks=("transcribe",),
            vocabulary_size=0,
            precision="fp32",
            device="cpu",
            punctuation=False,
            batch_size=batch_size,
            equal_lengths=equal_lengths,
        )

    def transcribe(self, batch: Sequence[Samples], options: Options) -> list[Hypothesis]:
        with self._lock:
            self.calls.append(tuple(window.size for window in batch))
        return [self._hypothesis(window, options) for window in batch]

    def _hypothesis(self, window: Samples, options: Options) -> Hypothesis:
        text = self._script(window, options)
        pieces = text.split()
        step = seconds(window.size) / max(len(pieces), 1)
        words = tuple(
            Word(text=piece, start=i * step, end=(i + 1) * step, confidence=1.0) for i, piece in enumerate(pieces)
        )
        return Hypothesis(text=text, tokens=(), words=words, language="ru")
