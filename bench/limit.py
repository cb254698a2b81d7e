"""How near the encoder comes to what the machine can multiply: `python -m bench.limit --model-dir DIR`.

DIR is one of `bench.full_size`. The peak is that of ONNX Runtime's matrix products alone, in the encoder's own shapes
and numbers; the encoder is measured in the same rounds. Everything is the median of rounds, so that what else the
machine does meets all of it; the encoder's weights come from memory, those of a product alone from the cache.

The target is one for kernels of AVX2. VNNI multiplies twice as fast, so that all else has a larger share of the time;
there, the precision whose kernels do without it is judged, `u8`, and the other is shown.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Literal

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from bench.gigaam_graph import Sizes
from bench.targets import Target
from molva.engines.cpu import has_wide_accumulation, usable_cores
from molva.engines.gigaam.encoder import run_encoder
from molva.engines.gigaam.features import SPECS, log_mel
from molva.engines.onnx import open_session
from molva.models.catalog import find
from molva.models.store import ModelStore
from molva.runtime.loading import choose_encoder, sample_speech
from molva.samples import SAMPLE_RATE

MODEL = "gigaam-v3-rnnt"
WINDOW_S = 5.0
MIN_PERCENT = 85.0

REPEATS = 5
"""Of a product in one round, whose fastest run counts: the first ones bring its weights into the cache."""

Kind = Literal["fp32", "u8s8", "u8u8"]
KINDS: tuple[Kind, ...] = ("fp32", "u8s8", "u8u8")


@dataclass(frozen=True)
class Product:
    """So many products of (rows, n_in) by (n_in, n_out)."""

    rows: int
    n_in: int
    n_out: int
    count: int

    @property
    def operations(self) -> int:
        """A multiplication and an addition are two."""
        return 2 * self.rows * self.n_in * self.n_out * self.count


def weight_products(sizes: Sizes, frames: int) -> list[Product]:
    """Those of weights, which 8 bits make faster."""
    width, inner = sizes.width, sizes.feed_forward
    return [
        Product(frames, width, inner, 2 * sizes.layers),
        Product(frames, inner, width, 2 * sizes.layers),
        Product(frames, width, width, 7 * sizes.layers),  # 4 of attention, 3 of the convolution module
        Product(frames, sizes.kernel * width, width, 1),
    ]


def other_operations(sizes: Sizes, frames: int) -> int:
    """Of products that stay FP32: attention's scores and sums, and the first convolution."""
    attention = 2 * 2 * frames * frames * sizes.width * sizes.layers
    return attention + 2 * 2 * frames * sizes.n_mels * sizes.kernel * sizes.width


def product_session(product: Product, kind: Kind, threads: int) -> tuple[onnxruntime.InferenceSession, NDArray[Any]]:
    """One product of a constant, and an input for it."""
    noise = np.random.default_rng(0)
    shape = (product.n_in, product.n_out)
    if kind == "fp32":
        weight: NDArray[Any] = noise.standard_normal(shape, np.float32)
        x: NDArray[Any] = noise.standard_normal((product.rows, product.n_in), np.float32)
        operator, kinds = "MatMul", (TensorProto.FLOAT, TensorProto.FLOAT)
    else:
        weight = noise.integers(-127, 128, shape).astype(np.int8)
        weight = weight if kind == "u8s8" else (weight.astype(np.int16) + 128).astype(np.uint8)
        x = noise.integers(0, 256, (product.rows, product.n_in)).astype(np.uint8)
        operator, kinds = "MatMulInteger", (TensorProto.UINT8, TensorProto.INT32)
    graph = helper.make_graph(
        [helper.make_node(operator, ["x", "weight"], ["y"])],
        "product",
        [helper.make_tensor_value_info("x", kinds[0], x.shape)],
        [helper.make_tensor_value_info("y", kinds[1], (product.rows, product.n_out))],
        [numpy_helper.from_array(weight, "weight")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"]), x


def elapsed(work: Callable[[], object], clock: Callable[[], float]) -> float:
    """Seconds by `clock`."""
    started = clock()
    work()
    return clock() - started


class Measurement:
    """Products and encoder by one number of threads, measured round by round."""

    def __init__(self, graph: Path, sizes: Sizes, seconds: float, threads: int) -> None:
        self.threads = threads
        # Processor time is not disturbed by others, but of several threads it also counts those that wait.
        self._clock = time.process_time if threads == 1 else time.perf_counter
        samples = np.resize(sample_speech(), round(seconds * SAMPLE_RATE))
        features = log_mel(samples, SPECS["v3"])
        encoder = open_session(graph, threads=threads, as_saved=True)
        frames = run_encoder(encoder, [features]).shape[2]
        self.products = weight_products(sizes, frames)
        self.other = other_operations(sizes, frames)
        self._work: dict[tuple[Kind, Product] | None, Callable[[], object]] = {
            None: lambda: run_encoder(encoder, [features])
        }
        for kind in KINDS:
            for product in self.products:
                session, x = product_session(product, kind, threads)
                self._work[kind, product] = partial(session.run, None, {"x": x})
        self._times: dict[tuple[Kind, Product] | None, list[float]] = {key: [] for key in self._work}

    def round(self) -> None:
        """The encoder once, and each product so often that its weights are in the cache."""
        for key, work in self._work.items():
            repeats = 1 if key is None else REPEATS
            self._times[key].append(min(elapsed(work, self._clock) for _ in range(repeats)))

    @property
    def encoder_s(self) -> float:
        """What the encoder takes."""
        return median(self._times[None])

    def products_s(self, kind: Kind) -> float:
        """What the products of weights alone would take."""
        return sum(product.count * median(self._times[kind, product]) for product in self.products)

    def peak(self, kind: Kind) -> float:
        """Operations a second."""
        return sum(product.operations for product in self.products) / self.products_s(kind)

    def least_s(self, kind: Kind) -> float:
        """What an encoder of nothing but products would take: those of weights in `kind`, the others in FP32."""
        return self.products_s(kind) + self.other / self.peak("fp32")


@dataclass(frozen=True)
class Share:
    """Of the peak, that the encoder has by one thread."""

    precision: str
    """As the server calls it."""
    judged: bool
    peak: float
    """Operations a second."""
    least_s: float
    """What the products alone take."""
    encoder_s: float

    @property
    def of_peak(self) -> float:
        """0..1."""
        return self.least_s / self.encoder_s


def measure(folder: Path, rounds: int) -> list[Share]:
    """In each precision that has kernels of its own here."""
    wide = has_wide_accumulation()
    return [
        _share(folder, precision, rounds, judged=judged)
        for precision, judged in ([("int8", False), ("u8", True)] if wide else [("int8", True)])
    ]


def kind_of(precision: str) -> Kind:
    """What the encoder's products multiply."""
    return "u8u8" if precision == "u8" else "u8s8"


def _share(folder: Path, precision: str, rounds: int, *, judged: bool) -> Share:
    kind = kind_of(precision)
    measurement = Measurement(_encoder(folder, precision), Sizes(), WINDOW_S, threads=1)
    for _ in range(rounds):
        measurement.round()
    return Share(precision, judged, measurement.peak(kind), measurement.least_s(kind), measurement.encoder_s)


def _encoder(folder: Path, precision: str) -> Path:
    return choose_encoder(ModelStore(folder).require(find(MODEL)), device="cpu", precision=precision).path


def table(shares: Sequence[Share]) -> list[str]:
    """As lines of Markdown."""
    lines = [
        "| precision | peak, 10⁹ operations a second | products alone, ms | encoder, ms | share of the peak |",
        "|---|---|---|---|---|",
    ]
    return lines + [
        f"| {share.precision} | {share.peak / 1e9:.0f} | {share.least_s * 1000:.0f} | {share.encoder_s * 1000:.0f} "
        f"| {share.of_peak:.0%} |"
        for share in shares
    ]


def targets(shares: Sequence[Share]) -> list[Target]:
    """What molva promises of it."""
    return [
        Target(f"encoder's share of the peak, {share.precision}", 100 * share.of_peak, "at least", MIN_PERCENT, " %")
        for share in shares
        if share.judged
    ]


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m bench.limit", description=__doc__)
    parser.add_argument("--model-dir", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=WINDOW_S, help="of audio")
    parser.add_argument("--precision", choices=("int8", "u8"), default="int8", help="of the encoder's weights")
    parser.add_argument("--rounds", type=int, default=25)
    arguments = parser.parse_args()
    graph = _encoder(arguments.model_dir, arguments.precision)
    kind = kind_of(arguments.precision)
    for threads in dict.fromkeys((1, usable_cores())):
        measurement = Measurement(graph, Sizes(), arguments.seconds, threads)
        for _ in range(arguments.rounds):
            measurement.round()
        peaks = ", ".join(f"{each} {measurement.peak(each) / 1e9:.0f}" for each in KINDS)
        least, taken = measurement.least_s(kind), measurement.encoder_s
        print(f"{threads} threads: peak in 10^9 operations a second: {peaks}")
        print(
            f"    encoder, {arguments.seconds:g} s of audio: {taken * 1e3:.0f} ms; products alone {least * 1e3:.0f} ms"
        )
        print(f"    share of the peak: {least / taken:.0%}; real-time factor {taken / arguments.seconds:.4f}")


if __name__ == "__main__":
    main()
