"""The model folders of all engines, out of the same random weights."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

from bench import full_size
from bench.gigaam_graph import Sizes

GIGASTT_MANIFEST = """architecture = "rnnt"

[files]
encoder = "encoder.onnx"
encoder_int8 = "encoder_int8.onnx"
decoder = "decoder.onnx"
joint = "joint.onnx"
vocab = "vocab.txt"
"""
"""Under the published names it takes the published files only."""

HEAD = ("v3_rnnt_decoder.onnx", "v3_rnnt_joint.onnx", "v3_vocab.txt", "config.json")


def default_folder() -> Path:
    """Where the models are kept between runs: 3 GB."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "molva-bench"


def prepare(folder: Path) -> None:
    """Make what is missing. Takes 5 minutes the first time."""
    full = folder / "molva"
    if not full_size.is_complete(full):
        _say("making a model of the real size")
        full_size.write_model(full, Sizes())
        for derived in ("matmul.onnx", "matmul-conv.onnx"):
            (folder / derived).unlink(missing_ok=True)
    matmul, matmul_conv = folder / "matmul.onnx", folder / "matmul-conv.onnx"
    encoder = full / "v3_rnnt_encoder.onnx"
    _once(matmul, lambda path: quantize(encoder, path, ["MatMul"]))
    _once(matmul_conv, lambda path: quantize(encoder, path, ["MatMul", "Conv"]))
    plain = {name: full / name for name in HEAD}
    # The head stays FP32: it is 4 MB, and quantising it would not make it faster.
    suffixed = {name.replace(".onnx", ".int8.onnx"): source for name, source in plain.items()}
    _link(folder / "onnx-asr-fp32", {**plain, "v3_rnnt_encoder.onnx": encoder})
    _link(folder / "onnx-asr-int8", {**suffixed, "v3_rnnt_encoder.int8.onnx": matmul})
    short = {name.removeprefix("v3_").removeprefix("rnnt_"): source for name, source in plain.items()}
    for name, quantized in (("gigastt-shipped", matmul_conv), ("gigastt-newest", matmul)):
        _link(folder / name, {**short, "encoder_int8.onnx": quantized})
        (folder / name / "manifest.toml").write_text(GIGASTT_MANIFEST, encoding="utf-8")


def quantize(encoder: Path, target: Path, operators: list[str]) -> None:
    """INT8 by ONNX Runtime's own means: dynamic activations in u8, weights in s8, a scale for each channel."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    _say(f"quantising {' and '.join(operators)} for the peers")
    quantize_dynamic(encoder, target, op_types_to_quantize=operators, per_channel=True, weight_type=QuantType.QInt8)


def _once(target: Path, make: Callable[[Path], None]) -> None:
    """Make a file under another name first, so that it is whole where it is there."""
    if not target.exists():
        unfinished = target.with_suffix(".part")
        make(unfinished)
        unfinished.rename(target)


def _link(folder: Path, files: dict[str, Path]) -> None:
    """Give files other names. Hard links: some engines look where a link leads to."""
    folder.mkdir(exist_ok=True)
    for name, source in files.items():
        link = folder / name
        if not link.exists() or not link.samefile(source):
            link.unlink(missing_ok=True)
            link.hardlink_to(source)


def _say(what: str) -> None:
    print(f"    {what}", file=sys.stderr, flush=True)
