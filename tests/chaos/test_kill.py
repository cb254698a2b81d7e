"""The short form of `python -m tests.chaos.kill`."""

from pathlib import Path

import pytest

from tests.chaos.kill import torment


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_server_that_is_killed_loses_and_doubles_nothing(tiny_dir: Path) -> None:
    assert torment(tiny_dir, times=4, seed=5) == []
