"""A hub that misbehaves on request."""

from collections.abc import Iterator

import pytest

from tests.models.fake_hub import FakeHub
from tests.models.small_model import served


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with served() as fake:
        yield fake
