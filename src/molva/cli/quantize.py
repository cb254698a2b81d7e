"""`molva quantize`."""

from typing import Annotated

import typer

from molva.cli.models import ModelDir


def quantize(
    model_dir: ModelDir,
    name: Annotated[str, typer.Argument(help="A GigaAM model.")] = "gigaam-v3-e2e-rnnt",
    force: Annotated[bool, typer.Option("--force", help="Make it anew where it exists.")] = False,
) -> None:
    """Make the INT8 form of a model's encoder and check it against FP32."""
    from molva.errors import ModelError
    from molva.logs import start_logging
    from molva.models.catalog import find
    from molva.models.store import ModelStore
    from molva.runtime import loading

    start_logging("info")
    model = ModelStore(model_dir).require(find(name))
    if model.spec.family != "gigaam":
        raise ModelError(f"{name} is a Whisper model, which is quantised as it loads; there is nothing to make.")
    present = loading.int8_encoder(model)
    if present is not None and not force:
        print(f"{present.name} is already here; --force makes it anew.")
        return
    print(loading.quantize(model))
