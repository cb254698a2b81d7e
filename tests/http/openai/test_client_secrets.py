"""Short-lived tokens for /v1/realtime: who gets one, what it opens and for how long, and the settings in it."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from openai import OpenAI
from openai.types.realtime import ClientSecretCreateResponse
from pydantic import TypeAdapter
from websockets.exceptions import InvalidStatus

from molva.clock import steady
from molva.engines.fake import FakeEngine
from molva.errors import Busy
from molva.http.openai.ephemeral import MAX_TOKENS, EphemeralTokens
from molva.http.openai.realtime_settings import DEFAULT
from molva.keys import KeyFile, KeyRing
from tests.http.conftest import Running, serving
from tests.http.openai.realtime import connected

GA, BETA = "/v1/realtime/client_secrets", "/v1/realtime/transcription_sessions"


@pytest.fixture
def file(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path / "keys.json")


@pytest.fixture
def key(file: KeyFile) -> str:
    return file.create("page")


@pytest.fixture
def locked(file: KeyFile, key: str) -> Iterator[Running]:
    with serving(FakeEngine(), keys=KeyRing(file.path)) as server:
        yield server


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def token_of(server: Running, key: str = "", **body: Any) -> str:
    answer = server.client.post(GA, json=body, headers=bearer(key) if key else {})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["value"])


def opens(server: Running, presented: str, *, as_subprotocol: bool = False) -> bool:
    options: dict[str, Any] = {"additional_headers": bearer(presented)}
    if as_subprotocol:
        options = {"subprotocols": ["realtime", f"openai-insecure-api-key.{presented}"]}
    try:
        with connected(server, **options) as client:
            return str(client.read()["type"]) == "session.created"
    except InvalidStatus as refused:
        if refused.response.status_code != 401:
            raise
        return False


class TestWhatItOpens:
    @pytest.mark.parametrize("as_subprotocol", [False, True])
    def test_the_realtime_door_as_often_as_need_be(self, locked: Running, key: str, as_subprotocol: bool) -> None:
        token = token_of(locked, key)
        assert token.startswith("ek_")
        assert all(opens(locked, token, as_subprotocol=as_subprotocol) for _ in range(2))
        assert not opens(locked, token + "x", as_subprotocol=as_subprotocol)

    @pytest.mark.parametrize("path", ["/v1/models", "/v1/ws", GA, BETA])
    def test_nothing_else(self, locked: Running, key: str, path: str) -> None:
        token = token_of(locked, key)
        assert locked.client.get(path, headers=bearer(token)).status_code == 401
        assert locked.client.post(path, headers=bearer(token), json={}).status_code == 401

    def test_nothing_after_its_time(self, locked: Running, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
        token = token_of(locked, key, expires_after={"anchor": "created_at", "seconds": 10})
        now = steady()
        monkeypatch.setattr("molva.http.openai.ephemeral.steady", lambda: now + 12)
        assert not opens(locked, token)

    def test_nothing_longer_because_the_clock_was_put_back(
        self, locked: Running, key: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        token = token_of(locked, key, expires_after={"anchor": "created_at", "seconds": 10})
        wall, now = time.time(), steady()
        monkeypatch.setattr("molva.http.openai.ephemeral.time.time", lambda: wall - 86_400)
        monkeypatch.setattr("molva.http.openai.ephemeral.steady", lambda: now + 12)
        assert not opens(locked, token)

    def test_nothing_once_its_key_is_revoked(self, locked: Running, file: KeyFile, key: str) -> None:
        file.create("other")
        token = token_of(locked, key)
        file.revoke("page")
        assert not opens(locked, token)

    def test_nothing_where_it_was_made_before_there_were_keys(self, file: KeyFile) -> None:
        with serving(FakeEngine(), keys=KeyRing(file.path)) as server:
            token = token_of(server)
            assert opens(server, token)
            file.create("first")
            assert not opens(server, token)

    def test_an_open_server_refuses_tokens_that_are_none(self) -> None:
        with serving(FakeEngine()) as server:
            assert opens(server, token_of(server))
            assert not opens(server, "ek_something")


class TestWhatItCarries:
    SETTINGS: ClassVar[dict[str, Any]] = {
        "type": "transcription",
        "audio": {"input": {"turn_detection": None, "transcription": {"model": "whisper-1", "language": "ru"}}},
    }

    def test_sessions_begin_with_its_settings(self, fake_server: Running) -> None:
        token = token_of(fake_server, session=self.SETTINGS)
        with connected(fake_server, additional_headers=bearer(token)) as client:
            given = client.read()["session"]["audio"]["input"]
        assert given["turn_detection"] is None
        assert given["transcription"] == {"model": "whisper-1", "language": "ru", "prompt": ""}

    def test_ga(self, fake_server: Running) -> None:
        before = time.time()
        body = {"session": self.SETTINGS, "expires_after": {"seconds": 100}}
        answer = fake_server.client.post(GA, json=body).json()
        assert 100 <= answer["expires_at"] - before <= 130
        assert answer["session"]["type"] == "transcription"
        TypeAdapter(ClientSecretCreateResponse).validate_python(answer)

    def test_beta(self, fake_server: Running) -> None:
        before = time.time()
        body = {"input_audio_format": "g711_ulaw", "turn_detection": None, "modalities": ["text"]}
        answer = fake_server.client.post(BETA, json=body).json()
        assert answer["object"] == "realtime.transcription_session"
        assert (answer["input_audio_format"], answer["turn_detection"]) == ("g711_ulaw", None)
        secret = answer["client_secret"]
        assert 60 <= secret["expires_at"] - before <= 90
        headers = {**bearer(secret["value"]), "OpenAI-Beta": "realtime=v1"}
        with connected(fake_server, additional_headers=headers) as client:
            assert client.read()["session"]["input_audio_format"] == "g711_ulaw"

    @pytest.mark.parametrize("path", [GA, BETA])
    def test_without_a_body_all_is_as_usual(self, fake_server: Running, path: str) -> None:
        assert fake_server.client.post(path).status_code == 200

    def test_the_official_package_reads_both(self, fake_server: Running) -> None:
        with OpenAI(base_url=f"{fake_server.url}/v1", api_key="none", max_retries=0) as client:
            secret = client.realtime.client_secrets.create(session={"type": "transcription"})
            assert secret.value.startswith("ek_")
            session = client.beta.realtime.transcription_sessions.create(input_audio_format="g711_alaw")
            assert session.input_audio_format == "g711_alaw"
            assert session.client_secret.value.startswith("ek_")


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        (GA, {"expires_after": {"seconds": 9}}, "seconds"),
        (GA, {"expires_after": {"seconds": 7201}}, "seconds"),
        (GA, {"session": {"type": "realtime"}}, "type"),
        (GA, {"session": {"type": "transcription", "voice": "alloy"}}, "voice"),
        (GA, {"session": {"audio": {"input": {"transcription": {"model": "no-such"}}}}}, "model"),
        (BETA, {"client_secret": {"expires_at": {"seconds": 9}}}, "seconds"),
        (BETA, {"input_audio_format": "mp3"}, "input_audio_format"),
    ],
)
def test_what_is_wrong_is_named(fake_server: Running, path: str, body: dict[str, Any], param: str) -> None:
    answer = fake_server.client.post(path, json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_there_are_never_more_than_so_many() -> None:
    tokens = EphemeralTokens()
    presented = [tokens.create(DEFAULT, seconds=60, key_name=None)[0] for _ in range(MAX_TOKENS)]
    with pytest.raises(Busy):
        tokens.create(DEFAULT, seconds=60, key_name=None)
    assert all(tokens.find(token) for token in presented)


def test_those_of_a_key_that_is_another_one_now_are_forgotten() -> None:
    tokens = EphemeralTokens()
    old, other, open_to_all = (tokens.create(DEFAULT, seconds=60, key_name=name)[0] for name in ("old", "other", None))
    tokens.forget("old")
    assert [tokens.find(token) is None for token in (old, other, open_to_all)] == [True, False, False]


def test_those_that_have_expired_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = EphemeralTokens()
    for _ in range(MAX_TOKENS):
        tokens.create(DEFAULT, seconds=60, key_name=None)
    now = steady()
    monkeypatch.setattr("molva.http.openai.ephemeral.steady", lambda: now + 62)
    assert tokens.create(DEFAULT, seconds=60, key_name=None)


def test_the_document_has_both_routes(fake_server: Running) -> None:
    paths = fake_server.client.get("/openapi.json").json()["paths"]
    for path in (GA, BETA):
        assert "application/json" in paths[path]["post"]["requestBody"]["content"]
        assert "422" not in paths[path]["post"]["responses"]
