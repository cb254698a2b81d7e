"""Whisper behind the engine protocol, by faster-whisper (CTranslate2). An optional extra: imported when loaded."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from molva.engines.base import EngineInfo, Hypothesis, Options, Task, Token
from molva.errors import DeviceUnavailable, InferenceError, ModelError, ModelFilesInvalid
from molva.samples import Samples, seconds
from molva.transcript import UNDETERMINED, Word

if TYPE_CHECKING:
    from faster_whisper import WhisperModel


BEAM_SIZE = 5

CANNOT_TRANSLATE = frozenset({"large-v3-turbo"})
"""Variants that were trained without the translation task."""

NEEDED_FILES = ("config.json", "model.bin", "tokenizer.json")

COMPUTE_TYPES = {"cpu": "int8", "cuda": "float16"}

MAX_NO_SPEECH = 0.6
MIN_AVERAGE_LOGPROB = -1.0
MAX_COMPRESSION = 2.4
"""OpenAI's own guards: a segment that looks like silence, or that repeats itself after all fallbacks, is dropped."""


class WhisperEngine:
    """A loaded model. Thread-safe: CTranslate2 runs as many callers side by side as it has workers."""

    def __init__(self, info: EngineInfo, model: "WhisperModel") -> None:
        self.info = info
        self._model = model

    def transcribe(self, batch: Sequence[Samples], options: Options) -> list[Hypothesis]:
        """See `Engine.transcribe`."""
        self.info.check(options)
        return [self._transcribe(window, options) for window in batch]

    def _transcribe(self, window: Samples, options: Options) -> Hypothesis:
        if not window.any():
            return Hypothesis(text="", tokens=(), words=(), language=options.language or UNDETERMINED)
        try:
            segments, facts = self._model.transcribe(
                window,
                language=options.language,
                task=options.task,
                beam_size=BEAM_SIZE,
                word_timestamps=True,
                vad_filter=False,  # the window was found by our own
                condition_on_previous_text=False,
                no_speech_threshold=MAX_NO_SPEECH,
                log_prob_threshold=MIN_AVERAGE_LOGPROB,
                compression_ratio_threshold=MAX_COMPRESSION,
                hallucination_silence_threshold=2.0,
            )
            kept = [segment for segment in segments if is_speech(segment)]
        except Exception as error:  # CTranslate2 raises RuntimeError and ValueError alike
            raise InferenceError from error
        length_s = seconds(window.size)
        words = [clip_word(word, length_s) for segment in kept for word in segment.words or () if word.word.strip()]
        tokens = [token for segment in kept for token in self._tokens(segment, length_s)]
        return Hypothesis(
            text="".join(segment.text for segment in kept).strip(),
            tokens=tuple(tokens),
            words=tuple(words),
            language=facts.language,
        )

    def _tokens(self, segment: Any, length_s: float) -> Iterator[Token]:
        """Text tokens with the time and confidence of the word they belong to.

        Words are runs of whole tokens, so counting the bytes that both spell keeps them in step.
        """
        tokenizer = self._model.hf_tokenizer
        end_of_text = tokenizer.token_to_id("<|endoftext|>")
        words = iter(segment.words or ())
        word, left = next(words, None), 0
        if word is not None:
            left = len(word.word.encode())
        for identifier in segment.tokens:
            if identifier >= end_of_text:  # timestamps and other marks
                continue
            text = tokenizer.decode([identifier])
            yield Token(
                id=identifier,
                text=text,
                start=min(max(word.start if word else segment.start, 0.0), length_s),
                confidence=min(max(word.probability if word else 0.0, 0.0), 1.0),
            )
            left -= len(text.encode())
            if left <= 0:
                word = next(words, word)
                left += len(word.word.encode()) if word else 0


def is_speech(segment: Any) -> bool:
    """Whether a segment may be kept."""
    silent = segment.no_speech_prob > MAX_NO_SPEECH and segment.avg_logprob < MIN_AVERAGE_LOGPROB
    return not silent and segment.compression_ratio <= MAX_COMPRESSION


def clip_word(word: Any, length_s: float) -> Word:
    """A word with times inside the window and a confidence in 0..1."""
    start = min(max(float(word.start), 0.0), length_s)
    end = min(max(float(word.end), start), length_s)
    confidence = min(max(float(word.probability), 0.0), 1.0)
    return Word(text=word.word.strip(), start=round(start, 3), end=round(end, 3), confidence=confidence)


def load(directory: Path, *, model: str, variant: str, device: str = "cpu", workers: int = 1) -> WhisperEngine:
    """Load a CTranslate2 model for `workers` calling threads. Never touches the network.

    Raises ModelError without faster-whisper, DeviceUnavailable for the device, ModelFilesInvalid naming the file.
    """
    try:
        import ctranslate2
        from faster_whisper import WhisperModel
    except ImportError as error:
        raise ModelError("Whisper models need faster-whisper: pip install 'molva[whisper]'.") from error
    if device not in COMPUTE_TYPES:
        raise DeviceUnavailable(f"Whisper does not run on '{device}'. Choose cpu or cuda.")
    if device == "cuda" and ctranslate2.get_cuda_device_count() == 0:
        raise DeviceUnavailable("No CUDA device was found for Whisper; use --device cpu.")
    for name in NEEDED_FILES:
        if not (directory / name).is_file():
            raise ModelFilesInvalid(name, "is missing")
    try:
        loaded = WhisperModel(
            str(directory),
            device=device,
            compute_type=COMPUTE_TYPES[device],
            cpu_threads=1,
            num_workers=workers,
            local_files_only=True,
        )
    except Exception as error:  # the libraries behind it raise kinds of their own
        raise ModelFilesInvalid("model.bin", "cannot be loaded; it or a file beside it is damaged") from error
    tasks: tuple[Task, ...] = ("transcribe",) if variant in CANNOT_TRANSLATE else ("transcribe", "translate")
    info = EngineInfo(
        model=model,
        family="whisper",
        variant=variant,
        languages=tuple(loaded.supported_languages),
        tasks=tasks,
        vocabulary_size=loaded.hf_tokenizer.get_vocab_size(),
        precision=COMPUTE_TYPES[device],
        device=device,
        punctuation=True,
    )
    return WhisperEngine(info, loaded)
