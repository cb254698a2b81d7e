"""The fields of a transcription request -> what is asked for. Every field works or is refused by its name."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from molva.errors import OptionError
from molva.http.multipart import Form
from molva.speech.chunks import WindowRule
from molva.speech.endpoint import SpeechRule
from molva.speech.vad import FRAMES_PER_SECOND

ResponseFormat = Literal["json", "text", "srt", "verbose_json", "vtt", "diarized_json"]
FORMATS: tuple[ResponseFormat, ...] = ("json", "text", "srt", "verbose_json", "vtt", "diarized_json")
TRANSLATION_FORMATS: tuple[ResponseFormat, ...] = ("json", "text", "srt", "verbose_json", "vtt")

TRUE, FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off", "")

MAX_KNOWN_SPEAKERS = 4
MAX_NAME = 64
"""Characters of a speaker's name."""

UNSUPPORTED = {
    "keywords": "Keywords are not supported by this server.",
}
"""Fields of the API that would change the result, and cannot here."""


@dataclass(frozen=True)
class Wishes:
    """A request, checked as far as its fields go."""

    model: str
    """Catalog name of the one that serves it."""
    language: str | None
    """ISO 639-1 in lower case; None lets the model tell."""
    prompt: str | None
    temperature: float | None
    response_format: ResponseFormat
    segments: bool
    words: bool
    """What verbose_json lists."""
    logprobs: bool
    stream: bool
    windows: WindowRule | None
    """Where speech is cut; None is the usual rule."""
    known_speakers: Mapping[str, str] = field(default_factory=dict)
    """Names, and for each a data URL with a sample of the voice. Both are for diarized_json."""


class ServerVad(BaseModel):
    """`chunking_strategy` as an object."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["server_vad"]
    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.5
    prefix_padding_ms: Annotated[int, Field(ge=0, le=5_000)] = 300
    silence_duration_ms: Annotated[int, Field(ge=32, le=10_000)] = 200


def require_file(form: Form) -> None:
    """Raises OptionError where there is nothing to transcribe."""
    if form.file is None:
        raise OptionError("file", "The form has no file. Send it as the part 'file'.")
    if not form.file.size:
        raise OptionError("file", "The file is empty.")


def parse_fields(
    fields: Sequence[tuple[str, str]],
    choose: Callable[[str | None, str | None], str],
    *,
    formats: Sequence[ResponseFormat] = FORMATS,
) -> Wishes:
    """The wishes in a form's text fields; names this API does not have are ignored.

    `choose` gives the model for a name and a language, or raises. Raises OptionError that names the field: first what
    is no value of its field at all, then the model, then the format and what does not go with it.
    """
    several: dict[str, list[str]] = {}
    for name, value in fields:
        several.setdefault(name.removesuffix("[]"), []).append(value.strip())
    for name, advice in UNSUPPORTED.items():
        if any(several.get(name, ())):
            raise OptionError(name, f"{name}: {advice}")
    one = {name: values[-1] for name, values in several.items()}
    temperature = _temperature(one.get("temperature"))
    stream = _boolean("stream", one.get("stream", ""))
    windows = _windows(one.get("chunking_strategy"), _members("chunking_strategy", one))
    granularities = _chosen("timestamp_granularities", several, ("word", "segment"))
    include = _chosen("include", several, ("logprobs",))
    language = _language(one.get("language"), several.get("languages", ()))
    model = choose(one.get("model") or None, language)
    response_format = _format(one.get("response_format") or "json", formats)
    if granularities and response_format != "verbose_json":
        raise OptionError("timestamp_granularities", "timestamp_granularities need response_format verbose_json")
    if include and response_format != "json":
        raise OptionError("include", "include=logprobs needs response_format json")
    known_speakers = _known_speakers(several, response_format)
    return Wishes(
        model=model,
        language=language,
        prompt=one.get("prompt") or None,
        temperature=temperature,
        response_format=response_format,
        segments="segment" in granularities or not granularities,
        words="word" in granularities,
        logprobs="logprobs" in include,
        stream=stream,
        windows=windows,
        known_speakers=known_speakers,
    )


def _known_speakers(several: Mapping[str, Sequence[str]], response_format: ResponseFormat) -> dict[str, str]:
    names = [name for name in several.get("known_speaker_names", ()) if name]
    references = [url for url in several.get("known_speaker_references", ()) if url]
    for option, values in (("known_speaker_names", names), ("known_speaker_references", references)):
        if values and response_format != "diarized_json":
            raise OptionError(option, f"{option} need response_format diarized_json")
    if len(names) > MAX_KNOWN_SPEAKERS:
        raise OptionError("known_speaker_names", f"known_speaker_names: at most {MAX_KNOWN_SPEAKERS} are supported")
    if not all(len(name) <= MAX_NAME and name.isprintable() for name in names) or len(set(names)) < len(names):
        raise OptionError(
            "known_speaker_names", f"known_speaker_names must be different, of 1 to {MAX_NAME} printable characters"
        )
    if len(references) != len(names):
        raise OptionError("known_speaker_references", "known_speaker_references: send one for each known_speaker_name")
    return dict(zip(names, references, strict=True))


def _format(name: str, formats: Sequence[ResponseFormat]) -> ResponseFormat:
    if name not in formats:
        raise OptionError("response_format", f"response_format '{name[:40]}' is not supported")
    return cast(ResponseFormat, name)


def _chosen(name: str, several: Mapping[str, Sequence[str]], known: Sequence[str]) -> set[str]:
    """The values of a field that may be repeated."""
    chosen = {value for value in several.get(name, ()) if value}
    if unknown := chosen.difference(known):
        raise OptionError(name, f"{name}: '{min(unknown)[:40]}' is not known; {' and '.join(known)} can be asked for")
    return chosen


def _language(value: str | None, possible: Sequence[str]) -> str | None:
    """The one language that is asked for. Clients of gpt-transcribe send it as a list of the possible ones."""
    codes = {code.lower() for code in (value or "", *possible)} - {"", "auto"}
    if len(codes) > 1:
        raise OptionError("languages", "languages: Send one language, or none to let the model tell.")
    return codes.pop() if codes else None


def _temperature(value: str | None) -> float | None:
    if not value:
        return None
    try:
        temperature = float(value)
    except ValueError:
        temperature = math.nan
    if not 0 <= temperature <= 1:
        raise OptionError("temperature", "temperature must be a number from 0 to 1")
    return temperature or None  # 0 is "as sure as possible": what an engine does by itself


def _boolean(name: str, value: str) -> bool:
    if value.lower() in TRUE:
        return True
    if value.lower() in FALSE:
        return False
    raise OptionError(name, f"{name} must be true or false")


def _members(name: str, one: Mapping[str, str]) -> dict[str, str]:
    """An object in a form as OpenAI's clients send it, each member a field of its own: `name[member]`."""
    prefix = f"{name}["
    return {key[len(prefix) : -1]: value for key, value in one.items() if key.startswith(prefix) and key[-1] == "]"}


def _windows(value: str | None, members: Mapping[str, str]) -> WindowRule | None:
    if not members and (not value or value == "auto"):
        return None
    try:
        vad = ServerVad.model_validate(members or json.loads(value or ""))
    except (ValueError, RecursionError) as error:
        detail = ""
        if isinstance(error, ValidationError):
            detail = ": " + "; ".join(f"{'.'.join(map(str, e['loc']))} {e['msg']}" for e in error.errors())[:200]
        raise OptionError(
            "chunking_strategy", f"chunking_strategy must be auto or a server_vad object{detail}"
        ) from error
    return WindowRule(
        padding_s=vad.prefix_padding_ms / 1000,
        keep_short=False,
        speech=SpeechRule(
            onset=vad.threshold,
            release=max(vad.threshold - 0.15, 0.01),
            min_silence=max(round(vad.silence_duration_ms / 1000 * FRAMES_PER_SECOND), 1),
        ),
    )
