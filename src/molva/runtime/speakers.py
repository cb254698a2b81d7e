"""The models that tell speakers apart: loaded once, shared by all who need them."""

import logging
import threading
from typing import NamedTuple

from molva.errors import DiarizationUnavailable, ModelError
from molva.models.catalog import SPEAKERS
from molva.models.store import ModelStore
from molva.speech.diarization import Embed, Segment

log = logging.getLogger(__name__)


class SpeakerModels(NamedTuple):
    """Both models. Thread-safe."""

    segment: Segment
    embed: Embed


class Speakers:
    """What of them is on this machine. They stay once they are loaded."""

    def __init__(self, store: ModelStore) -> None:
        self._store = store
        self.models: SpeakerModels | None = None
        """None until they are loaded."""
        self._lock = threading.Lock()

    def load(self) -> SpeakerModels:
        """The models. Blocking the first time. Raises DiarizationUnavailable, which says what is missing."""
        with self._lock:
            if self.models is None:
                self.models = self._load()
            return self.models

    def load_if_here(self) -> None:
        """Load what can be loaded; what is there and cannot be is logged. Blocking."""
        try:
            self.load()
        except DiarizationUnavailable as error:
            level = logging.DEBUG if self._store.locate(SPEAKERS) is None else logging.WARNING
            log.log(level, "%s", error)

    def _load(self) -> SpeakerModels:
        try:
            from molva.engines.speakers.embedding import SpeakerEmbedding
        except ModuleNotFoundError as error:
            raise DiarizationUnavailable("`pip install 'molva[speakers]'` brings what is missing.") from error
        from molva.engines.speakers.segmentation import Segmentation

        installed = self._store.locate(SPEAKERS)
        if installed is None:
            raise DiarizationUnavailable("`molva models pull speakers` brings the models.")
        segmentation, embedding = (installed.directory / file.name for file in SPEAKERS.files)
        try:
            return SpeakerModels(Segmentation(segmentation), SpeakerEmbedding(embedding))
        except ModelError as error:
            raise DiarizationUnavailable(str(error)) from error
