"""What an engine is: blocking calls on arrays. It knows nothing of files, HTTP, threads or jobs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from molva.errors import OptionError, UnsupportedTask
from molva.samples import Samples
from molva.transcript import Hypothesis, Token

__all__ = ["Engine", "EngineInfo", "Hypothesis", "Options", "Task", "Token"]

Task = Literal["transcribe", "translate"]


@dataclass(frozen=True, slots=True)
class Options:
    """What the caller chose for one request."""

    language: str | None = None
    """ISO 639-1 code; None lets the engine detect it."""
    task: Task = "transcribe"
    prompt: str | None = None
    """Text in the style and with the names to expect; engines without a language model do not need it."""
    temperature: float | None = None
    """0..1; None lets the engine choose. Engines that decode greedily have none."""


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """Facts about a loaded engine."""

    model: str
    """Catalog name, e.g. `gigaam-v3-e2e-rnnt`."""
    family: Literal["gigaam", "whisper", "fake"]
    variant: str
    """The head or size: `e2e_rnnt`, `ctc`, `base`."""
    languages: tuple[str, ...]
    """ISO 639-1 codes the model knows."""
    tasks: tuple[Task, ...]
    vocabulary_size: int
    precision: str
    """Of the encoder's weights: `int8`, `u8`, `fp32`, `float16`."""
    device: str
    """`cpu`, `cuda` or `coreml`."""
    punctuation: bool
    """Whether the text comes with punctuation, case and digits."""
    max_window_s: float = 25.0
    """Longest window the engine takes, in seconds."""
    batch_size: int = 1
    """Windows per call that pay off: 1 on a CPU, where callers run side by side instead."""
    may_repeat: bool = False
    """Whether the decoder can fall into a loop and repeat what nobody said, as those do that predict text from text."""
    equal_lengths: bool = False
    """Whether the windows of one call must be equally long to be encoded together."""
    longest_wide_s: float = 0.0
    """Longest window, in seconds, that may take all cores while it is the only one. What such a window takes says
    nothing of many."""

    @property
    def title(self) -> str:
        """Name for people: `GigaAM v3 RNN-T`, `Whisper base`."""
        if self.family != "gigaam":
            return f"{self.family.capitalize()} {self.variant}"
        head = "CTC" if self.variant.endswith("ctc") else "RNN-T"
        generation = self.model.removeprefix("gigaam-").split("-")[0]
        return f"GigaAM {generation} {head}"

    def check(self, options: Options) -> None:
        """Raise UnsupportedTask or OptionError for what this engine cannot serve."""
        if options.task not in self.tasks:
            raise UnsupportedTask(options.task)
        if options.language is not None and options.language not in self.languages:
            known = ", ".join(self.languages)
            raise OptionError("language", f"{self.model} does not know language '{options.language}'. Known: {known}.")


class Engine(Protocol):
    """A loaded model. `transcribe` may be called from several threads at once."""

    @property
    def info(self) -> EngineInfo: ...

    def transcribe(self, batch: Sequence[Samples], options: Options) -> list[Hypothesis]:
        """Recognise each window; the answer has one hypothesis for each, in order.

        Raises InferenceError when the engine fails, UnsupportedTask and OptionError for options it cannot serve.
        """
        ...
