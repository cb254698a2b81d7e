"""Writes a GigaAM v3 RNN-T model of the real size with random weights: `python -m bench.full_size DIR`.

Speed does not depend on what the weights are, as long as as many symbols are emitted as in speech, so this measures
what the published model would. Its text is nonsense. The layout is the published one; there is no `v3_ctc.onnx`.
"""

import argparse
import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import onnx

from bench import gigaam_graph
from bench.gigaam_graph import Array, Sizes, Weights
from molva.engines.gigaam.encoder import run_encoder
from molva.engines.gigaam.features import SPECS, log_mel
from molva.engines.gigaam.rnnt import Transducer, read_joint, read_predictor
from molva.engines.gigaam.vocabulary import BLANK, WORD_MARK
from molva.engines.onnx import open_session
from molva.runtime.loading import sample_speech
from molva.samples import seconds

SEED = 20240229

SYMBOLS_PER_SECOND = 4.0
"""What trained models emit over a recording with its pauses: 3 to 5."""

SYMBOLS_PER_WORD = 6
"""With the word mark."""

ROUNDS = 4
"""Of calibration: the bias of the blank and that of the word mark move each other a little."""

MAX_TOKENS_PER_STEP = 1
"""Trained joints ask for blank after a symbol; a random one would emit the most that is allowed, at few frames. The
cost of a symbol is the same."""

CONFIG = {
    "model_type": "gigaam",
    "version": "v3",
    "features_size": 64,
    "subsampling_factor": 4,
    "max_tokens_per_step": MAX_TOKENS_PER_STEP,
    "made_by": "bench.full_size 1, random weights",
}

GAINS = {"linear_out": 0.2, "pred.": 0.5}
"""Parts of the names of weights that are smaller. Random attention averages over the window and would make all frames
alike; random predictors would outweigh the encoder."""

LETTERS = (WORD_MARK, *(chr(code) for code in range(ord("а"), ord("я") + 1)), BLANK)


def random_weights(name: str, shape: tuple[int, ...]) -> Array:
    """Weights that keep the variance of what goes through them; equal for equal names.

    Norms begin as they do in training: scale one, shift none.
    """
    if ".norm_" in name or "batch_norm" in name:
        return np.full(shape, name.endswith("weight"), np.float32)
    if name.endswith("bias"):
        return np.zeros(shape, np.float32)
    noise = np.random.default_rng([SEED, zlib.crc32(name.encode())])
    gain = next((value for part, value in GAINS.items() if part in name), 1.0)
    if name == "embed.weight":
        n_in = 1
    elif name.startswith("lstm"):
        n_in = shape[-1]
    else:
        n_in = int(np.prod(shape[1:])) if "conv" in name else shape[0]
    return noise.standard_normal(shape, np.float32) * np.float32(gain / np.sqrt(n_in))


@dataclass(frozen=True)
class _Adjusted:
    """Random weights, but for those that calibration has chosen."""

    chosen: dict[str, Array] = field(default_factory=dict)

    def __call__(self, name: str, shape: tuple[int, ...]) -> Array:
        return self.chosen[name] if name in self.chosen else random_weights(name, shape)


def write_model(folder: Path, sizes: Sizes) -> float:
    """Write all files and return the symbols per second; config.json comes last and tells that the others are whole."""
    folder.mkdir(parents=True, exist_ok=True)
    encoder, decoder, joint = (folder / f"v3_rnnt_{part}.onnx" for part in ("encoder", "decoder", "joint"))
    onnx.save(gigaam_graph.encoder(sizes, random_weights), encoder)
    onnx.save(gigaam_graph.decoder(sizes, random_weights), decoder)
    encoded = encode_sample(encoder)
    chosen = centred_projection(encoded, sizes)
    write_joint(joint, sizes, chosen)
    head = Head(decoder, joint, encoded)
    output_bias = calibrated_bias(head)
    write_joint(joint, sizes, {**chosen, "joint_net.joint_net.1.bias": output_bias})
    lines = (f"{letter} {number}\n" for number, letter in enumerate(LETTERS))
    (folder / "v3_vocab.txt").write_text("".join(lines), encoding="utf-8")
    (folder / "config.json").write_text(json.dumps(CONFIG, indent=2), encoding="utf-8")
    return len(head.tokens(output_bias)) / seconds(sample_speech().size)


def write_joint(path: Path, sizes: Sizes, chosen: dict[str, Array]) -> None:
    """Write the joint with some weights chosen."""
    weights: Weights = _Adjusted(chosen)
    onnx.save(gigaam_graph.joint(sizes, weights), path)


def encode_sample(encoder: Path) -> Array:
    """Encoder frames of the shipped clip, shape (n_frames, width)."""
    frames: Array = run_encoder(open_session(encoder), [log_mel(sample_speech(), SPECS["v3"])])[0].T
    if not np.isfinite(frames).all():
        raise RuntimeError("the random encoder overflows")
    return frames


def centred_projection(encoded: Array, sizes: Sizes) -> dict[str, Array]:
    """An encoder projection that sees what differs between frames.

    Frames of a random encoder have most in common, and without this every frame would emit the same.
    """
    weight = random_weights("enc.weight", (sizes.width, sizes.joint))
    projected = encoded @ weight
    weight = weight / projected.std(axis=0)
    return {"enc.weight": weight, "enc.bias": -(encoded @ weight).mean(axis=0)}


@dataclass(frozen=True)
class Head:
    """Predictor and joint on the disk, over the encoder frames of the clip."""

    decoder: Path
    joint: Path
    encoded: Array

    def tokens(self, bias: Array) -> list[int]:
        """What is emitted with another output bias."""
        transducer = self._transducer(bias)
        return [emission.token for emission in transducer.decode(self.encoded)]

    def mean_logits(self) -> Array:
        """Of each token over all frames, before anything is said, shape (n_tokens,)."""
        joint = self._transducer(np.zeros(len(LETTERS), np.float32)).joint
        mean: Array = (np.maximum(self.encoded @ joint.encoder + joint.bias, 0) @ joint.output).mean(axis=0)
        return mean

    def _transducer(self, bias: Array) -> Transducer:
        joint = replace(read_joint(self.joint), output_bias=bias)
        return Transducer(read_predictor(self.decoder), joint, len(LETTERS) - 1, MAX_TOKENS_PER_STEP)


def calibrated_bias(head: Head) -> Array:
    """The output bias with which the clip gives symbols and words as speech does, found by bisection."""
    bias = -head.mean_logits()
    wanted = SYMBOLS_PER_SECOND * seconds(sample_speech().size)
    for _ in range(ROUNDS):
        bias[-1] = bisect(lambda value: len(head.tokens(changed(bias, -1, value))) > wanted)
        bias[0] = -bisect(lambda value: head.tokens(changed(bias, 0, -value)).count(0) * SYMBOLS_PER_WORD > wanted)
    return bias


def changed(bias: Array, index: int, value: float) -> Array:
    """A copy with one value changed."""
    copy = bias.copy()
    copy[index] = value
    return copy


def bisect(too_low: Callable[[float], bool]) -> float:
    """The value in -50..50 at which `too_low` turns false."""
    low, high = -50.0, 50.0
    while high - low > 0.01:
        middle = (low + high) / 2
        low, high = (middle, high) if too_low(middle) else (low, middle)
    return high


def is_complete(folder: Path) -> bool:
    """Whether this very model is there already."""
    try:
        return bool(json.loads((folder / "config.json").read_text(encoding="utf-8")) == CONFIG)
    except (OSError, ValueError):
        return False


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m bench.full_size", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="DIR", help="where the model goes; 0.9 GB")
    folder: Path = parser.parse_args().folder
    if is_complete(folder):
        print(f"{folder} has it already")
        return
    rate = write_model(folder, Sizes())
    print(f"{folder}: written, {rate:.1f} symbols per second on the shipped clip")


if __name__ == "__main__":
    main()
