"""`molva serve`."""

import logging
import signal
from typing import Any

import typer

from molva.cli.options import takes_settings


@takes_settings
def serve(**flags: Any) -> None:
    """Start the server."""
    # It would end a process that is not ready for it yet. So it waits, until the server takes it up.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})

    from molva import server
    from molva.cli.console import show_downloads, stderr
    from molva.configuration import read_configuration
    from molva.logs import set_log_level, start_logging
    from molva.runtime.provision import Hub

    configuration = read_configuration(**flags)
    start_logging(configuration.settings.log_level, configuration.settings.log_format)
    for warning in configuration.warnings:
        logging.getLogger(__name__).warning("%s", warning)
    with show_downloads(stderr) as on_download:
        status = server.serve(
            configuration,
            Hub.from_environment(),
            announce=lambda text: print(text, flush=True),
            on_download=on_download,
            log_at=set_log_level,
        )
    raise typer.Exit(status)
