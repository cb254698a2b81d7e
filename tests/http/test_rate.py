"""Token buckets against the contract's formula, and what a limited address hears over real sockets."""

import asyncio
import random
import tracemalloc
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from ipaddress import ip_address, ip_network

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message, Receive, Scope, Send
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from molva.engines.fake import FakeEngine
from molva.http.guard import Guard, Guards, RateLimit
from molva.http.origin import OriginPolicy
from molva.http.proxies import TrustedProxies
from molva.http.rate import MAX_BUCKETS, RateLimiter, RateRule, client_key
from molva.keys import KeyFile, KeyRing
from molva.observer import NOBODY
from tests.http.conftest import Running, serving

MS = 10**6
APP = "https://app.example"


class Clock:
    """Stands still unless it is moved."""

    def __init__(self) -> None:
        self.now_ms = Fraction(0)

    def __call__(self) -> int:
        return int(self.now_ms * MS)


def limiter(per_minute: int, burst: int) -> tuple[RateLimiter, Clock]:
    clock = Clock()
    return RateLimiter(RateRule(per_minute, burst), clock), clock


@pytest.mark.parametrize(
    ("per_minute", "interval_ms"),
    [(1, 60_000), (10, 6000), (30, 2000), (59, 1016), (60, 1000), (600, 100), (60_000, 1), (1_000_000, 1)],
)
def test_the_interval_is_the_contracts(per_minute: int, interval_ms: int) -> None:
    assert RateRule(per_minute, 1).interval_ms == interval_ms


rules = st.builds(RateRule, st.integers(1, 100_000), st.integers(1, 50))
waits = st.lists(
    st.tuples(st.integers(0, 2), st.one_of(st.integers(0, 20), st.integers(0, 70_000), st.integers(0, 400_000))),
    max_size=80,
)


@given(rules, waits)
def test_it_lets_pass_what_the_formula_does(rule: RateRule, steps: list[tuple[int, int]]) -> None:
    """The contract's words: refill per millisecond, capacity, full at first and when unseen for 300 s."""
    clock = Clock()
    limited = RateLimiter(rule, clock)
    tokens: dict[int, tuple[Fraction, Fraction]] = {}
    for client, wait_ms in steps:
        clock.now_ms += wait_ms
        level, seen = tokens.get(client, (Fraction(rule.burst), clock.now_ms))
        if clock.now_ms - seen >= 300_000:
            level, seen = Fraction(rule.burst), clock.now_ms
        level = min(
            Fraction(rule.burst), level + (clock.now_ms - seen) * Fraction(min(rule.per_minute, 60_000), 60_000)
        )
        passes = level >= 1
        tokens[client] = (level - 1 if passes else level, clock.now_ms)
        assert (limited.refuse(bytes([client])) is None) == passes


def test_a_refusal_says_when_to_come_again() -> None:
    limited, clock = limiter(59, 1)
    assert limited.refuse(b"a") is None
    assert limited.refuse(b"a") == 1.016
    clock.now_ms += 1017
    assert limited.refuse(b"a") is None


def test_one_clients_haste_costs_nobody_else() -> None:
    limited, _ = limiter(60, 3)
    assert [limited.refuse(b"a") is None for _ in range(5)] == [True, True, True, False, False]
    assert limited.refuse(b"b") is None


def test_without_a_rule_nobody_is_counted() -> None:
    limited = RateLimiter(None)
    assert all(limited.refuse(b"a") is None for _ in range(1000))
    assert len(limited) == 0


def test_another_rule_has_full_buckets_and_the_same_one_changes_nothing() -> None:
    limited, _ = limiter(1, 1)
    assert limited.refuse(b"a") is None
    limited.configure(RateRule(1, 1))
    assert limited.refuse(b"a") is not None
    limited.configure(RateRule(1, 2))
    assert [limited.refuse(b"a") is None for _ in range(3)] == [True, True, False]
    limited.configure(None)
    assert limited.refuse(b"a") is None


def test_what_is_not_seen_for_five_minutes_is_dropped() -> None:
    limited, clock = limiter(1, 1)
    for client in range(10):
        limited.refuse(bytes([client]))
    clock.now_ms += 299_999
    limited.refuse(b"late")
    assert len(limited) == 11
    clock.now_ms += 1
    limited.refuse(b"late")
    assert len(limited) == 1


@pytest.mark.slow
def test_more_addresses_than_buckets_take_no_more_memory() -> None:
    limited, _ = limiter(60, 2)
    tracemalloc.start()
    try:
        for number in range(2 * MAX_BUCKETS):
            limited.refuse(number.to_bytes(8, "big"))
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(limited) == MAX_BUCKETS
    assert used < 60 * 2**20


def test_the_one_seen_longest_ago_makes_room() -> None:
    limited, _ = limiter(1, 1)
    for number in range(MAX_BUCKETS):
        assert limited.refuse(number.to_bytes(8, "big")) is None
    assert limited.refuse(bytes(8)) is not None  # seen again
    assert limited.refuse(b"new") is None
    assert limited.refuse(bytes(8)) is not None
    assert limited.refuse((1).to_bytes(8, "big")) is None


def test_ipv6_is_counted_by_its_64_bits_of_network() -> None:
    first, same, other = ("2001:db8::1", "2001:db8::ffff:1:2:3", "2001:db8:0:1::1")
    assert client_key(ip_address(first)) == client_key(ip_address(same))
    assert client_key(ip_address(first)) != client_key(ip_address(other))
    assert client_key(ip_address("192.0.2.1")) != client_key(ip_address("192.0.2.2"))
    assert client_key(None) == b""


BURST = 3


@pytest.fixture
def limited() -> Iterator[Running]:
    """Three requests at once and one a minute, by a clock that stands still, for whoever a proxy here says."""
    guards = Guards(
        limiter=RateLimiter(RateRule(1, BURST), Clock()), proxies=TrustedProxies((ip_network("127.0.0.0/8"),))
    )
    with serving(FakeEngine(), guards=guards, origins=OriginPolicy(allowed=(APP,))) as server:
        yield server


def exhaust(server: Running, **headers: str) -> None:
    for _ in range(BURST):
        assert server.client.get("/v1/models", headers=headers).status_code == 200


class TestOverSockets:
    def test_the_answer_is_the_contracts(self, limited: Running) -> None:
        exhaust(limited)
        answer = limited.client.get("/v1/models", headers={"origin": APP})
        assert answer.status_code == 429
        text = "Too many requests"
        assert answer.json() == {"error": text, "message": text, "code": "rate_limited", "retry_after_ms": 60_000}
        assert answer.headers["retry-after"] == "60"
        assert answer.headers["access-control-allow-origin"] == APP
        assert "x-request-id" in answer.headers

    def test_openais_clients_hear_it_in_their_words(self, limited: Running) -> None:
        exhaust(limited)
        answer = limited.client.post("/v1/audio/transcriptions")
        assert answer.status_code == 429
        error = {"message": "Too many requests", "type": "rate_limit_error", "param": None, "code": "rate_limited"}
        assert answer.json() == {"error": error}
        assert answer.headers["retry-after"] == "60"

    def test_and_those_of_jobs_in_theirs(self, limited: Running) -> None:
        exhaust(limited)
        answer = limited.client.get("/jobs")
        assert answer.status_code == 429
        assert answer.json() == {"error": "Too many requests", "code": "rate_limited", "retry_after_ms": 60_000}

    def test_probes_cost_nothing_and_pass(self, limited: Running) -> None:
        for _ in range(2 * BURST):
            assert limited.client.get("/health").status_code == 200
        exhaust(limited)
        assert limited.client.get("/health").status_code == 200
        assert limited.client.get("/ready").status_code == 200

    @pytest.mark.parametrize(("method", "path"), [("OPTIONS", "/v1/transcribe"), ("GET", "/nothing")])
    def test_preflights_and_unknown_paths_cost_a_token(self, limited: Running, method: str, path: str) -> None:
        for _ in range(BURST):
            assert limited.client.request(method, path).status_code in (204, 404)
        assert limited.client.request(method, path).status_code == 429

    def test_a_session_costs_one_however_long_it_talks(self, limited: Running) -> None:
        for _ in range(BURST):
            with connect(limited.ws_url, proxy=None) as session:
                session.recv(timeout=20)
                for _ in range(10):
                    session.send(bytes(3200))
        with pytest.raises(InvalidStatus) as refused, connect(limited.ws_url, proxy=None):
            pass
        assert refused.value.response.status_code == 429

    def test_a_foreign_page_is_refused_before_and_costs_nothing(self, limited: Running) -> None:
        for _ in range(2 * BURST):
            answer = limited.client.get("/v1/models", headers={"origin": "https://evil.example"})
            assert answer.status_code == 403
        exhaust(limited)
        assert limited.client.get("/v1/models", headers={"origin": "https://evil.example"}).status_code == 403

    def test_each_address_that_the_proxy_tells_has_its_own(self, limited: Running) -> None:
        for client in ("192.0.2.1", "192.0.2.2", "2001:db8::1"):
            exhaust(limited, **{"x-forwarded-for": client})
            answer = limited.client.get("/v1/models", headers={"x-forwarded-for": f"203.0.113.9, {client}"})
            assert answer.status_code == 429

    @pytest.mark.slow
    def test_thousands_of_addresses_leave_good_clients_alone(self, limited: Running) -> None:
        random.seed(1)
        for number in range(2000):
            client = f"10.{random.randrange(256)}.{random.randrange(256)}.{number % 256}"
            with suppress(httpx2.ReadError):
                limited.client.get("/nothing", headers={"x-forwarded-for": client})
        exhaust(limited, **{"x-forwarded-for": "192.0.2.7"})


@pytest.mark.slow
def test_a_hundred_thousand_addresses_behind_a_proxy_cost_little_and_nobody_else() -> None:
    """Each asks through the whole of what stands before the doors; one that knows better asks as it may."""

    async def served(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": []})

    clock = Clock()
    guards = Guards(limiter=RateLimiter(RateRule(60, 2), clock), proxies=TrustedProxies((ip_network("127.0.0.1"),)))
    app = Guard(RateLimit(served, guards.limiter, NOBODY), guards)

    async def status(client: str) -> int:
        told: list[Message] = []

        async def send(message: Message) -> None:
            told.append(message)

        headers = [(b"host", b"x"), (b"x-forwarded-for", client.encode())]
        scope = {"type": "http", "method": "GET", "path": "/v1/models", "client": ("127.0.0.1", 1), "headers": headers}
        await app(scope, _no_message, send)
        return int(told[0]["status"])

    async def ask() -> None:
        good = 0
        for number in range(MAX_BUCKETS):
            clock.now_ms += 1
            assert await status(str(ip_address(0x0A000000 + number))) == 204
            if number % 1000 == 999:
                assert await status("192.0.2.1") == 204
                good += 1
        assert good == 100
        assert len(guards.limiter) == MAX_BUCKETS
        assert [await status("10.0.0.50") for _ in range(3)] == [204, 204, 429]

    asyncio.run(ask())


async def _no_message() -> Message:
    raise AssertionError("no body is asked for")


def test_without_a_trusted_proxy_no_header_makes_another_client() -> None:
    """Neither ours nor uvicorn's, which by itself believes whoever asks from this machine."""
    with serving(FakeEngine(), guards=Guards(limiter=RateLimiter(RateRule(1, 2), Clock()))) as server:
        headers = ("x-forwarded-for", "x-real-ip", "forwarded")
        told = [server.client.get("/v1/models", headers={name: "192.0.2.1"}).status_code for name in headers]
        assert told == [200, 200, 429]


def test_wrong_keys_are_counted_before_they_are_told_so(tmp_path_factory: pytest.TempPathFactory) -> None:
    file = KeyFile(tmp_path_factory.mktemp("data") / "keys.json")
    file.create("laptop")
    guards = Guards(limiter=RateLimiter(RateRule(1, 2), Clock()))
    with serving(FakeEngine(), keys=KeyRing(file.path), guards=guards) as server:
        assert [server.client.get("/v1/models").status_code for _ in range(3)] == [401, 401, 429]


def test_a_limited_client_hears_that_before_its_body_is_too_large() -> None:
    guards = Guards(limiter=RateLimiter(RateRule(1, 1), Clock()))
    with serving(FakeEngine(), guards=guards) as server:
        body = bytes(server.state.limits.body_bytes + 1)
        assert [server.client.post("/v1/transcribe", content=body).status_code for _ in range(2)] == [413, 429]
