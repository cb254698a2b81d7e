"""The Whisper engine, over faster-whisper: an optional extra, imported when a model is loaded."""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from molva.engines.base import EngineInfo, Hypothesis, Options, Task, Token
from molva.engines.cpu import usable_cores
from molva.engines.files import LARGEST_TEXT, LARGEST_WEIGHTS, check_file, read_json, read_object, read_text, reading
from molva.errors import DeviceUnavailable, InferenceError, ModelError, ModelFilesInvalid
from molva.samples import Samples, seconds
from molva.transcript import UNDETERMINED, Word, word_separator

if TYPE_CHECKING:
    from faster_whisper import WhisperModel

COMPUTE_TYPES = {"cpu": "int8", "cuda": "float16"}
"""Precision of the weights on each device that CTranslate2 knows."""

N_TIMESTAMPS = 1501
"""Tokens for 0 to 30 s in steps of 20 ms; they follow `<|notimestamps|>`, and some tokenizer files leave them out."""

REPETITIVE = 2.4
"""A text that zlib makes this many times smaller says the same thing again and again."""

FEATURES = {"sampling_rate": 16_000, "hop_length": 160, "chunk_length": 30, "n_fft": 400}
"""What every size of Whisper was trained with; the number of mels differs."""

DECODING: dict[str, Any] = {
    "beam_size": 5,
    # Beam search, then sampling where its text is repetitive or improbable. Without the retries the error rate on
    # plain reading nearly doubles, by loops; the library's six steps are no better than these three, and slower.
    "temperature": (0.0, 0.4, 0.8),
    "compression_ratio_threshold": REPETITIVE,
    "log_prob_threshold": -1.0,
    "no_speech_threshold": 0.6,
    "hallucination_silence_threshold": 2.0,
    "condition_on_previous_text": False,
    "word_timestamps": True,
    "vad_filter": False,
}


class WhisperEngine:
    """A loaded model. Thread-safe: CTranslate2 runs as many callers side by side as it was given workers."""

    def __init__(self, info: EngineInfo, model: "WhisperModel", text_tokens: Sequence[bytes]) -> None:
        """`text_tokens`: what each token stands for, by its id; ids beyond them are marks and timestamps."""
        self.info = info
        self._model = model
        self._text_tokens = text_tokens

    def transcribe(self, batch: Sequence[Samples], options: Options) -> list[Hypothesis]:
        """See `Engine.transcribe`."""
        self.info.check(options)
        return [self._recognise(window, options) for window in batch]

    def _recognise(self, window: Samples, options: Options) -> Hypothesis:
        segments, language = self._run(window, options) if window.any() else ([], UNDETERMINED)
        if not segments:  # the language heard in noise means nothing
            return Hypothesis(text="", tokens=(), words=(), language=options.language or UNDETERMINED)
        pieces = to_pieces(segments, seconds(window.size))
        ids = [token for segment in segments for token in segment.tokens if token < len(self._text_tokens)]
        return Hypothesis(
            text="".join(segment.text for segment in segments).strip(),
            tokens=to_tokens([(token, self._text_tokens[token]) for token in ids], pieces),
            words=to_words(pieces, " " if options.task == "translate" else word_separator(language)),
            language=language,
            avg_logprob=fmean(segment.avg_logprob for segment in segments),
            no_speech_prob=max(segment.no_speech_prob for segment in segments),
        )

    def _run(self, window: Samples, options: Options) -> tuple[list[Any], str]:
        """faster-whisper's segments that are believable, and the language given or heard."""
        try:
            chosen = {} if options.temperature is None else {"temperature": options.temperature}
            segments, about = self._model.transcribe(
                window,
                language=options.language,
                task=options.task,
                initial_prompt=options.prompt,
                **DECODING | chosen,
            )
            return [segment for segment in segments if not is_invented(segment)], about.language
        except Exception as error:  # CTranslate2's exceptions share no base of their own
            raise InferenceError from error


def is_invented(segment: Any) -> bool:
    """Whether the model heard no speech in a segment and its text looks like it: improbable, or repetitive.

    Whisper invents text for noise, and its own `no_speech_threshold` spares what seems probable. By measurement on
    whisper-base: no real speech, not even fragments of 1.5 s, has a `no_speech_prob` above 0.63; what got through for
    noise, tones and chords (`СПОКОЙНАЯ МУЗЫКА`, `4-4-4-4-4…`) begins at 0.69.
    """
    doubtful = segment.avg_logprob < -0.5 or segment.compression_ratio > REPETITIVE
    return bool(segment.no_speech_prob > 0.65 and doubtful)


@dataclass(frozen=True, slots=True)
class Piece:
    """What faster-whisper calls a word: a stretch of text and when it was spoken, in seconds of the window."""

    text: str
    """With the white space around it."""
    start: float
    end: float
    confidence: float


def to_pieces(segments: Iterable[Any], duration: float) -> list[Piece]:
    """The words of faster-whisper's segments, kept within the window of `duration` seconds."""
    pieces = []
    for word in (word for segment in segments for word in segment.words):
        start = min(max(float(word.start), 0.0), duration)
        end = min(max(float(word.end), start), duration)
        pieces.append(Piece(word.word, start, end, min(max(float(word.probability), 0.0), 1.0)))
    return pieces


def to_words(pieces: Iterable[Piece], separator: str) -> tuple[Word, ...]:
    """Whole words: where spaces separate them, a piece that begins without one (`-таки`) continues the word."""
    groups: list[list[Piece]] = []
    for piece in pieces:
        if groups and separator and not piece.text.startswith(separator):
            groups[-1].append(piece)
        else:
            groups.append([piece])
    words = (
        Word(
            text="".join(piece.text for piece in group).strip(),
            start=group[0].start,
            end=max(piece.end for piece in group),
            confidence=sum(piece.confidence for piece in group) / len(group),
        )
        for group in groups
    )
    return tuple(word for word in words if word.text)


def to_tokens(spelled: Iterable[tuple[int, bytes]], pieces: Sequence[Piece]) -> tuple[Token, ...]:
    """Ids and their bytes -> tokens, each with the start and confidence of the piece that holds its first byte."""
    if not pieces:
        return ()
    piece_ends = list(accumulate(len(piece.text.encode()) for piece in pieces))
    tokens, position = [], 0
    for token, text in spelled:
        piece = pieces[min(bisect_right(piece_ends, position), len(pieces) - 1)]
        tokens.append(Token(id=token, text=token_text(text), start=piece.start, confidence=piece.confidence))
        position += len(text)
    return tuple(tokens)


def token_text(text: bytes) -> str:
    r"""A token for people. One that holds a part of a letter only is written as OpenAI writes it, `bytes:\xd0`."""
    try:
        return text.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in text)


def load(directory: Path, *, model: str, variant: str, device: str = "cpu", workers: int = 1) -> WhisperEngine:
    """Load a CTranslate2 model for `workers` calling threads. Nothing is ever fetched from the network.

    Raises ModelError without faster-whisper, ModelFilesInvalid naming the file, DeviceUnavailable for the device.
    """
    prepare(device)
    from molva.engines.whisper_model import MendedWhisperModel

    check_files(directory)
    vocabulary = read_vocabulary(directory / "tokenizer.json")
    with reading(directory / "tokenizer.json", "spells its tokens otherwise than Whisper"):
        spelled = text_tokens(vocabulary)
    try:
        whisper = MendedWhisperModel(
            str(directory),
            device=device,
            compute_type=COMPUTE_TYPES[device],
            num_workers=workers,
            cpu_threads=max(1, usable_cores() // workers),
            local_files_only=True,
        )
    except Exception as error:  # CTranslate2's exceptions share no base of their own
        if "compute type" in str(error):
            raise DeviceUnavailable(f"This {device} device cannot compute in {COMPUTE_TYPES[device]}.") from error
        if "CUDA" in str(error) or "libcu" in str(error):
            raise DeviceUnavailable(
                "'cuda' was found but could not be started. It needs CUDA 12 with cuBLAS and cuDNN 9."
            ) from error
        raise ModelFilesInvalid("model.bin", "is damaged or not a CTranslate2 model") from error
    if not whisper.model.is_multilingual:
        raise ModelFilesInvalid("vocabulary", "is not that of a multilingual Whisper model")
    if whisper.model.n_mels != whisper.feature_extractor.mel_filters.shape[0]:
        raise ModelFilesInvalid(
            "preprocessor_config.json", f"does not give the {whisper.model.n_mels} mels of the model"
        )
    info = EngineInfo(
        model=model,
        family="whisper",
        variant=variant,
        languages=tuple(code for code in whisper.supported_languages if f"<|{code}|>" in vocabulary),
        tasks=tasks(variant),
        vocabulary_size=vocabulary["<|notimestamps|>"] + 1 + N_TIMESTAMPS,
        precision=COMPUTE_TYPES[device],
        device=device,
        punctuation=True,
        may_repeat=True,
    )
    return WhisperEngine(info, whisper, spelled)


def prepare(device: str) -> None:
    """Import the libraries and look for the device. Raises ModelError without faster-whisper, DeviceUnavailable."""
    try:
        import faster_whisper  # noqa: F401
    except ImportError as error:
        raise ModelError("Whisper models need one more package: pip install 'molva[whisper]'.") from error
    check_device(device)


def tasks(variant: str) -> tuple[Task, ...]:
    """What a size can do. Turbo was not trained to translate: it answers in the language it hears."""
    return ("transcribe",) if variant.endswith("turbo") else ("transcribe", "translate")


def check_device(device: str) -> None:
    """Raise DeviceUnavailable where CTranslate2 or this machine lacks the device."""
    import ctranslate2

    if device not in COMPUTE_TYPES:
        raise DeviceUnavailable(f"Whisper cannot run on '{device}'. Choose one of: {', '.join(COMPUTE_TYPES)}.")
    if device == "cuda" and ctranslate2.get_cuda_device_count() == 0:
        raise DeviceUnavailable("No CUDA device was found. Check the NVIDIA driver, or use --device cpu.")


def check_files(directory: Path) -> None:
    """Raise ModelFilesInvalid for a file that is missing, or that CTranslate2 and faster-whisper must not see."""
    for name in ("config.json", "tokenizer.json", "model.bin"):
        if not (directory / name).is_file():
            raise ModelFilesInvalid(name, "is missing")
    if not any((directory / f"vocabulary.{kind}").is_file() for kind in ("txt", "json")):
        raise ModelFilesInvalid("vocabulary", "is missing: neither vocabulary.txt nor vocabulary.json is here")
    check_file(directory / "model.bin", LARGEST_WEIGHTS)
    read_object(directory / "config.json")
    for path in directory.glob("vocabulary.*"):
        if path.suffix == ".json":
            read_json(path)
        elif path.suffix == ".txt":
            read_text(path)
    features = directory / "preprocessor_config.json"
    if features.exists():
        told = read_object(features)
        if told.get("feature_size", 80) not in [80, 128] or any(
            told.get(name, value) != value for name, value in FEATURES.items()
        ):
            raise ModelFilesInvalid(features.name, "does not have the features of Whisper")


def read_vocabulary(path: Path) -> dict[str, int]:
    """Tokens as the vocabulary spells them -> ids. Raises ModelFilesInvalid for what is no tokenizer of Whisper's."""
    from tokenizers import Tokenizer

    check_file(path, LARGEST_TEXT)
    with reading(path, "is damaged"):
        vocabulary: dict[str, int] = Tokenizer.from_file(str(path)).get_vocab()
    if not {"<|endoftext|>", "<|notimestamps|>"} <= vocabulary.keys():
        raise ModelFilesInvalid(path.name, "is not the tokenizer of a Whisper model")
    return vocabulary


def text_tokens(vocabulary: Mapping[str, int]) -> list[bytes]:
    """What each text token stands for, by its id; text comes before all marks."""
    alphabet = byte_alphabet()
    spelled = sorted((token, entry) for entry, token in vocabulary.items() if token < vocabulary["<|endoftext|>"])
    return [bytes(alphabet[letter] for letter in entry) for _, entry in spelled]


def byte_alphabet() -> dict[str, int]:
    """The letters by which the vocabulary spells bytes.

    Printable Latin-1 stands for itself, the n-th other byte is the n-th letter after Latin-1: `bytes_to_unicode` in
    https://github.com/openai/gpt-2/blob/master/src/encoder.py.
    """
    themselves = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = sorted(set(range(0x100)) - set(themselves))
    return {chr(byte): byte for byte in themselves} | {chr(0x100 + n): byte for n, byte in enumerate(others)}
