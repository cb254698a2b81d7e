"""A browser for the tests of each module: its driver keeps a loop running in the thread, which others may not meet."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.page.browser import chromium


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Without a microphone."""
    with chromium() as browser:
        yield browser
