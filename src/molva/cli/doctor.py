"""`molva doctor`."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from molva.cli.options import takes_settings

if TYPE_CHECKING:
    from rich.console import Console

    from molva.doctor.finding import Finding

STYLES = {"ok": "green", "warning": "yellow", "problem": "bold red"}


@takes_settings
def doctor(
    *,
    verify: Annotated[bool, typer.Option("--verify", help="Hash the files of the model; reads all of them.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Do not load the model and measure its speed.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    **flags: Any,
) -> None:
    """Say what is wrong with this machine and these settings, and what to change. Changes nothing.

    Exit status: 0 without problems, warnings allowed; 1 otherwise; 2 wrong usage.
    """
    from rich.console import Console

    from molva.configuration import read_configuration
    from molva.doctor.examination import examine
    from molva.doctor.finding import Finding, problem
    from molva.doctor.finding import warning as caution
    from molva.errors import SettingsError
    from molva.logs import start_logging

    start_logging("error")
    findings: list[Finding] = []
    console = Console(highlight=False, soft_wrap=True)

    def report(finding: Finding) -> None:
        findings.append(finding)
        if not as_json:
            _show(console, finding)

    try:
        configuration = read_configuration(**flags)
    except SettingsError as error:
        report(
            problem(
                "settings",
                str(error),
                "Change that flag, variable or line of the file; docs/settings.md has all of them.",
            )
        )
    else:
        for warning in configuration.warnings:
            report(caution("settings", warning, "Change that; docs/settings.md has all of them."))
        for finding in examine(configuration.settings, file=configuration.file, verify=verify, quick=quick):
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
