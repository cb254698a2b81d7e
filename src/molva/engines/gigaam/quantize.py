"""FP32 encoder -> INT8 encoder, and the proof that it still hears the same.

Weights of matrix products become 8-bit integers per output channel, activations are quantised on the fly. Without
VNNI the CPU adds pairs of u8*s8 products in 16 bits, which saturate with full 8-bit weights and lose most of the
signal, so there the weights get 7 bits.
"""

import logging
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic

from molva.engines.cpu import has_wide_accumulation
from molva.engines.gigaam.encoder import run_encoder
from molva.engines.gigaam.features import SPECS, log_mel
from molva.engines.onnx import open_session
from molva.errors import DiskFull, ModelError, ModelFilesInvalid
from molva.samples import Samples

MIN_AGREEMENT = 0.97
"""Centred cosine to FP32 below which a quantised encoder is not used. Measured: 7-bit 0.992, saturated 0.64."""

WEIGHTS_KEY = "molva.weights"
"""Metadata key of our INT8 graphs: `s7` runs right everywhere, `s8` needs VNNI or ARM."""


def int8_path(encoder: Path) -> Path:
    """Where the INT8 form of `encoder` goes; gigastt and onnx-asr look for this name too."""
    return encoder.with_name(f"{encoder.stem}_int8.onnx")


def quantize_encoder(encoder: Path, speech: Samples, version: str, *, wide: bool) -> float:
    """Write the INT8 form beside `encoder` and return its agreement with it on `speech`.

    The file appears under its name only after it was checked. `wide` is what `has_wide_accumulation` tells.
    Raises ModelFilesInvalid when the result disagrees or the source is damaged, DiskFull, ModelError when the folder
    cannot be written.
    """
    target = int8_path(encoder)
    try:
        with tempfile.TemporaryDirectory(prefix=".quantize-", dir=encoder.parent) as staging:
            result = Path(staging) / target.name
            write_int8(encoder, result, bits=8 if wide else 7)
            agreement = measure_agreement(encoder, result, speech, version)
            if agreement < MIN_AGREEMENT:
                raise ModelFilesInvalid(
                    encoder.name, f"its INT8 form agrees with it only to {agreement:.3f}; use --precision fp32"
                )
            result.replace(target)
    except OSError as error:
        if error.errno == 28:  # ENOSPC
            raise DiskFull(f"No room for the INT8 encoder beside '{encoder.name}'.") from error
        raise ModelError(f"The INT8 encoder cannot be written beside '{encoder.name}': {error.strerror}.") from error
    return agreement


def saturates(quantized: Path) -> bool:
    """Whether an INT8 graph is likely to lose its signal on this CPU; files of other makers count as 8-bit ones."""
    if has_wide_accumulation():
        return False
    metadata: dict[str, str] = open_session(quantized).get_modelmeta().custom_metadata_map
    return metadata.get(WEIGHTS_KEY) != "s7"


def write_int8(source: Path, target: Path, *, bits: int) -> None:
    """Quantise the matrix products of a graph to `bits` (7 or 8) bits, per output channel."""
    logging.disable(logging.WARNING)  # it advises a preprocessing that these graphs do not need
    try:
        quantize_dynamic(
            source,
            target,
            op_types_to_quantize=["MatMul"],
            per_channel=True,
            reduce_range=bits == 7,
            weight_type=QuantType.QInt8,
        )
    except OSError:
        raise
    except Exception as error:  # onnx and protobuf raise their own kinds
        raise ModelFilesInvalid(source.name, "cannot be quantised; it is damaged or not an ONNX graph") from error
    finally:
        logging.disable(logging.NOTSET)
        # ONNX Runtime's own, which it leaves beside the source when it is interrupted.
        source.with_name(f"{source.stem}-inferred.onnx").unlink(missing_ok=True)
    model = onnx.load(target)
    onnx.helper.set_model_props(model, {WEIGHTS_KEY: f"s{bits}"})
    onnx.save(model, target)


def measure_agreement(encoder: Path, quantized: Path, speech: Samples, version: str) -> float:
    """Centred cosine, -1..1, between the outputs of two encoders for the same speech."""
    features = log_mel(speech, SPECS["v2" if version == "v2" else "v3"])
    one, other = (run_encoder(open_session(path), [features]).astype(np.float64) for path in (encoder, quantized))
    one, other = one - one.mean(), other - other.mean()
    return float((one * other).sum() / np.sqrt((one * one).sum() * (other * other).sum()))
