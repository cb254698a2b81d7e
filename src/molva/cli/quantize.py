"""`molva quantize`."""

import shutil
from typing import Annotated

import typer

from molva.cli.models import ModelDir


def quantize(
    model_dir: ModelDir,
    name: Annotated[str, typer.Argument(help="A GigaAM model.")] = "gigaam-v3-e2e-rnnt",
    precision: Annotated[str, typer.Option(help="int8, as the processor wants it; u8; or fp16, for a GPU.")] = "int8",
    force: Annotated[bool, typer.Option("--force", help="Make it anew where it exists.")] = False,
) -> None:
    """Rebuild a model's encoder with smaller weights for this machine and check it against FP32."""
    from molva.engines.gigaam.rebuild import find_rebuilt
    from molva.errors import ModelError
    from molva.logs import start_logging
    from molva.models.catalog import find
    from molva.models.store import ModelStore
    from molva.runtime import loading

    start_logging("info")
    model = ModelStore(model_dir).require(find(name))
    if model.spec.family != "gigaam":
        raise ModelError(f"{name} is a Whisper model, which is quantised as it loads; there is nothing to make.")
    if precision not in ("int8", "u8", "fp16"):
        raise ModelError(f"--precision {precision} is none of int8, u8, fp16.")
    form = loading.weights_format(precision)
    folder = loading.rebuilt_folder(model, form)
    if force:
        shutil.rmtree(folder, ignore_errors=True)
    elif find_rebuilt(loading.fp32_encoder(model), folder, form):
        print(f"{folder.name} is already here; --force makes it anew.")
        return
    loading.rebuild(model, form)
    print(folder)
