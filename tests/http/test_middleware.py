"""Request ids and the origin policy."""

import uuid

import httpx2
import pytest

from molva.engines.fake import FakeEngine
from molva.http.middleware import uuid7
from molva.http.origin import OriginPolicy
from tests.http.conftest import Running, serving


def test_a_given_request_id_comes_back(fake_server: Running) -> None:
    for path in ("/health", "/v1/models", "/nothing"):
        answer = fake_server.client.get(path, headers={"x-request-id": "my id-1"})
        assert answer.headers["x-request-id"] == "my id-1"


def test_without_one_a_version_7_uuid_is_made(fake_server: Running) -> None:
    made = [fake_server.client.get("/health").headers["x-request-id"] for _ in range(3)]
    made.append(fake_server.client.get("/health", headers={b"x-request-id": "ä".encode()}).headers["x-request-id"])
    assert len(set(made)) == 4
    assert all(uuid.UUID(value).version == 7 for value in made)


def test_version_7_ids_sort_by_time() -> None:
    ids = [uuid7() for _ in range(1000)]
    assert [i.int >> 80 for i in ids] == sorted(i.int >> 80 for i in ids)
    assert all(i.variant == uuid.RFC_4122 for i in ids)
    assert len(set(ids)) == 1000


LOOPBACK = ["http://localhost", "https://LOCALHOST:3000", "http://127.0.0.1:8080", "http://[::1]", "http://[::1]:5/x"]
FOREIGN = [
    "http://localhost.evil.com",
    "http://192.168.1.10",
    "http://127.0.0.2",
    "https://evil.example",
    "ftp://localhost",
    "http://localhost@evil.com",
    "localhost",
]


@pytest.mark.parametrize("origin", LOOPBACK)
def test_pages_of_this_machine_are_allowed_and_echoed(fake_server: Running, origin: str) -> None:
    for method in ("GET", "OPTIONS"):
        answer = fake_server.client.request(method, "/v1/models", headers={"origin": origin})
        assert answer.status_code == (200 if method == "GET" else 204)
        assert answer.headers["access-control-allow-origin"] == origin
        assert answer.headers["access-control-allow-methods"] == "GET, POST, OPTIONS"
        assert answer.headers["access-control-allow-headers"] == "*"
        assert answer.headers["vary"] == "origin"


@pytest.mark.parametrize("origin", FOREIGN)
@pytest.mark.parametrize("method", ["GET", "OPTIONS", "POST"])
def test_foreign_pages_are_refused(fake_server: Running, origin: str, method: str) -> None:
    path = "/v1/transcribe" if method == "POST" else "/v1/models"
    answer = fake_server.client.request(method, path, headers={"origin": origin})
    assert (answer.status_code, answer.json()["code"]) == (403, "origin_denied")
    assert answer.json()["error"] == "Origin not allowed"
    assert "access-control-allow-origin" not in answer.headers
    assert "x-request-id" in answer.headers


@pytest.mark.parametrize("headers", [{}, {"origin": "null"}, {"origin": "NULL"}])
def test_programs_need_no_origin(fake_server: Running, headers: dict[str, str]) -> None:
    answer = fake_server.client.get("/v1/models", headers=headers)
    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers


def test_operators_may_name_origins() -> None:
    with serving(FakeEngine(), origins=OriginPolicy(allowed=("https://App.example",))) as server:
        allowed = server.client.get("/v1/models", headers={"origin": "https://app.example"})
        assert allowed.headers["access-control-allow-origin"] == "https://app.example"
        assert server.client.get("/v1/models", headers={"origin": "https://app.example.org"}).status_code == 403


def test_operators_may_allow_any_origin() -> None:
    with serving(FakeEngine(), origins=OriginPolicy(allow_any=True)) as server:
        answer = server.client.get("/v1/models", headers={"origin": "https://evil.example"})
        assert answer.headers["access-control-allow-origin"] == "*"


def test_preflights_of_all_routes_are_empty(fake_server: Running) -> None:
    for path in ("/v1/models", "/v1/transcribe", "/v1/transcribe/stream"):
        answer = httpx2.options(f"{fake_server.url}{path}")
        assert (answer.status_code, answer.content) == (204, b"")
