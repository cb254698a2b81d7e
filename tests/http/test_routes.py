"""Paths become templates: few, and without what clients wrote."""

import pytest

from molva.http.routes import OTHER, RouteTemplates

ROUTES = RouteTemplates(["/v1/models", "/v1/models/{model:path}", "/jobs/{job_id}", "/jobs/{job_id}/stream"])


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/v1/models", "/v1/models"),
        ("/v1/models/owner/name", "/v1/models/{model}"),
        ("/jobs/0198", "/jobs/{job_id}"),
        ("/jobs/0198/stream", "/jobs/{job_id}/stream"),
        ("/jobs/0198/secret", OTHER),
        ("/jobs", OTHER),
        ("", OTHER),
        ("/v1/models\nforged line", OTHER),
    ],
)
def test_a_path_is_its_route_or_other(path: str, template: str) -> None:
    assert ROUTES.of(path) == template
