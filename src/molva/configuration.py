"""Where settings come from: defaults < a TOML file < the environment < flags. The only reader of the environment."""

import difflib
import os
import re
import stat
import tomllib
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, to_json
from pydantic_settings import EnvSettingsSource

from molva.errors import SettingsError
from molva.settings import LogLevel, Settings, at_home, is_reloadable, is_secret

PREFIX = "MOLVA_"
FILE_VARIABLE = "MOLVA_CONFIG"
FILE_NAME = "molva.toml"
"""In the data folder it is read without being named."""

KINDS = {bool: "a boolean", int: "an integer", float: "a float", str: "a string", list: "an array", dict: "a table"}
"""TOML's own words; what is missing here is a date or a time."""


class Origin(NamedTuple):
    """Where a value is from."""

    kind: Literal["default", "file", "environment", "flag"]
    name: str = ""
    """Path of the file, name of the variable or of the flag; empty for a default."""

    def __str__(self) -> str:
        return self.name or self.kind


class Given(NamedTuple):
    """A value that somebody gave."""

    value: Any
    origin: Origin


@dataclass(frozen=True)
class Configuration:
    """Settings, and where each of them is from."""

    settings: Settings
    origins: Mapping[str, Origin]
    """Of every setting."""
    file: Path | None
    """The one that was read."""
    warnings: tuple[str, ...]
    """For the operator: what was ignored, and what others may read."""
    over: Mapping[str, Given]
    """Out of the environment and the flags, which win over any file."""

    def reread(self) -> "Configuration":
        """The same variables and flags over the file as it is now. Raises SettingsError; also where it is gone."""
        file, found = (self.file, _read(self.file)) if self.file else _find(self.over)
        return _put_together(file, found, self.over, ())


class Reload(NamedTuple):
    """What a configuration that was read again means for a server that runs."""

    settings: Settings
    """Those that it has from now on."""
    changed: tuple[str, ...]
    fixed: tuple[str, ...]
    """Settings that would be others after a restart."""


def reload(running: Settings, wanted: Settings) -> Reload:
    """Take over from `wanted` what can change in a running server."""
    different = [name for name in Settings.model_fields if getattr(running, name) != getattr(wanted, name)]
    changed = tuple(name for name in different if is_reloadable(name))
    settings = running.model_copy(update={name: getattr(wanted, name) for name in changed})
    return Reload(settings, changed, tuple(name for name in different if name not in changed))


def read_settings(config: Path | None = None, **flags: Any) -> Settings:
    """Settings alone; see `read_configuration`."""
    return read_configuration(config, **flags).settings


def read_configuration(config: Path | None = None, **flags: Any) -> Configuration:
    """Settings from the file, the environment and `flags`; flags that are None were not given.

    The file is `config`, else `MOLVA_CONFIG`, else `molva.toml` in the data folder where there is one. Raises
    SettingsError with a line for each problem.
    """
    given, warnings = _given_by_environment()
    for name, value in flags.items():
        if value is not None:
            given[name] = Given(value, Origin("flag", f"--{name.replace('_', '-')}"))
    named = config or (Path(variable) if (variable := os.environ.get(FILE_VARIABLE)) else None)
    if named is None:
        file, found = _find(given)
    else:
        file = at_home(named).absolute()
        found = _read(file)
    return _put_together(file, found, given, warnings)


def shown(name: str, value: object) -> Any:
    """A setting's value as people and logs may see it, fit for JSON."""
    if value is None:
        return None
    return "********" if is_secret(name) else TypeAdapter(Any).dump_python(value, mode="json")


# The file.


def _find(given: Mapping[str, Given]) -> tuple[Path | None, dict[str, Any]]:
    """The file in the data folder, and what is in it."""
    folder = given["data_dir"].value if "data_dir" in given else Settings.model_fields["data_dir"].default
    file = (at_home(Path(folder)) / FILE_NAME).absolute()
    try:
        if not file.exists():
            return None, {}
    except OSError:  # a folder that may not be looked into; whoever needs it says so
        return None, {}
    values = _read(file)
    if "data_dir" in values:
        raise SettingsError(
            f"{file}: data_dir: a file in the data folder cannot name another one. "
            f"Name this file with --config or {FILE_VARIABLE}, or give --data-dir."
        )
    return file, values


def _read(file: Path) -> dict[str, Any]:
    """Keys and values, each of them valid by itself. Raises SettingsError."""
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{file}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{file}: is not TOML: it is not UTF-8") from None
    except ValueError as error:  # tomllib's own, and Python's for an integer of thousands of digits
        raise SettingsError(f"{file}: is not TOML: {error}") from None
    except RecursionError:
        raise SettingsError(f"{file}: is not TOML: it is nested too deeply") from None
    problems = [problem for name, value in values.items() if (problem := _problem_with(name, value))]
    if not problems:
        try:
            Settings(**values)
        except ValidationError as error:
            # What is wrong with settings together may be right with the flags.
            problems = [f"{_name(problem)}: {_message(problem)}" for problem in _details(error) if problem["loc"]]
    if problems:
        raise SettingsError("\n".join(f"{file}: {problem}" for problem in problems))
    return values


def _problem_with(name: str, value: object) -> str | None:
    """What is wrong with a key or its value's kind. Stricter than variables and flags, which are text anyway."""
    if name not in Settings.model_fields:
        return f"{name}: there is no such setting{_suggestion(name, {key: key for key in Settings.model_fields})}"
    kind = KINDS.get(type(value), "a date or time")
    expected: TypeAdapter[Any] = TypeAdapter(Settings.model_fields[name].rebuild_annotation())
    try:
        if kind not in KINDS.values():
            expected.validate_json("{}", strict=True)  # JSON has no dates: a table is as wrong
        expected.validate_json(to_json(value, inf_nan_mode="constants"), strict=True)
    except ValidationError as error:
        problem = _details(error)[0]
        is_kind = problem["type"].endswith("_type") and len(problem["loc"]) == 0
        return f"{_name(problem, name)}: {_message(problem)}{f', not {kind}' if is_kind else ''}"
    return None


def _exposed(file: Path, values: Iterable[str]) -> list[str]:
    secrets = [name for name in values if is_secret(name)]
    with suppress(OSError):  # it was there a moment ago
        if secrets and file.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
            return [f"{file} holds {' and '.join(secrets)}, and other users can read it: chmod 600 {file}"]
    return []


# The environment.


class _Foreign(NamedTuple):
    """A variable of other servers. Shells and other programs have them too, so that nonsense is no error."""

    setting: str
    take: Callable[[str], str | None]
    """The value; None for one that is not meant for us."""
    expected: str | None
    """What a warning asks for; without one there is none."""


def _port(text: str) -> str | None:
    return text if re.fullmatch(r"\d{1,5}", text, re.ASCII) and int(text) < 2**16 else None


def _host(text: str) -> str | None:
    try:
        return str(ip_address(text.strip("[]")))
    except ValueError:
        return text if text.lower() == "localhost" else None


FOREIGN = {
    "PORT": _Foreign("port", _port, "a port"),
    # Shells and toolchains keep the machine's name in it, always: nothing to warn of.
    "HOST": _Foreign("host", _host, None),
    "LOG_LEVEL": _Foreign(
        "log_level",
        lambda text: text.lower() if text.lower() in get_args(LogLevel) else None,
        f"one of {', '.join(get_args(LogLevel))}",
    ),
    "MODELS_DIR": _Foreign("model_dir", lambda text: text if Path(text).is_absolute() else None, "an absolute path"),
}
"""Below `MOLVA_…`, above the file."""


def _given_by_environment() -> tuple[dict[str, Given], tuple[str, ...]]:
    given: dict[str, Given] = {}
    warnings = []
    problems = []
    for variable, foreign in FOREIGN.items():
        if text := os.environ.get(variable):
            if (value := foreign.take(text)) is not None:
                given[foreign.setting] = Given(value, Origin("environment", variable))
            elif foreign.expected is not None:
                warnings.append(f"{variable} is ignored: it is not {foreign.expected}")
    source = EnvSettingsSource(Settings)
    for name, field in Settings.model_fields.items():
        variable = PREFIX + name.upper()
        raw, _, is_complex = source.get_field_value(field, name)
        if raw is None:
            continue
        if not _is_text(raw):
            problems.append(f"{variable}: is not UTF-8")
            continue
        try:
            value = source.prepare_field_value(name, field, raw, is_complex)
        except (ValueError, RecursionError):
            problems.append(f'{variable}: a list is written as JSON, such as ["one", "two"]')
        else:
            given[name] = Given(value, Origin("environment", variable))
    if problems:
        raise SettingsError("\n".join(problems))
    return given, (*warnings, *_unknown_variables())


def _is_text(value: str) -> bool:
    """Whether this can be written down: what is no UTF-8 in the environment comes as surrogates."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _unknown_variables() -> list[str]:
    """Warned of and no more: a shell may hold some for another version."""
    known = {name.upper(): PREFIX + name.upper() for name in ("config", *Settings.model_fields)}
    return [
        f"{variable} is ignored: there is no such setting{_suggestion(name, known)}"
        for variable in sorted(os.environ)
        if variable.upper().startswith(PREFIX) and (name := variable.upper().removeprefix(PREFIX)) not in known
    ]


# All together.


def _put_together(
    file: Path | None, found: Mapping[str, Any], over: Mapping[str, Given], warnings: tuple[str, ...]
) -> Configuration:
    given = {name: Given(value, Origin("file", str(file))) for name, value in found.items()} | dict(over)
    try:
        settings = Settings(**{name: value for name, (value, _) in given.items()})
    except ValidationError as error:
        raise SettingsError("\n".join(_line(problem, given) for problem in _details(error))) from None
    if file is not None:
        warnings = (*warnings, *_exposed(file, found))
    origins = {name: given[name].origin if name in given else Origin("default") for name in Settings.model_fields}
    return Configuration(settings, origins, file, warnings, over)


def _line(problem: ErrorDetails, given: Mapping[str, Given]) -> str:
    """What is wrong, behind where it is from."""
    name = str(problem["loc"][0] if problem["loc"] else problem.get("ctx", {}).get("setting"))
    if name not in given:
        return _message(problem)
    origin = given[name].origin
    key = f"{_name(problem, name)}: " if origin.kind == "file" and problem["loc"] else ""
    return f"{origin}: {key}{_message(problem)}"


def _details(error: ValidationError) -> list[ErrorDetails]:
    return error.errors(include_input=False, include_url=False)


def _name(problem: ErrorDetails, name: str = "") -> str:
    return ".".join(str(part) for part in ([name] if name and name not in problem["loc"] else []) + [*problem["loc"]])


def _message(problem: ErrorDetails) -> str:
    if problem["type"] == "extra_forbidden":
        return "there is no such setting"
    return problem["msg"].removeprefix("Value error, ")


def _suggestion(name: str, known: Mapping[str, str]) -> str:
    """`known` has names, and what is suggested for what is nearly one."""
    close = difflib.get_close_matches(name.replace("-", "_"), known, n=1)
    return f". Did you mean {known[close[0]]}?" if close else ""
