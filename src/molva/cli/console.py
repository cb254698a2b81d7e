"""What commands share in talking to a person: logs, and the progress of downloads."""

import logging
import sys

from rich.console import Console

stderr = Console(stderr=True)


def start_logging(level: str) -> None:
    """Plain lines on stderr."""
    logging.basicConfig(
        level=level.upper(), stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s", force=True
    )
    for noisy in ("httpx2", "httpcore2", "faster_whisper", "uvicorn.error"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.getLogger().level))
