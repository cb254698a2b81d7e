"""Names that lead here but are not ours: DNS rebinding, and tricks with Host and Origin."""

from collections.abc import Iterator
from ipaddress import ip_network

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from molva.engines.fake import FakeEngine
from molva.http.guard import Guards
from molva.http.hosts import HostPolicy
from molva.http.origin import OriginPolicy
from molva.http.proxies import TrustedProxies
from tests.http.conftest import Running, serving
from tests.http.raw import answers_to, connected, statuses

OURS = [
    *("localhost", "LocalHost:9876", "localhost.", "localhost.:80", "127.0.0.1", "127.0.0.1:9876", "127.8.8.8"),
    *("[::1]", "[::1]:9876", "[0:0:0:0:0:0:0:1]", "speech.example", "SPEECH.example.:8443", "[fd00::0:1]", ""),
]
FOREIGN = [
    *(
        "evil.example",
        "evil.example:9876",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "evil.example.localhost",
    ),
    *("127.0.0.1@evil.example", "localhost:80@evil.example", "speech.example.evil.example", "xspeech.example"),
    *("a.speech.example", "192.168.1.10", "0.0.0.0", "[::]", "[::2]", "[::1", "::1", "[::1]x", "localhost:80:80"),
    *("localhost/", "localhost#", "localhost\\", "127.1", "2130706433", "0x7f.0.0.1", "localhost..", ".", "null", "*"),
    *("localhost:port", "local host", "localhost,evil.example", "xn--localhost-"),
]
POLICY = HostPolicy(("speech.example", "fd00::1"))


@pytest.mark.parametrize("host", OURS)
def test_our_names_are_known_however_they_are_written(host: str) -> None:
    assert POLICY.permits(host)


@pytest.mark.parametrize("host", FOREIGN)
def test_others_are_not(host: str) -> None:
    assert not POLICY.permits(host)


def test_programs_without_the_header_and_everybody_if_that_is_said() -> None:
    assert POLICY.permits(None)
    assert all(HostPolicy(("*",)).permits(host) for host in FOREIGN)


@pytest.fixture(scope="module")
def local() -> Iterator[Running]:
    """As on loopback, where it may be called speech.example."""
    with serving(FakeEngine(), guards=Guards(hosts=POLICY)) as server:
        yield server


@pytest.mark.parametrize("path", ["/v1/models", "/v1/transcribe", "/docs", "/no"])
def test_a_page_whose_name_was_made_to_lead_here_is_refused(local: Running, path: str) -> None:
    answer = local.client.get(path, headers={"host": "evil.example:9876"})
    assert (answer.status_code, answer.json()["code"]) == (403, "host_denied")
    assert "--allow-host" in answer.json()["error"]
    assert "x-request-id" in answer.headers
    assert "access-control-allow-origin" not in answer.headers


def test_in_the_words_of_each_door(local: Running) -> None:
    openai, jobs = (
        local.client.get(path, headers={"host": "evil.example"}).json()
        for path in ("/v1/audio/transcriptions", "/jobs")
    )
    assert openai["error"]["code"] == "host_denied"
    assert jobs["code"] == "host_denied"


def test_also_a_websocket(local: Running) -> None:
    with (
        pytest.raises(InvalidStatus) as refused,
        connected(local.url) as connection,
        connect("ws://evil.example/v1/ws", sock=connection),
    ):
        pass
    assert refused.value.response.status_code == 403


@pytest.mark.parametrize("host", ["localhost", "speech.example:1", "127.0.0.1"])
def test_our_names_are_served(local: Running, host: str) -> None:
    assert local.client.get("/v1/models", headers={"host": host}).status_code == 200


def test_a_request_without_a_host_is_served(local: Running) -> None:
    assert statuses(answers_to(local.url, b"GET /v1/models HTTP/1.0\r\n\r\n")) == [200]


@pytest.mark.parametrize("path", ["/health", "/ready"])
def test_monitors_may_call_it_as_they_like(local: Running, path: str) -> None:
    assert local.client.get(path, headers={"host": "evil.example"}).status_code == 200


def test_a_trusted_proxy_passes_any_host_on() -> None:
    guards = Guards(hosts=POLICY, proxies=TrustedProxies((ip_network("127.0.0.1"),)))
    with serving(FakeEngine(), guards=guards) as server:
        assert server.client.get("/v1/models", headers={"host": "evil.example"}).status_code == 200


ORIGINS = {
    "https://app.example": True,
    "HTTPS://APP.EXAMPLE": True,
    "null": True,
    "NULL": True,
    "http://localhost": True,
    "http://[::1]:8080": True,
    "https://app.example:443": False,
    "https://app.example.": False,
    "https://app.example/": False,
    "http://app.example": False,
    "https://a.app.example": False,
    "https://app.example.evil.example": False,
    "https://app.example@evil.example": False,
    "https://user@app.example": False,
    "http://localhost@evil.example": False,
    "http://localhost:80@evil.example": False,
    "http://localhost/@evil.example": False,
    "http://localhost.": False,
    "http://localhost.evil.example": False,
    "http://localhostevil.example": False,
    "http://[::1].evil.example": False,
    "http://[::ffff:127.0.0.1]": False,
    "http://[0:0:0:0:0:0:0:1]": False,
    "http://127.1": False,
    "http://2130706433": False,
    "http://0.0.0.0": False,
    "null.example": False,
    "null, http://localhost": False,
    " http://localhost": False,
    "file://": False,
    "chrome-extension://localhost": False,
    "": False,
    "*": False,
}


@pytest.mark.parametrize("origin", ORIGINS)
def test_an_origin_is_allowed_as_a_whole_or_not_at_all(origin: str) -> None:
    assert OriginPolicy(allowed=("https://app.example",)).permits(origin) == ORIGINS[origin]
