"""The command line. Each command imports what it needs when it runs, so that --help is quick."""

import os
import sys

# The products here are small: BLAS threads of its own would fight with the inference threads. NumPy reads this once,
# when it is first imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import typer

from molva.cli import config, doctor, jobs, keys, listen, models, quantize, serve, transcribe, webhooks
from molva.errors import MolvaError

app = typer.Typer(
    name="molva",
    help="Speech to text on your own machine.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("serve")(serve.serve)
app.command("transcribe")(transcribe.transcribe)
app.command("listen")(listen.listen)
app.command("quantize")(quantize.quantize)
app.command("doctor")(doctor.doctor)
app.add_typer(config.app, name="config")
app.add_typer(jobs.app, name="jobs")
app.add_typer(models.app, name="models")
app.add_typer(keys.app, name="keys")
app.add_typer(webhooks.app, name="webhooks")


@app.callback(invoke_without_command=True)
def root(version: bool = typer.Option(False, "--version", help="Print the version and exit.")) -> None:
    """Speech to text on your own machine."""
    if version:
        from molva import __version__

        print(__version__)
        raise typer.Exit


def main() -> None:
    """Entry point. Errors of molva become a line on stderr, or one for each problem, and exit status 1."""
    try:
        app()
    except MolvaError as error:
        for line in str(error).splitlines():
            print(f"molva: {line}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
