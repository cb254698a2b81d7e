"""`/`: the page as it is served. What it does is tested in tests/page."""

import gzip
import re
from collections.abc import Iterator
from importlib import resources

import httpx2
import pytest

from molva import assets
from molva.engines.fake import FakeEngine
from molva.http.guard import Guards
from molva.http.page import FILES
from molva.http.rate import RateLimiter, RateRule
from tests.http.conftest import Running, serving

MAX_BYTES = 150_000


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with serving(FakeEngine()) as server:
        yield server


def test_all_of_it_is_small() -> None:
    assert sum(len(file.content) for file in FILES.values()) < MAX_BYTES


def test_every_file_is_served_as_it_lies_there(server: Running) -> None:
    for file in (resources.files(assets) / "page").iterdir():
        answer = server.client.get(f"/page/{file.name}")
        assert answer.status_code == 200
        assert answer.content == file.read_bytes()
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_it_names_no_file_that_is_not_there(server: Running) -> None:
    page = server.client.get("/").text
    assert set(re.findall(r'"(/[^"]*)"', page)) <= {f"/page/{name}" for name in FILES}
    for file in FILES.values():
        for name in re.findall(r'from "\./([^"]+)"', file.content.decode()):
            assert name in FILES


def test_nothing_leads_elsewhere(server: Running) -> None:
    """No address of another host, but for the name space of SVG."""
    for file in FILES.values():
        found = set(re.findall(r"https?://[^\s\"'`)]+", file.content.decode()))
        assert found <= {"http://www.w3.org/2000/svg"}


def test_a_strict_policy_comes_with_every_file(server: Running) -> None:
    for path in ("/", *(f"/page/{name}" for name in FILES)):
        policy = server.client.get(path).headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "*" not in policy


def test_a_file_that_the_browser_has_is_not_sent_again(server: Running) -> None:
    first = server.client.get("/page/app.js")
    again = server.client.get("/page/app.js", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert "content-security-policy" in again.headers


@pytest.mark.parametrize(
    ("accepted", "compressed"),
    [("gzip", True), ("deflate, gzip;q=0.5, br", True), ("gzip;q=0", False), ("br", False), ("identity", False)],
)
def test_it_is_compressed_for_whoever_takes_that(server: Running, accepted: str, compressed: bool) -> None:
    with httpx2.stream("GET", f"{server.url}/page/texts.js", headers={"accept-encoding": accepted}) as answer:
        sent = b"".join(answer.iter_raw())
    content = FILES["texts.js"].content
    assert (answer.headers.get("content-encoding") == "gzip") is compressed
    assert answer.headers["vary"].lower().split(", ").count("accept-encoding") == 1
    assert (gzip.decompress(sent) if compressed else sent) == content
    assert int(answer.headers["content-length"]) == len(sent)


@pytest.mark.parametrize("name", ["no.js", "..%2f__init__.py", "%2e%2e/NOTICE.md", "../silero_vad.onnx", "", "a/b.js"])
def test_other_names_lead_nowhere(server: Running, name: str) -> None:
    assert server.client.get(f"/page/{name}").status_code == 404


def test_opening_it_is_not_counted_against_an_address() -> None:
    guards = Guards(limiter=RateLimiter(RateRule(1, 1)))
    with serving(FakeEngine(), guards=guards) as server:
        for _ in range(2):
            assert all(server.client.get(f"/page/{name}").status_code == 200 for name in FILES)
        assert server.client.get("/v1/models").status_code == 200
        assert server.client.get("/v1/models").status_code == 429


HOSTS = {
    "127.0.0.1:9876": True,
    "192.168.1.5:9876": True,
    "[fd00::1]:9876": True,
    "speech": True,
    "speech:9876": True,
    "nas.local": True,
    "nas.home.arpa:80": True,
    "evil.example": False,
    "evil.example:9876": False,
    "local": True,
    "evillocal.example": False,
    "speech.example.com": True,
}


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_its_own_page_may_ask_where_nobody_else_can_have_its_name(server: Running, host: str, scheme: str) -> None:
    policy = server.state.origins
    server.state.origins = type(policy)(own_names=["speech.example.com"])
    answer = httpx2.get(f"{server.url}/v1/models", headers={"host": host, "origin": f"{scheme}://{host}"})
    assert answer.status_code == (200 if HOSTS[host] else 403)


@pytest.mark.parametrize(
    ("host", "origin", "own"),
    [
        ("192.168.1.5", "http://192.168.1.5:80", True),
        ("192.168.1.5:443", "https://192.168.1.5", True),
        ("192.168.1.5:9876", "http://192.168.1.5:9877", False),
        ("192.168.1.5", "http://192.168.1.6", False),
        ("192.168.1.5", "http://192.168.1.5@evil.example", False),
        ("192.168.1.5", "http://192.168.1.5/", False),
        ("192.168.1.5", "ftp://192.168.1.5", False),
    ],
)
def test_its_own_page_is_of_the_very_host_that_is_asked(server: Running, host: str, origin: str, own: bool) -> None:
    answer = httpx2.get(f"{server.url}/v1/models", headers={"host": host, "origin": origin})
    assert answer.status_code == (200 if own else 403)
