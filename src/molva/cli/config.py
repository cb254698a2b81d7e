"""`molva config`: what the server's settings are, where they are from, and whether a file of them is right."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from molva.cli.options import takes_settings

if TYPE_CHECKING:
    from molva.configuration import Configuration

app = typer.Typer(help="Show the server's settings, and check a file of them.", no_args_is_help=True)


@app.command()
@takes_settings
def show(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    **flags: Any,
) -> None:
    """Print every setting that `molva serve` with the same flags has, and where it is from. Secrets are masked."""
    from molva.configuration import read_configuration

    configuration = read_configuration(**flags)
    _warn(configuration)
    if as_json:
        print(json.dumps(_document(configuration), indent=2))
        return
    rows = _document(configuration)["settings"].items()
    cells = [(name, _text(row["value"]), row["from"], "yes" if row["reloadable"] else "") for name, row in rows]
    cells.insert(0, ("SETTING", "VALUE", "FROM", "SIGHUP"))
    widths = [max(len(row[column]) for row in cells) for column in range(3)]
    for row in cells:
        print("  ".join([*(f"{cell:{width}}" for cell, width in zip(row[:3], widths, strict=True)), row[3]]).rstrip())


@app.command()
def check(
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FILE]", help="The one that `molva serve` would read, if left out.", show_default=False
        ),
    ] = None,
) -> None:
    """Say whether `molva serve` could start with this file and the environment as it is; if not, why not."""
    from molva.configuration import read_configuration
    from molva.errors import SettingsError
    from molva.models.catalog import find
    from molva.models.choice import AUTO, parse_aliases

    configuration = read_configuration(file)
    if configuration.file is None:
        raise SettingsError("There is no configuration file. Name one, or write molva.toml in the data folder.")
    parse_aliases(configuration.settings.alias)
    if configuration.settings.model != AUTO:
        find(configuration.settings.model)
    _warn(configuration)
    print(f"{configuration.file}: ok")


def _warn(configuration: "Configuration") -> None:
    for warning in configuration.warnings:
        typer.echo(f"molva: {warning}", err=True)


def _document(configuration: "Configuration") -> dict[str, Any]:
    from molva.configuration import shown
    from molva.settings import is_reloadable

    return {
        "file": str(configuration.file) if configuration.file else None,
        "settings": {
            name: {
                "value": shown(name, getattr(configuration.settings, name)),
                "origin": origin.kind,
                "from": str(origin),
                "reloadable": is_reloadable(name),
            }
            for name, origin in configuration.origins.items()
        },
    }


def _text(value: object) -> str:
    if value is None or value == []:
        return "-"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
