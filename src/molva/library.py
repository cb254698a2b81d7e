"""molva as a library: `molva.transcribe` for one call, `Transcriber` to keep a model loaded."""

import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Self

from molva.audio.array import AnySource
from molva.engines.base import EngineInfo, Options, Task
from molva.engines.cpu import usable_cores
from molva.engines.silero import load_vad
from molva.errors import OptionError
from molva.models.download import OnProgress
from molva.models.store import ModelStore, default_model_dir
from molva.runtime.blas import single_blas_thread
from molva.runtime.diarization import Diarization
from molva.runtime.loading import load_engine
from molva.runtime.provision import AUTO, Hub, choose_model
from molva.runtime.scheduler import Scheduler
from molva.runtime.speakers import Speakers
from molva.runtime.transcription import Transcription, transcribe_all
from molva.samples import Channels
from molva.speech.clustering import SpeakerCount
from molva.transcript import Transcript

__all__ = ["Recording", "SpeakerCount", "Transcriber", "transcribe"]

Recording = str | AnySource
"""A path, the bytes of a file, an open binary file, or float samples: 16 kHz, -1..1, mono or, to be split, of shape
(n_channels, n)."""


class Transcriber:
    """A loaded model. Thread-safe; close it, or use it as a context manager, to give its memory back."""

    def __init__(
        self,
        model: str = AUTO,
        *,
        model_dir: str | Path | None = None,
        device: str = "cpu",
        precision: str = "auto",
        workers: int = 0,
        hub: Hub | None = None,
        on_download: OnProgress = lambda _: None,
    ) -> None:
        """Find or download a model and load it.

        `model` is a name from `molva models list` or `auto`; `workers` is the number of inference threads, 0 for one
        a core. Raises ModelError.
        """
        store = ModelStore(Path(model_dir) if model_dir else default_model_dir())
        choice = choose_model(model, store, hub or Hub.from_environment(), on_download)
        self.reason = choice.reason
        """Why this model was taken."""
        workers = workers or usable_cores()
        engine = load_engine(choice.model, device=device, precision=precision, workers=workers)
        self._scheduler = Scheduler(workers)
        self._lane = self._scheduler.lane(engine)
        self._vad = load_vad()
        self._speakers = Speakers(store)

    @property
    def info(self) -> EngineInfo:
        return self._lane.info

    def transcribe(
        self,
        source: Recording,
        *,
        language: str | None = None,
        task: Task = "transcribe",
        on_progress: Callable[[Transcription], None] | None = None,
        speakers: SpeakerCount | None = None,
        channels: Channels = "mix",
    ) -> Transcript:
        """Transcribe one recording of any length.

        `language` is an ISO 639-1 code, None to let the model tell. `speakers`: tell them apart, as many as
        `SpeakerCount` says; None does not. `channels`: split transcribes each by itself, as the speaker of its number,
        and goes without `speakers`. Raises AudioError, OptionError, InferenceError, DiarizationUnavailable.
        """
        if channels == "split" and speakers is not None:
            raise OptionError("channels", "channels='split' goes without speakers: each channel is a speaker")
        options = Options(language=language, task=task)
        self.info.check(options)
        audio = Path(source) if isinstance(source, str) else source
        diarization = None if speakers is None else Diarization(self._speakers.load(), speakers)
        with single_blas_thread:
            return transcribe_all(
                audio,
                self._lane,
                self._vad,
                options,
                on_progress=on_progress,
                diarization=diarization,
                channels=channels,
            )

    def close(self) -> None:
        """Stop the threads and let the model go."""
        self._scheduler.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def transcribe(
    source: Recording,
    model: str = AUTO,
    *,
    language: str | None = None,
    task: Task = "transcribe",
    model_dir: str | Path | None = None,
    device: str = "cpu",
) -> Transcript:
    """Transcribe one recording; the model stays loaded for the next call with the same choice.

    See `Transcriber` and `Transcriber.transcribe` for the arguments and errors.
    """
    transcriber = _loaded(model, os.fspath(model_dir) if model_dir else None, device)
    return transcriber.transcribe(source, language=language, task=task)


@lru_cache(maxsize=1)
def _loaded(model: str, model_dir: str | None, device: str) -> Transcriber:
    return Transcriber(model, model_dir=model_dir, device=device)
