"""Settings of a realtime session: the shapes both dialects give them, how they change, and what they mean."""

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from molva.audio.g711 import alaw_to_pcm16, ulaw_to_pcm16
from molva.engines.base import Options
from molva.speech.live import LiveRule

LOGPROBS = "item.input_audio_transcription.logprobs"
SILENCE_MS = {"low": 1000, "medium": 600, "auto": 600, "high": 300}
"""What `semantic_vad` means here: no model judges whether a sentence is over, silence does."""
MIN_RELEASE = 0.01

WITHOUT_VAD = frozenset({"gpt-realtime-whisper", "gpt-live-transcribe"})
"""Names under which OpenAI has no turn detection: their clients hear where utterances end by themselves."""

AudioType = Literal["audio/pcm", "audio/pcmu", "audio/pcma"]
RATES: dict[AudioType, int] = {"audio/pcm": 24_000, "audio/pcmu": 8_000, "audio/pcma": 8_000}
"""Hz."""
DECODERS: dict[AudioType, Callable[[bytes], bytes]] = {
    "audio/pcm": bytes,
    "audio/pcmu": ulaw_to_pcm16,
    "audio/pcma": alaw_to_pcm16,
}
"""To signed 16-bit little-endian samples."""
BETA_FORMATS: dict[str, AudioType] = {"pcm16": "audio/pcm", "g711_ulaw": "audio/pcmu", "g711_alaw": "audio/pcma"}


class Shape(BaseModel):
    """What clients send: every field works, is known to mean nothing here, or is refused by its name."""

    model_config = ConfigDict(strict=True, extra="forbid")


class Format(Shape):
    """How audio is encoded."""

    type: AudioType
    rate: int | None = None

    @field_validator("rate")
    @classmethod
    def _has_its_rate(cls, rate: int | None, info: ValidationInfo) -> int | None:
        expected = RATES.get(info.data.get("type", "audio/pcm"))
        if rate is not None and rate != expected:
            raise ValueError(f"the rate must be {expected}")
        return rate


class Transcription(Shape):
    """What is recognised, and how."""

    model: Annotated[str, Field(max_length=256)] | None = None
    language: Annotated[str, Field(max_length=16)] | None = None
    prompt: Annotated[str, Field(max_length=4096)] | None = None
    languages: Annotated[list[str], Field(max_length=1)] | None = None
    keywords: Annotated[list[str], Field(max_length=0)] | None = None
    """Not supported: none may be given."""
    delay: str | None = None
    """Means nothing here."""


class TurnDetection(Shape):
    """What ends a turn. Fields of the other type mean nothing."""

    type: Literal["server_vad", "semantic_vad"] = "server_vad"
    threshold: Annotated[float, Field(ge=0, le=1)] | None = None
    prefix_padding_ms: Annotated[int, Field(ge=0, le=5_000)] | None = None
    silence_duration_ms: Annotated[int, Field(ge=32, le=10_000)] | None = None
    eagerness: Literal["low", "medium", "high", "auto"] | None = None
    create_response: bool | None = None
    interrupt_response: bool | None = None
    idle_timeout_ms: int | None = None
    """These three are about responses, of which there are none here."""

    def told(self) -> dict[str, Any]:
        """What is in force."""
        if self.type == "semantic_vad":
            return {"type": self.type, "eagerness": self.eagerness or "auto"}
        return {
            "type": self.type,
            "threshold": 0.5 if self.threshold is None else self.threshold,
            "prefix_padding_ms": 300 if self.prefix_padding_ms is None else self.prefix_padding_ms,
            "silence_duration_ms": self.silence_duration_ms or 500,
        }


class NoiseReduction(Shape):
    """Accepted, and without effect: the models are made for noise as it is."""

    type: Literal["near_field", "far_field"] | None = None
    strength: Annotated[float, Field(ge=0, le=1)] | None = None


Include = list[Literal["item.input_audio_transcription.logprobs"]]


class Settings(Shape):
    """All of them, in the words of the GA dialect. What is not there has its default."""

    format: Format = Format(type="audio/pcm")
    transcription: Transcription = Transcription()
    turn_detection: TurnDetection | None = None
    noise_reduction: NoiseReduction | None = None
    include: Include = Field(default_factory=list)

    @property
    def model(self) -> str | None:
        """As the client names it."""
        return self.transcription.model or None

    @property
    def language(self) -> str | None:
        """ISO 639-1 in lower case; None lets the model tell."""
        language = self.transcription.language or next(iter(self.transcription.languages or ()), "")
        return None if language.lower() in ("", "auto") else language.lower()

    @property
    def options(self) -> Options:
        """Of the engine."""
        return Options(language=self.language, prompt=self.transcription.prompt or None)

    @property
    def rate(self) -> int:
        """Of the audio, in Hz."""
        return RATES[self.format.type]

    def to_pcm16(self, data: bytes) -> bytes:
        """Audio as the client sends it, decoded."""
        return DECODERS[self.format.type](data)

    def rule(self, usual: LiveRule) -> LiveRule:
        """When turns begin and end; all else is as usual."""
        turns = LiveRule(max_utterance_s=usual.max_utterance_s, turns=True)
        if self.turn_detection is None:
            return replace(turns, endpoint=False)
        told = self.turn_detection.told()
        if self.turn_detection.type == "semantic_vad":
            return replace(turns, min_silence_ms=SILENCE_MS[told["eagerness"]])
        release = max(told["threshold"] - 0.15, MIN_RELEASE)
        return replace(
            turns,
            min_silence_ms=told["silence_duration_ms"],
            onset=max(told["threshold"], release),
            release=release,
            padding_s=told["prefix_padding_ms"] / 1000,
        )

    def told(self, model: str, *, beta: bool) -> dict[str, Any]:
        """What is in force, in one of the dialects; `model` is the one that serves."""
        transcription = {
            "model": self.model or model,
            "language": self.language,
            "prompt": self.transcription.prompt or "",
        }
        turn_detection = None if self.turn_detection is None else self.turn_detection.told()
        noise_reduction = None if self.noise_reduction is None else self.noise_reduction.model_dump(exclude_none=True)
        include = list(self.include) or None
        if beta:
            return {
                "input_audio_format": next(name for name, kind in BETA_FORMATS.items() if kind == self.format.type),
                "input_audio_transcription": transcription,
                "turn_detection": turn_detection,
                "input_audio_noise_reduction": noise_reduction,
                "include": include,
            }
        form = {"type": self.format.type} | ({"rate": self.rate} if self.format.type == "audio/pcm" else {})
        given = {
            "format": form,
            "transcription": transcription,
            "turn_detection": turn_detection,
            "noise_reduction": noise_reduction,
        }
        return {"type": "transcription", "audio": {"input": given}, "include": include}


DEFAULT = Settings(turn_detection=TurnDetection(type="server_vad"))
"""Of a session whose client says nothing."""


class GaInput(Shape):
    """`session.audio.input`."""

    format: Format | None = None
    transcription: Transcription | None = None
    turn_detection: TurnDetection | None = None
    noise_reduction: NoiseReduction | None = None


class GaAudio(Shape):
    """`session.audio`."""

    input: GaInput | None = None


class _Told(Shape):
    """What the server tells of a session; clients that send a session back may leave it in."""

    id: Any = None
    object: Any = None
    expires_at: Any = None


class GaSession(_Told):
    """`session` of a `session.update`."""

    type: Literal["transcription"] = "transcription"
    audio: GaAudio | None = None
    include: Include | None = None

    @property
    def patch(self) -> dict[str, Any]:
        """The fields that are there, by the names of Settings."""
        given = self.model_dump(exclude_unset=True)
        patch = (given.get("audio") or {}).get("input") or {}
        return patch | {name: given[name] for name in ("include",) if name in given}


class BetaSession(_Told):
    """`session` of a `transcription_session.update`."""

    input_audio_format: Literal["pcm16", "g711_ulaw", "g711_alaw"] | None = None
    input_audio_transcription: Transcription | None = None
    turn_detection: TurnDetection | None = None
    input_audio_noise_reduction: NoiseReduction | None = None
    include: Include | None = None
    modalities: list[Literal["text", "audio"]] | None = None
    client_secret: Any = None
    """Both mean nothing in a session."""

    @property
    def patch(self) -> dict[str, Any]:
        """The fields that are there, by the names of Settings."""
        given = self.model_dump(exclude_unset=True)
        if given.get("input_audio_format") is not None:
            given["input_audio_format"] = {"type": BETA_FORMATS[given["input_audio_format"]]}
        return {name: given[theirs] for name, theirs in BETA_NAMES.items() if theirs in given}


BETA_NAMES = {
    "format": "input_audio_format",
    "transcription": "input_audio_transcription",
    "turn_detection": "turn_detection",
    "noise_reduction": "input_audio_noise_reduction",
    "include": "include",
}


def field_name(name: str, *, beta: bool) -> str:
    """The path of `transcription.model` and the like in an update."""
    first, _, rest = name.partition(".")
    return f"session.{BETA_NAMES[first]}.{rest}" if beta else f"session.audio.input.{name}"


def patched(settings: Settings, patch: dict[str, Any]) -> Settings:
    """Only fields that are in the patch change; null clears. A name of WITHOUT_VAD turns detection off."""
    if (patch.get("transcription") or {}).get("model") in WITHOUT_VAD:
        patch = {"turn_detection": None, **patch}
    return Settings.model_validate(_merge(settings.model_dump(exclude_unset=True), patch))


def _merge(document: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """JSON Merge Patch (RFC 7396), but an object of another `type` takes the place of the one before."""
    merged = dict(document)
    for name, value in patch.items():
        known = merged.get(name)
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, dict):
            known = known if isinstance(known, dict) else {}
            merged[name] = _merge(known if value.get("type", known.get("type")) == known.get("type") else {}, value)
        else:
            merged[name] = value
    return merged
