"""A model of two files, one as git holds it and one in LFS, and a hub that has it."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

from molva.models.catalog import ModelFile, ModelSpec
from tests.models.fake_hub import FakeHub

CONFIG = b'{"version": "v9"}\n'
WEIGHTS = random.Random(9).randbytes(300_000)

SPEC = ModelSpec(
    name="whisper-small-fake",
    family="whisper",
    variant="small-fake",
    repository="somebody/small-fake",
    revision="main",
    files=(ModelFile("config.json"), ModelFile("model.bin")),
    licence="MIT",
    languages=("ru",),
    punctuation=True,
)


@contextmanager
def served() -> Iterator[FakeHub]:
    """A hub with the files of the small model."""
    hub = FakeHub()
    hub.put("config.json", CONFIG, lfs=False)
    hub.put("model.bin", WEIGHTS)
    try:
        yield hub
    finally:
        hub.close()
