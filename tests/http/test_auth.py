"""Keys: what needs one, how it is sent, and what who has none is told."""

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from molva.engines.fake import FakeEngine
from molva.http.origin import OriginPolicy
from molva.keys import KeyFile, KeyRing
from molva.runtime.loading import sample_speech
from tests.http.conftest import Running, serving, wav

GIVEN = "given-by-the-operator"
APP = "https://app.example"
FOREIGN = "https://evil.example"

NATIVE = {
    "error": "Incorrect API key provided.",
    "message": "Incorrect API key provided.",
    "code": "invalid_api_key",
}
OPENAI = {
    "error": {
        "message": "Incorrect API key provided.",
        "type": "invalid_request_error",
        "param": None,
        "code": "invalid_api_key",
    }
}


@dataclass
class Locked:
    """A server that asks for a key, and one of its keys."""

    server: Running
    file: KeyFile
    key: str

    @property
    def client(self) -> httpx2.Client:
        return self.server.client


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Locked]:
    file = KeyFile(tmp_path_factory.mktemp("data") / "keys.json")
    key = file.create("laptop")
    ring = KeyRing(file.path, {"MOLVA_API_KEY": GIVEN})
    with serving(FakeEngine(), keys=ring, origins=OriginPolicy(allowed=(APP,))) as server:
        yield Locked(server, file, key)


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def upgrade(server: Running, path: str, **options: Any) -> int:
    """Status of the answer to a WebSocket handshake; 101 where it is accepted."""
    try:
        with connect(server.url.replace("http", "ws", 1) + path, proxy=None, **options) as connection:
            assert connection.response is not None
            return int(connection.response.status_code)
    except InvalidStatus as refused:
        return int(refused.response.status_code)


class TestWhatNeedsAKey:
    @pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE"])
    @pytest.mark.parametrize(
        "path",
        ["/v1/models", "/v1/transcribe", "/v1/ws", "/docs", "/docs/assets/swagger-ui.css", "/openapi.json", "/no"],
    )
    def test_everything(self, locked: Locked, method: str, path: str) -> None:
        answer = locked.client.request(method, path)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert "x-request-id" in answer.headers

    @pytest.mark.parametrize("path", ["/health", "/ready"])
    def test_but_the_probes(self, locked: Locked, path: str) -> None:
        assert locked.client.get(path).status_code == 200
        assert locked.client.head(path).status_code == 200

    def test_and_the_page(self, locked: Locked) -> None:
        for path in ("/", "/page/app.js", "/page/style.css"):
            assert locked.client.get(path).status_code == 200
        assert locked.client.get("/page/no.js").status_code == 404

    @pytest.mark.parametrize(
        "path",
        ["/page", "//page/app.js", "/Page/app.js", "/health/", "/ready/x", "//health", "/Health", "/health;/v1/models"],
    )
    def test_and_nothing_that_looks_like_them(self, locked: Locked, path: str) -> None:
        assert httpx2.get(f"{locked.server.url}{path}").status_code == 401

    def test_but_preflights(self, locked: Locked) -> None:
        assert locked.client.options("/v1/transcribe").status_code == 204

    def test_nothing_where_there_is_no_key(self, tmp_path: Path) -> None:
        with serving(FakeEngine(), keys=KeyRing(tmp_path / "keys.json")) as server:
            answer = server.client.get("/v1/models", headers={"origin": "http://localhost"})
            assert answer.status_code == 200
            assert answer.headers["access-control-allow-headers"] == "*"
            assert server.client.get("/v1/models", headers=bearer("anything")).status_code == 200
            assert upgrade(server, "/v1/ws") == 101


class TestHowAKeyIsSent:
    @pytest.mark.parametrize("path", ["/v1/models", "/docs", "/openapi.json"])
    def test_as_a_bearer_token(self, locked: Locked, path: str) -> None:
        for key in (locked.key, GIVEN):
            assert locked.client.get(path, headers=bearer(key)).status_code == 200
            assert locked.client.head(path, headers=bearer(key)).status_code == 200

    def test_a_file_is_transcribed_with_it(self, locked: Locked) -> None:
        answer = locked.client.post("/v1/transcribe", content=wav(sample_speech()), headers=bearer(locked.key))
        assert answer.json()["text"]

    @pytest.mark.parametrize(
        "header",
        ["bearer {}", "BEARER {}", "Bearer  {}", "Bearer{}", "Bearer\t{}", "Token {}", "Basic {}", "{}", "Bearer"],
    )
    def test_exactly_so(self, locked: Locked, header: str) -> None:
        answer = locked.client.get("/v1/models", headers={"authorization": header.format(locked.key)})
        assert answer.status_code == 401

    @pytest.mark.parametrize("wrong", ["x", "molva_", "laptop", "MOLVA_API_KEY", "ключ"])
    def test_a_wrong_one_is_refused(self, locked: Locked, wrong: str) -> None:
        headers = {b"authorization": b"Bearer " + wrong.encode()}
        assert locked.client.get("/v1/models", headers=headers).status_code == 401

    def test_not_in_the_address(self, locked: Locked) -> None:
        assert locked.client.get("/v1/models", params={"key": locked.key, "api_key": locked.key}).status_code == 401

    def test_with_the_handshake_of_a_websocket(self, locked: Locked) -> None:
        assert upgrade(locked.server, "/v1/ws", additional_headers=bearer(locked.key)) == 101

    @pytest.mark.parametrize("path", ["/v1/ws", "/v1/realtime", "/no"])
    def test_without_one_a_websocket_is_refused_before_it_begins(self, locked: Locked, path: str) -> None:
        assert upgrade(locked.server, path) == 401
        assert upgrade(locked.server, path, additional_headers=bearer("wrong")) == 401

    @pytest.mark.parametrize(("path", "name"), [("/v1/realtime", "realtime"), ("/v1/ws", "molva")])
    def test_as_a_subprotocol_by_pages(self, locked: Locked, path: str, name: str) -> None:
        def offer(key: str, path: str = path) -> int:
            return upgrade(locked.server, path, subprotocols=[name, f"openai-insecure-api-key.{key}"])

        assert offer(locked.key) == 101
        assert offer(GIVEN) == 101
        assert offer("wrong") == 401
        assert offer(locked.key, "/no") == 401

    def test_pages_of_permitted_origins_may_send_it(self, locked: Locked) -> None:
        answer = locked.client.options("/v1/transcribe", headers={"origin": APP})
        assert "Authorization" in answer.headers["access-control-allow-headers"].split(", ")
        assert answer.headers["access-control-allow-methods"] == "GET, POST, OPTIONS"


class TestWhatIsTold:
    @pytest.mark.parametrize("path", ["/v1/transcribe", "/v1/transcribe/stream", "/v1/ws", "/docs", "/no"])
    def test_the_native_body(self, locked: Locked, path: str) -> None:
        assert locked.client.get(path).json() == NATIVE

    @pytest.mark.parametrize(
        "path", ["/v1/models", "/v1/models/whisper-1", "/v1/audio/transcriptions", "/v1/realtime/client_secrets"]
    )
    def test_openais_object(self, locked: Locked, path: str) -> None:
        assert locked.client.get(path).json() == OPENAI

    @pytest.mark.parametrize(("path", "body"), [("/v1/ws", NATIVE), ("/v1/realtime", OPENAI)])
    def test_a_websocket_hears_the_same(self, locked: Locked, path: str, body: dict[str, Any]) -> None:
        with (
            pytest.raises(InvalidStatus) as refused,
            connect(locked.server.url.replace("http", "ws", 1) + path, proxy=None),
        ):
            pass
        response = refused.value.response
        assert httpx2.Response(401, content=bytes(response.body or b"")).json() == body
        assert response.headers["www-authenticate"] == "Bearer"


class TestOrder:
    def test_a_foreign_page_is_refused_first(self, locked: Locked) -> None:
        for headers in ({"origin": FOREIGN}, {"origin": FOREIGN, **bearer(locked.key)}):
            assert locked.client.get("/v1/models", headers=headers).status_code == 403

    def test_a_permitted_page_may_read_the_refusal(self, locked: Locked) -> None:
        answer = locked.client.get("/v1/models", headers={"origin": APP})
        assert answer.status_code == 401
        assert answer.headers["access-control-allow-origin"] == APP

    def test_the_key_comes_before_the_size_of_the_body(self, locked: Locked) -> None:
        body = bytes(locked.server.state.limits.body_bytes + 1)
        assert locked.client.post("/v1/transcribe", content=body).status_code == 401
        assert locked.client.post("/v1/transcribe", content=body, headers=bearer(GIVEN)).status_code == 413

    @pytest.mark.parametrize("path", ["/v1/transcribe", "/v1/audio/transcriptions"])
    @pytest.mark.parametrize("length", [b"Content-Length: 4000000", b"Transfer-Encoding: chunked"])
    def test_the_answer_waits_for_no_byte_of_the_body(self, locked: Locked, path: str, length: bytes) -> None:
        address = urlsplit(locked.server.url)
        with socket.create_connection((address.hostname, address.port), timeout=20) as connection:
            connection.sendall(b"POST %s HTTP/1.1\r\nHost: x\r\n%s\r\n\r\n" % (path.encode(), length))
            assert connection.makefile("rb").readline().startswith(b"HTTP/1.1 401 ")


class TestWhileItRuns:
    def test_a_new_key_opens_and_a_revoked_one_does_not(self, tmp_path: Path) -> None:
        file = KeyFile(tmp_path / "keys.json")
        with serving(FakeEngine(), keys=KeyRing(file.path)) as server:

            def status(key: str) -> int:
                return server.client.get("/v1/models", headers=bearer(key)).status_code

            assert server.client.get("/v1/models").status_code == 200
            first, second = file.create("first"), file.create("second")
            assert server.client.get("/v1/models").status_code == 401
            assert (status(first), status(second)) == (200, 200)
            file.revoke("first")
            assert (status(first), status(second)) == (401, 200)

    def test_a_damaged_file_lets_nobody_in(self, tmp_path: Path) -> None:
        file = KeyFile(tmp_path / "keys.json")
        key = file.create("laptop")
        with serving(FakeEngine(), keys=KeyRing(file.path)) as server:
            assert server.client.get("/v1/models", headers=bearer(key)).status_code == 200
            file.path.write_text("{")
            assert server.client.get("/v1/models", headers=bearer(key)).status_code == 401
            assert server.client.get("/v1/models").status_code == 401
            assert upgrade(server, "/v1/ws", additional_headers=bearer(key)) == 401
            assert server.client.get("/health").status_code == 200


def test_the_log_has_the_name_of_the_key_and_never_a_key(locked: Locked, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "molva")
    locked.client.get("/v1/models", headers=bearer(locked.key) | {"x-request-id": "first"})
    locked.client.get("/v1/models", headers=bearer("wrong-key") | {"x-request-id": "second"})
    for path in ("/v1/realtime", "/v1/ws"):
        upgrade(locked.server, path, subprotocols=[f"openai-insecure-api-key.{locked.key}"])
    locked.client.get("/health")  # the lines before this one's have been written
    lines = [record.getMessage() for record in caplog.records]
    told = [(record.status, record.key) for record in caplog.records if getattr(record, "method", None) == "GET"]  # type: ignore[attr-defined]
    assert told[:2] == [(200, "laptop"), (401, None)]
    assert any(line.endswith(" ms laptop") for line in lines)
    assert not any(locked.key in line or "wrong-key" in line for line in lines)


def test_the_document_tells_how_to_send_a_key(locked: Locked) -> None:
    document = locked.client.get("/openapi.json", headers=bearer(locked.key)).json()
    assert document["components"]["securitySchemes"] == {"key": {"type": "http", "scheme": "bearer"}}
    assert {"key": []} in document["security"]
    assert document["paths"]["/health"]["get"]["security"] == []
    assert "security" not in document["paths"]["/v1/transcribe"]["post"]
