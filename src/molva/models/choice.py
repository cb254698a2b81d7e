"""Which model serves a request: by a name clients know, and by language where they leave it open."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from molva.errors import OptionError, SettingsError, UnsupportedOperation
from molva.models.catalog import CATALOG, ModelSpec

AUTO = "auto"
"""The model that is served, unless another one here knows the language or the task better."""

ALIASES: Mapping[str, str] = MappingProxyType(
    {
        AUTO: AUTO,
        "whisper-1": AUTO,
        "gpt-4o-transcribe": AUTO,
        "gpt-4o-mini-transcribe": AUTO,
        "gpt-4o-transcribe-diarize": AUTO,
        "gpt-transcribe": AUTO,
        "gpt-live-transcribe": AUTO,
        "gpt-realtime-whisper": AUTO,
        "v3_ctc": "gigaam-v3-ctc",
        "v3_rnnt": "gigaam-v3-rnnt",
        "v3_e2e_ctc": "gigaam-v3-e2e-ctc",
        "v3_e2e_rnnt": "gigaam-v3-e2e-rnnt",
    }
)
"""Names that clients of other servers send, and what they mean here."""


def parse_aliases(given: Sequence[str]) -> dict[str, str]:
    """`NAME=MODEL` texts added to ALIASES. Raises SettingsError for what is neither in the catalog nor `auto`."""
    aliases = dict(ALIASES)
    for text in given:
        name, equals, model = (part.strip() for part in text.partition("="))
        if not name or not equals or (model != AUTO and model not in CATALOG):
            raise SettingsError(f"alias: '{text}' is not NAME=MODEL with a model of `molva models list`, or auto")
        aliases[name] = model
    return aliases


class Candidate(NamedTuple):
    """What a choice needs to know of a model."""

    name: str
    family: str
    languages: Sequence[str]
    """ISO 639-1 codes."""
    translates: bool


def candidate(spec: ModelSpec) -> Candidate:
    """A model of the catalog."""
    return Candidate(spec.name, spec.family, spec.languages, spec.translates)


def choose(
    name: str | None,
    language: str | None,
    *,
    translate: bool,
    candidates: Sequence[Candidate],
    aliases: Mapping[str, str],
) -> str:
    """The catalog name of the model that serves a request for `name`.

    `candidates` are the models on this machine, the one that is served first. A name is never a path or an address:
    it is looked up, and that is all. Raises OptionError where there is no such model, or none for the language, and
    UnsupportedOperation where none can translate.
    """
    wanted = aliases.get(name, name) if name else AUTO
    if wanted != AUTO:
        candidates = [candidate for candidate in candidates if candidate.name == wanted]
        if not candidates:
            raise OptionError("model", f"model '{(name or '')[:64]}' is not available")
    if translate:
        candidates = [candidate for candidate in candidates if candidate.translates]
        if not candidates:
            raise UnsupportedOperation
    if language is not None:
        able = [candidate for candidate in candidates if language in candidate.languages]
        if not able:
            raise OptionError("language", f"No model here knows language '{language[:16]}'.")
        # Russian is what GigaAM is best at.
        candidates = sorted(able, key=lambda candidate: language == "ru" and candidate.family != "gigaam")
    return candidates[0].name
