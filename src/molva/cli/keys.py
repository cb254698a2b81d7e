"""`molva keys`: who may use the server."""

from pathlib import Path
from typing import Annotated

import typer

from molva.keys import KeyFile, Quota

app = typer.Typer(help="Make, list and revoke the keys of the server.", no_args_is_help=True)


DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir", envvar="MOLVA_DATA_DIR", show_default="~/.molva", help="Where the server keeps its data."
    ),
]
Name = Annotated[str, typer.Argument(metavar="NAME", help="Whom or what the key is for.", show_default=False)]


@app.command()
def create(
    name: Name,
    requests_per_minute: Annotated[int | None, typer.Option(min=1, help="Most requests a minute.")] = None,
    audio_seconds_per_day: Annotated[int | None, typer.Option(min=1, help="Most audio a day, in seconds.")] = None,
    concurrent: Annotated[int | None, typer.Option(min=1, help="Most requests and sessions at once.")] = None,
    data_dir: DataDir = None,
) -> None:
    """Make a key and print it. It is shown this once; what is kept cannot be turned back into it."""
    quota = Quota(
        requests_per_minute=requests_per_minute, audio_seconds_per_day=audio_seconds_per_day, concurrent=concurrent
    )
    key = _keys(data_dir).create(name, quota)
    typer.echo(key)
    typer.echo(
        "Keep it now: it cannot be shown again. Clients send it as `Authorization: Bearer KEY`.\n"
        "A running server asks for it from now on, of everybody.",
        err=True,
    )


@app.command("list")
def list_keys(data_dir: DataDir = None) -> None:
    """Show the names of all keys, when they were made, and how much they may use."""
    keys = _keys(data_dir).read()
    if not keys:
        typer.echo("There is no key. `molva keys create NAME` makes one.", err=True)
        return
    width = max(len("NAME"), *(len(key.name) for key in keys))
    typer.echo(f"{'NAME':{width}}  CREATED")
    for key in keys:
        typer.echo(f"{key.name:{width}}  {key.created:%Y-%m-%d %H:%M:%S %Z}{_limits(key.quota)}")


@app.command()
def revoke(name: Name, data_dir: DataDir = None) -> None:
    """Forget a key. Whoever has it is refused at once, also by a running server."""
    if not _keys(data_dir).revoke(name):
        typer.echo(
            "No key is left. A running server goes on asking for one; when it starts anew, it lets everybody in.",
            err=True,
        )


def _limits(quota: Quota) -> str:
    limits = {
        "requests a minute": quota.requests_per_minute,
        "s of audio a day": quota.audio_seconds_per_day,
        "at once": quota.concurrent,
    }
    told = ", ".join(f"{limit} {unit}" for unit, limit in limits.items() if limit is not None)
    return f"  {told}" if told else ""


def _keys(data_dir: Path | None) -> KeyFile:
    """The file that `molva serve` with the same environment reads."""
    from molva.configuration import read_settings

    return KeyFile(read_settings(data_dir=data_dir).key_file)
