"""`molva models`: which models there are, and getting and removing them."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.filesize import decimal

from molva.cli.console import show_downloads, stderr
from molva.models.catalog import DEFAULT_MODEL, EVERYTHING, ModelSpec, find_any
from molva.models.store import InstalledModel, ModelStore

app = typer.Typer(help="List, get, check and remove models.", no_args_is_help=True)


def configured_model_dir() -> Path:
    """Where `molva serve` with the same environment would look."""
    from molva.configuration import read_settings

    return read_settings(model_dir=None).models


ModelDir = Annotated[
    Path,
    typer.Option(
        "--model-dir",
        envvar="MOLVA_MODEL_DIR",
        default_factory=configured_model_dir,
        show_default="DATA_DIR/models, ~/.molva/models",
        help="Where the models are kept.",
    ),
]
Name = Annotated[str, typer.Argument(metavar="NAME", help="A model of `molva models list`.", show_default=False)]


@app.command("list")
def list_models(
    model_dir: ModelDir,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Show every model molva knows, and where the installed ones are."""
    store = ModelStore(model_dir)
    where = {spec.name: store.locate(spec) for spec in EVERYTHING.values()}
    if as_json:
        typer.echo(json.dumps([_as_dict(spec, where[spec.name]) for spec in EVERYTHING.values()], indent=2))
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("NAME", no_wrap=True)
    table.add_column("LANGUAGES")
    table.add_column("SIZE", justify="right", no_wrap=True)
    table.add_column("LICENCE", no_wrap=True)
    table.add_column("INSTALLED", overflow="fold")
    for spec in EVERYTHING.values():
        installed = where[spec.name]
        table.add_row(
            f"{spec.name} (default)" if spec.name == DEFAULT_MODEL else spec.name,
            " ".join(spec.languages) or "any" if len(spec.languages) < 10 else f"{len(spec.languages)} languages",
            "?" if spec.size_bytes is None else decimal(spec.size_bytes),
            spec.licence,
            str(installed.directory) if installed else "-",
        )
    Console().print(table)


@app.command("pull")
def pull_models(
    model_dir: ModelDir,
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Models of `molva models list`.")],
    endpoint: Annotated[
        str | None,
        typer.Option(
            envvar="HF_ENDPOINT",
            show_default="https://huggingface.co",
            help="The model hub, or a mirror of it. HF_TOKEN holds a token for it.",
        ),
    ] = None,
    quantize: Annotated[bool, typer.Option(help="Rebuild a GigaAM encoder with INT8 weights, once.")] = True,
) -> None:
    """Download models and rebuild their encoders for this machine. What breaks off is gone on with by the next try."""
    from molva.logs import start_logging
    from molva.runtime import loading, provision

    start_logging("info")
    store, hub = ModelStore(model_dir), provision.Hub.from_environment()
    hub = provision.Hub(endpoint or hub.endpoint, hub.token)
    specs = [find_any(name) for name in names]
    for spec in specs:
        with show_downloads(stderr) as progress:
            installed = provision.obtain(spec, store, hub, progress)
        if quantize and spec.family == "gigaam":
            loading.choose_encoder(installed, device="cpu", precision="auto")
        typer.echo(f"{spec.name}: {installed.directory}")


@app.command()
def verify(
    model_dir: ModelDir,
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Only this model.", show_default=False)] = None,
) -> None:
    """Hash the files of the installed models, or of one, and compare with what they must be."""
    from molva.runtime.loading import damaged_rebuilt

    store = ModelStore(model_dir)
    specs = [find_any(name)] if name else [spec for spec in EVERYTHING.values() if store.locate(spec)]
    sound = True
    for spec in specs:
        checks = store.verify(spec)
        for check in checks:
            typer.echo(f"{spec.name}: {check.name}: {check.outcome}")
        outcomes = {check.outcome for check in checks}
        if "mismatch" in outcomes:
            typer.echo(f"Repair: molva models remove {spec.name} --yes && molva models pull {spec.name}", err=True)
        elif "missing" in outcomes:
            typer.echo(f"Repair: molva models pull {spec.name}", err=True)
        sound = sound and outcomes.isdisjoint({"mismatch", "missing"})
        installed = store.locate(spec)
        for folder in damaged_rebuilt(installed) if installed else []:
            typer.echo(f"{spec.name}: {folder.name}: mismatch")
            typer.echo(f"Repair: remove {folder}; it is made anew when it is needed", err=True)
            sound = False
    if not sound:
        raise typer.Exit(1)


@app.command()
def remove(
    model_dir: ModelDir,
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete a model, or what an unfinished download left of it."""
    store = ModelStore(model_dir)
    spec = find_any(name)
    if not yes:
        typer.confirm(f"Delete {name} from {store.directory}?", abort=True)
    store.remove(spec)


@app.command()
def path(model_dir: ModelDir, name: Name) -> None:
    """Print the folder an installed model is in."""
    typer.echo(ModelStore(model_dir).require(find_any(name)).directory)


def _as_dict(spec: ModelSpec, installed: InstalledModel | None) -> dict[str, object]:
    return {
        "name": spec.name,
        "family": spec.family,
        "variant": spec.variant,
        "languages": spec.languages,
        "punctuation": spec.punctuation,
        "size_bytes": spec.size_bytes,
        "licence": spec.licence,
        "repository": spec.repository,
        "default": spec.name == DEFAULT_MODEL,
        "installed": str(installed.directory) if installed else None,
    }
