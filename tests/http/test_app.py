"""The application as a whole."""

import fastapi.dependencies.utils
import pytest

from molva.engines.fake import FakeEngine
from tests.http.conftest import serving


def test_routes_are_built_before_the_first_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """FastAPI would build them in whatever thread serves first: two servers in one process would race."""
    with serving(FakeEngine()) as server:

        def too_late(**_arguments: object) -> None:
            raise AssertionError("a route's signature was read at a request")

        monkeypatch.setattr(fastapi.dependencies.utils, "create_model_field", too_late)
        for path in ("/health", "/v1/models", "/v1/models/whisper-1", "/nothing"):
            assert server.client.get(path).status_code in (200, 404)
        assert server.client.post("/v1/transcribe?language=ru", content=b"").json()["code"] == "empty_body"
