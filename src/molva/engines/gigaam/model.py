"""The GigaAM engine: features -> encoder -> CTC or RNN-T -> text, tokens and words."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from molva.engines.base import EngineInfo, Hypothesis, Options, Token
from molva.engines.files import read_object
from molva.engines.gigaam.ctc import Emission, decode_ctc
from molva.engines.gigaam.encoder import Encoder, batches_by_length, run_encoder
from molva.engines.gigaam.features import HOP, SPECS, Features, FeatureSpec, log_mel
from molva.engines.gigaam.rnnt import Transducer, read_joint, read_predictor
from molva.engines.gigaam.vocabulary import Vocabulary, group_words, join_text, read_vocabulary
from molva.engines.onnx import open_sessions
from molva.errors import InferenceError, ModelFilesInvalid
from molva.samples import SAMPLE_RATE, Samples
from molva.transcript import UNDETERMINED

BATCH_SIZE_ON_ACCELERATOR = 16
PADDING = 0.2
"""Of the shortest window of a batch, where the graph has a mask. Windows end in pauses, so few are of one length."""
FRAMES_OF_TRIAL = 16


@dataclass(frozen=True)
class GigaamFiles:
    """Where the files of one model are. A CTC model is one graph; an RNN-T model has a decoder and a joint too."""

    encoder: Path
    vocabulary: Path
    config: Path | None = None
    decoder: Path | None = None
    joint: Path | None = None


@dataclass(frozen=True)
class GigaamConfig:
    """What the published `config.json` says; without one, the file names tell the generation."""

    version: str
    subsampling_factor: int = 4
    max_tokens_per_step: int = 10

    @property
    def seconds_per_frame(self) -> float:
        """Length of one encoder frame."""
        return HOP * self.subsampling_factor / SAMPLE_RATE


class GigaamEngine:
    """A loaded model. Thread-safe: the encoder is, and everything else is read only."""

    def __init__(
        self,
        info: EngineInfo,
        config: GigaamConfig,
        encoder: Encoder,
        vocabulary: Vocabulary,
        transducer: Transducer | None,
    ) -> None:
        self.info = info
        self._config = config
        self._spec: FeatureSpec = SPECS["v2" if config.version == "v2" else "v3"]
        self._encoder = encoder
        self._vocabulary = vocabulary
        self._transducer = transducer

    def transcribe(self, batch: Sequence[Samples], options: Options) -> list[Hypothesis]:
        """See `Engine.transcribe`."""
        self.info.check(options)
        features = [log_mel(window, self._spec) for window in batch]
        hypotheses: dict[int, Hypothesis] = {}
        # The published encoder has no attention mask, so padding would change its result.
        padding = 0.0 if self.info.equal_lengths else PADDING
        for indices in batches_by_length([feature.shape[1] for feature in features], self.info.batch_size, padding):
            for index, frames in zip(indices, self._encode([features[i] for i in indices]), strict=True):
                hypotheses[index] = self._hypothesis(self._emissions(frames), options)
        return [hypotheses[i] for i in range(len(batch))]

    def _encode(self, features: Sequence[Features]) -> list[NDArray[np.float32]]:
        """Encoder frames (RNN-T) or log-probabilities (CTC) of each, shape (n_frames, n_encoder or n_tokens)."""
        lengths = [feature.shape[1] for feature in features]
        if max(lengths) == 0:
            return [np.zeros((0, len(self._vocabulary)), np.float32)] * len(features)
        try:
            frames = self._encoder.run(features)
        except Exception as error:  # onnxruntime's exceptions share no base of their own
            raise InferenceError from error
        if frames.size and not np.isfinite(frames.max()):  # of what is not a number, the maximum is none either
            raise InferenceError("The encoder gave values that are no numbers: its weights are damaged.")
        by_frame = frames if self._transducer is None else frames.transpose(0, 2, 1)
        if min(lengths) == max(lengths):
            return list(by_frame)
        subsampling = self._config.subsampling_factor
        return [row[: math.ceil(length / subsampling)] for row, length in zip(by_frame, lengths, strict=True)]

    def _emissions(self, frames: NDArray[np.float32]) -> list[Emission]:
        if len(frames) == 0:
            return []
        if self._transducer is None:
            return decode_ctc(frames, self._vocabulary.blank)
        return self._transducer.decode(frames)

    def _hypothesis(self, emissions: Sequence[Emission], options: Options) -> Hypothesis:
        tokens = tuple(
            Token(
                id=emission.token,
                text=self._vocabulary.pieces[emission.token],
                start=round(emission.frame * self._config.seconds_per_frame, 3),
                confidence=emission.confidence,
            )
            for emission in emissions
        )
        languages = self.info.languages
        language = options.language or (languages[0] if len(languages) == 1 else UNDETERMINED)
        return Hypothesis(
            text=join_text(tokens),
            tokens=tokens,
            words=group_words(tokens),
            language=language,
            avg_logprob=fmean(math.log(max(token.confidence, 1e-9)) for token in tokens) if tokens else None,
        )


def load_gigaam(
    files: GigaamFiles,
    *,
    model: str,
    variant: str,
    languages: tuple[str, ...] = ("ru",),
    punctuation: bool = False,
    precision: str = "fp32",
    device: str = "cpu",
    rebuilt: bool = False,
    threads: int = 1,
) -> GigaamEngine:
    """Load a model and check its files against each other.

    `rebuilt`: the encoder is one of `rebuild`; on a CPU such a one may take `threads` threads for a lone short window,
    on an accelerator windows of other lengths beside it.
    Raises ModelFilesInvalid naming the file that does not fit, DeviceUnavailable for the device.
    """
    vocabulary = read_vocabulary(files.vocabulary)
    config = read_config(files)
    transducer = None
    if files.decoder is not None and files.joint is not None:
        predictor, joint = read_predictor(files.decoder), read_joint(files.joint)
        transducer = Transducer(predictor, joint, vocabulary.blank, config.max_tokens_per_step)
        check_head(files.vocabulary, files.decoder, files.joint, vocabulary, transducer)
    # Of other graphs a second session would take the memory of the weights once more.
    packed = rebuilt and precision != "fp16"
    counts = [1, threads] if packed and threads > 1 else [1]
    sessions = open_sessions(files.encoder, device, threads=counts, as_saved=packed)
    encoder = Encoder(*sessions, bound=device == "cuda")
    check_encoder(files.encoder, sessions[0], vocabulary, transducer)
    info = EngineInfo(
        model=model,
        family="gigaam",
        variant=variant,
        languages=languages,
        tasks=("transcribe",),
        vocabulary_size=len(vocabulary),
        precision=precision,
        device=device,
        punctuation=punctuation,
        batch_size=1 if device == "cpu" else BATCH_SIZE_ON_ACCELERATOR,
        equal_lengths=not rebuilt,
        longest_wide_s=encoder.longest_wide_s,
    )
    return GigaamEngine(info, config, encoder, vocabulary, transducer)


def read_config(files: GigaamFiles) -> GigaamConfig:
    """Read `config.json`, or tell the generation from the encoder's file name: `v3_…` is v3, all else v2."""
    if files.config is None:
        return GigaamConfig(version="v3" if files.encoder.name.startswith("v3") else "v2")
    fields = read_object(files.config)
    known = {name: fields[name] for name in GigaamConfig.__dataclass_fields__ if name in fields}
    config = GigaamConfig(**{"version": "v2", **known})
    n_mels = fields.get("features_size", SPECS["v3"].n_mels)
    if config.version not in list(SPECS) or n_mels != SPECS["v3"].n_mels:
        told = f"version {str(config.version)[:40]!r} with {str(n_mels)[:40]!r} mels"
        raise ModelFilesInvalid(files.config.name, f"{told} is not supported")
    # A head that never gives the blank takes as many steps at each frame as it may.
    if not all(type(n) is int and 0 < n <= 100 for n in (config.subsampling_factor, config.max_tokens_per_step)):
        raise ModelFilesInvalid(
            files.config.name, "subsampling_factor and max_tokens_per_step must be whole numbers from 1 to 100"
        )
    return config


def check_head(
    vocabulary_file: Path, decoder_file: Path, joint_file: Path, vocabulary: Vocabulary, transducer: Transducer
) -> None:
    """Raise ModelFilesInvalid for whichever of vocabulary, decoder and joint disagrees with the other two."""
    predictor, joint = transducer.predictor, transducer.joint
    n_vocabulary, n_decoder, n_joint = len(vocabulary), len(predictor.token_gates), joint.output.shape[1]
    if not n_vocabulary == n_decoder == n_joint:
        odd_one = vocabulary_file
        if n_vocabulary == n_decoder:
            odd_one = joint_file
        elif n_vocabulary == n_joint:
            odd_one = decoder_file
        sizes = f"vocabulary {n_vocabulary}, decoder {n_decoder}, joint {n_joint} tokens"
        raise ModelFilesInvalid(odd_one.name, f"does not belong to the other files: {sizes}")
    if predictor.n_hidden != joint.predictor.shape[0]:
        raise ModelFilesInvalid(
            decoder_file.name,
            f"has a state of {predictor.n_hidden}, but the joint takes {joint.predictor.shape[0]}",
        )


def check_encoder(
    file: Path, session: onnxruntime.InferenceSession, vocabulary: Vocabulary, transducer: Transducer | None
) -> None:
    """Raise ModelFilesInvalid where a short run shows that the encoder does not fit features, head and vocabulary.

    The graphs' declared shapes leave axes open, so only a run tells.
    """
    n_mels = SPECS["v3"].n_mels
    try:
        output = run_encoder(session, [np.zeros((n_mels, FRAMES_OF_TRIAL), np.float32)])
    except Exception as error:  # onnxruntime's exceptions share no base of their own
        raise ModelFilesInvalid(
            file.name, f"does not take features (batch, {n_mels}, frames) and their lengths"
        ) from error
    if transducer is None:
        axis, wanted, what = 2, len(vocabulary), "the vocabulary has"
    else:
        axis, wanted, what = 1, transducer.joint.encoder.shape[0], "the joint takes"
    if output.ndim != 3 or output.shape[axis] != wanted:
        raise ModelFilesInvalid(file.name, f"gives an output of shape {output.shape}, but {what} {wanted}")
    if output.shape[0] != 1 or output.shape[3 - axis] > FRAMES_OF_TRIAL:
        raise ModelFilesInvalid(file.name, f"gives an output of shape {output.shape} for {FRAMES_OF_TRIAL} frames")
    if output.dtype != np.float32 or not np.isfinite(output).all():
        raise ModelFilesInvalid(file.name, "gives values that are no numbers")
