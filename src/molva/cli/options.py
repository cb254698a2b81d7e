"""The options of commands that take all settings: one for each field of `Settings`, with its description."""

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from molva.settings import Settings, is_secret

SHORT = {"port": "-p"}
CONFIG_HELP = (
    "Settings in a file; see `molva config`. Default: molva.toml in the data folder, where there is one. [MOLVA_CONFIG]"
)


def takes_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command `--config` and a flag for every setting but secrets; those not given are None.

    The values are text and numbers as they came: configuration.py checks them, as it does those of other sources.
    """
    own = [parameter for parameter in inspect.signature(command).parameters.values() if parameter.kind != _REST]
    config = _parameter("config", Path, typer.Option("--config", help=CONFIG_HELP))
    settings = [_setting(name) for name in Settings.model_fields if not is_secret(name)]

    @functools.wraps(command)
    def run(**given: Any) -> None:
        command(**given)

    parameters = [*own, config, *settings]
    # Typer builds a command from these two.
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


_REST = inspect.Parameter.VAR_KEYWORD


def _setting(name: str) -> inspect.Parameter:
    field = Settings.model_fields[name]
    flag = f"--{name.replace('_', '-')}"
    kind = _kind(field.annotation)
    flags = [SHORT[name], flag] if name in SHORT else [f"{flag}/--no-{flag[2:]}" if kind is bool else flag]
    default = "" if field.default in (None, (), False) else f" Default: {field.default}."
    help_text = f"{field.description}{default} [MOLVA_{name.upper()}]"
    return _parameter(name, kind, typer.Option(*flags, help=help_text))


def _kind(annotation: Any) -> Any:
    """What the command line makes of a value; what it has no word for stays text."""
    for plain in (bool, int, float, Path):
        if annotation in (plain, plain | None):
            return plain
    return list[str] if tuple[str, ...] in (annotation, *get_args(annotation)) else str


def _parameter(name: str, kind: Any, option: Any) -> inspect.Parameter:
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, option]
    )
