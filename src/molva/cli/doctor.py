"""`molva doctor`."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from molva.cli.serve import setting

if TYPE_CHECKING:
    from rich.console import Console

    from molva.doctor.finding import Finding

STYLES = {"ok": "green", "warning": "yellow", "problem": "bold red"}


def doctor(
    verify: Annotated[bool, typer.Option("--verify", help="Hash the files of the model; reads all of them.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Do not load the model and measure its speed.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    host: Annotated[str | None, setting("host")] = None,
    port: Annotated[int | None, setting("port", "-p", "--port")] = None,
    bind_all: Annotated[bool | None, setting("bind_all", "--bind-all")] = None,
    model: Annotated[str | None, setting("model")] = None,
    model_dir: Annotated[Path | None, setting("model_dir")] = None,
    data_dir: Annotated[Path | None, setting("data_dir")] = None,
    device: Annotated[str | None, setting("device")] = None,
    precision: Annotated[str | None, setting("precision")] = None,
    workers: Annotated[int | None, setting("workers")] = None,
    pool_size: Annotated[int | None, setting("pool_size")] = None,
) -> None:
    """Say what is wrong with this machine and these settings, and what to change. Changes nothing.

    Exit status: 0 without problems, warnings allowed; 1 otherwise; 2 wrong usage.
    """
    flags = {name: value for name, value in locals().items() if name not in ("verify", "quick", "as_json")}

    from rich.console import Console

    from molva.cli.console import start_logging
    from molva.doctor.examination import examine
    from molva.doctor.finding import Finding, problem
    from molva.errors import SettingsError
    from molva.settings import read_settings

    start_logging("error")
    findings: list[Finding] = []
    console = Console(highlight=False, soft_wrap=True)

    def report(finding: Finding) -> None:
        findings.append(finding)
        if not as_json:
            _show(console, finding)

    try:
        settings = read_settings(**flags)
    except SettingsError as error:
        report(problem("settings", str(error), "Change that flag or variable; docs/settings.md has all of them."))
    else:
        for finding in examine(settings, verify=verify, quick=quick):
            report(finding)
    sound = all(finding.status != "problem" for finding in findings)
    if as_json:
        typer.echo(json.dumps({"sound": sound, "findings": [asdict(finding) for finding in findings]}, indent=2))
    if not sound:
        raise typer.Exit(1)


def _show(console: "Console", finding: "Finding") -> None:
    from rich.text import Text

    line = Text.assemble((f"{finding.status:8}", STYLES[finding.status]), f" {finding.check:12} {finding.message}")
    console.print(line)
    if finding.advice:
        console.print(Text(f"{'':21} → {finding.advice}", style="dim"))
