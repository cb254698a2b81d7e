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
from bench.clips import speech
from bench.gigaam_graph import Array, Sizes, Weights
from molva.engines.gigaam.encoder import run_encoder
from molva.engines.gigaam.features import SPECS, log_mel
from molva.engines.gigaam.rnnt import Transducer, read_joint, read_predictor
from molva.engines.gigaam.vocabulary import BLANK, WORD_MARK
from molva.engines.onnx import open_session
from molva.samples import Samples

SEED = 20240229

SYMBOLS_PER_SECOND = 4.0
"""What trained models emit over a recording with its pauses: 3 to 5."""

CALIBRATION_S = 25.0
"""Of real speech, over which symbols are counted."""

SYMBOLS_PER_WORD = 6
"""With the word mark."""

ROUNDS = 4
"""Of calibration: the threshold and the bias of the word mark move each other a little."""

MAX_TOKENS_PER_STEP = 10
"""As GigaAM has it. The model emits one symbol a frame at most, so engines with another bound emit the same."""

GAIN = 1000.0
"""Of what decides whether a symbol is emitted, over what decides which one."""

SILENCED = 100 * GAIN
"""What silences one of the units that decide, whatever the frame."""

NEVER = 100.0
"""Bias of the blank: more than any symbol reaches by chance."""

CONFIG = {
    "model_type": "gigaam",
    "version": "v3",
    "features_size": 64,
    "subsampling_factor": 4,
    "max_tokens_per_step": MAX_TOKENS_PER_STEP,
    "made_by": "bench.full_size 2, random weights",
}

GAINS = {"linear_out": 0.2, "pred.": 0.5}
"""Parts of the names of weights that are smaller. Random attention averages over the window and would make all frames
alike; random predictors would outweigh the encoder."""

WATCHERS = [0, 1]
"""Units of the joint that decide whether a symbol is emitted."""

SATURATED = 30.0
"""Where sigmoids and tanh are 0 or 1."""

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
    encoded = encode(encoder, speech(CALIBRATION_S))
    chosen = alternating(sizes) | watching(encoded, sizes)
    write_head(decoder, joint, sizes, chosen)
    head = Head(decoder, joint, encoded)
    threshold, output_bias = calibrate(head)
    bias = chosen["enc.bias"].copy()
    bias[WATCHERS] -= GAIN * threshold
    write_head(decoder, joint, sizes, chosen | {"enc.bias": bias, "joint_net.joint_net.1.bias": output_bias})
    lines = (f"{letter} {number}\n" for number, letter in enumerate(LETTERS))
    (folder / "v3_vocab.txt").write_text("".join(lines), encoding="utf-8")
    (folder / "config.json").write_text(json.dumps(CONFIG, indent=2), encoding="utf-8")
    return len(head.tokens(0.0, output_bias)) / CALIBRATION_S


def write_head(decoder: Path, joint: Path, sizes: Sizes, chosen: dict[str, Array]) -> None:
    """Write decoder and joint with some weights chosen."""
    weights: Weights = _Adjusted(chosen)
    onnx.save(gigaam_graph.decoder(sizes, weights), decoder)
    onnx.save(gigaam_graph.joint(sizes, weights), joint)


def encode(encoder: Path, samples: Samples) -> Array:
    """Encoder frames of a window, shape (n_frames, width)."""
    frames: Array = run_encoder(open_session(encoder), [log_mel(samples, SPECS["v3"])])[0].T
    if not np.isfinite(frames).all():
        raise RuntimeError("the random encoder overflows")
    return frames


def alternating(sizes: Sizes) -> dict[str, Array]:
    """A predictor whose unit 0 tells the parity of the last symbol, and a joint that emits even and odd ones in turn.

    Trained joints ask for blank after a symbol; a random one would emit the most that is allowed, at few frames. Here
    unit 0 of the joint lets even symbols through, unit 1 odd ones; each is silenced after a symbol of its own, and what
    opens the one in a frame closes the other.
    """
    n = sizes.hidden
    even = np.arange(sizes.tokens) % 2 == 0
    embedding = random_weights("embed.weight", (sizes.tokens, n))
    embedding[:, 0] = np.where(even, 1, -1)
    inputs, recurrent = (random_weights(f"lstm.{name}", (1, 4 * n, n)) for name in ("input", "recurrent"))
    bias = np.zeros((1, 8 * n), np.float32)
    recurrent[0, ::n] = inputs[0, ::n] = 0
    bias[0, : 3 * n : n] = SATURATED, SATURATED, -SATURATED  # input and output gate open, nothing remembered
    inputs[0, 3 * n, 0] = SATURATED
    state = np.float32(np.tanh(1.0))

    predictor = random_weights("pred.weight", (n, sizes.joint))
    predictor_bias = np.zeros(sizes.joint, np.float32)
    predictor[:, WATCHERS] = 0
    predictor[0, WATCHERS] = -SILENCED, SILENCED
    predictor_bias[WATCHERS] = -state * SILENCED
    output = random_weights("joint_net.joint_net.1.weight", (sizes.joint, sizes.tokens))
    output[WATCHERS] = even, ~even
    output[WATCHERS, -1] = 0
    return {
        "embed.weight": embedding,
        "lstm.input": inputs,
        "lstm.recurrent": recurrent,
        "lstm.bias": bias,
        "pred.weight": predictor,
        "pred.bias": predictor_bias,
        "joint_net.joint_net.1.weight": output,
    }


def watching(encoded: Array, sizes: Sizes) -> dict[str, Array]:
    """An encoder projection that sees what differs between frames.

    Frames of a random encoder have most in common, and without this every frame would emit the same. The units that
    decide on symbols look at the direction in which the frames change sides most often, from both sides.
    """
    weight = random_weights("enc.weight", (sizes.width, sizes.joint))
    projected = encoded @ weight
    weight = weight / projected.std(axis=0)
    bias = -(encoded @ weight).mean(axis=0)
    sides = np.signbit(encoded @ weight + bias)
    busiest = np.count_nonzero(sides[1:] != sides[:-1], axis=0).argmax()
    signs = np.array([GAIN, -GAIN], np.float32)
    weight[:, WATCHERS] = weight[:, [busiest]] * signs
    bias[WATCHERS] = bias[busiest] * signs
    return {"enc.weight": weight, "enc.bias": bias}


@dataclass(frozen=True)
class Head:
    """Predictor and joint on the disk, over encoder frames."""

    decoder: Path
    joint: Path
    encoded: Array

    def tokens(self, threshold: float, output_bias: Array) -> list[int]:
        """What is emitted with another threshold of the units that decide on symbols, and another output bias."""
        joint = read_joint(self.joint)
        bias = joint.bias.copy()
        bias[WATCHERS] -= GAIN * threshold
        changed = replace(joint, bias=bias, output_bias=output_bias)
        transducer = Transducer(read_predictor(self.decoder), changed, len(LETTERS) - 1, MAX_TOKENS_PER_STEP)
        return [emission.token for emission in transducer.decode(self.encoded)]

    def mean_logits(self) -> Array:
        """Of each token over all frames by what decides which one, shape (n_tokens,)."""
        joint = read_joint(self.joint)
        activations = np.maximum(self.encoded @ joint.encoder + joint.bias, 0)
        activations[:, WATCHERS] = 0
        mean: Array = (activations @ joint.output).mean(axis=0)
        return mean


def calibrate(head: Head) -> tuple[float, Array]:
    """The threshold and output bias with which speech gives symbols and words as people do, found by bisection."""
    bias = -head.mean_logits()
    bias[-1] = NEVER
    wanted = SYMBOLS_PER_SECOND * CALIBRATION_S
    threshold = 0.0

    def has_many_symbols(value: float) -> bool:
        return len(head.tokens(value, bias)) > wanted

    def has_many_words(value: float) -> bool:
        return head.tokens(threshold, changed(bias, 0, -value)).count(0) * SYMBOLS_PER_WORD > wanted

    for _ in range(ROUNDS):
        threshold = max(bisect(has_many_symbols), 0.0)
        bias[0] = -bisect(has_many_words)
    return threshold, bias


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
    print(f"{folder}: written, {rate:.1f} symbols per second in speech")


if __name__ == "__main__":
    main()
