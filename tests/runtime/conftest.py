"""The small model behind a scheduler of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from molva.engines.gigaam.model import load_gigaam
from molva.runtime.scheduler import Lane, Scheduler
from tests.engines.gigaam.test_model import files_of


@pytest.fixture(scope="module")
def tiny(tiny_dir: Path) -> Iterator[Lane]:
    """Its RNN-T form, with two workers."""
    scheduler = Scheduler(2)
    yield scheduler.lane(load_gigaam(files_of("rnnt", tiny_dir), model="tiny", variant="rnnt"))
    scheduler.close()
