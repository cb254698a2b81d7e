"""How much a key may use: accounts by the clock, and what is heard over real sockets."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from molva.engines.fake import FakeEngine
from molva.errors import QuotaExceeded
from molva.http.guard import Guards
from molva.http.quotas import DAY_S, Account, Quotas
from molva.keys import KeyFile, KeyRing, Quota
from molva.runtime.loading import sample_speech
from tests.http.conftest import Gate, Running, serving, wav
from tests.http.test_auth import bearer

NOON = 20_000 * DAY_S + DAY_S / 2


class Clocks:
    """Stand still unless they are moved."""

    def __init__(self) -> None:
        self.passed_s = 0.0

    def pass_by(self, seconds: float) -> None:
        self.passed_s += seconds

    def quotas(self) -> Quotas:
        return Quotas(lambda: int(self.passed_s * 10**9), lambda: NOON + self.passed_s)


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
def account(clocks: Clocks) -> Account:
    return clocks.quotas().account("laptop")


def use(account: Account, quota: Quota, *, brings_audio: bool = True) -> None:
    with account.use(quota, brings_audio=brings_audio):
        pass


class TestAccount:
    def test_without_a_quota_nothing_ends(self, account: Account) -> None:
        account.charge(1e9)
        for _ in range(1000):
            use(account, Quota())

    def test_requests_come_back_with_time(self, account: Account, clocks: Clocks) -> None:
        quota = Quota(requests_per_minute=30)
        for _ in range(30):
            use(account, quota)
        with pytest.raises(QuotaExceeded, match="30 requests") as refused:
            use(account, quota)
        assert refused.value.retry_after_s == 2
        clocks.pass_by(2)
        use(account, quota)

    def test_audio_comes_back_at_midnight(self, account: Account, clocks: Clocks) -> None:
        quota = Quota(audio_seconds_per_day=60)
        account.charge(59.9)
        use(account, quota)
        account.charge(0.1)
        clocks.pass_by(100)
        with pytest.raises(QuotaExceeded, match="60 seconds") as refused:
            use(account, quota)
        assert refused.value.retry_after_s == DAY_S / 2 - 100
        clocks.pass_by(refused.value.retry_after_s)
        use(account, quota)

    def test_what_brings_no_audio_goes_on_without(self, account: Account) -> None:
        account.charge(61)
        use(account, Quota(audio_seconds_per_day=60), brings_audio=False)

    def test_places_come_back_when_others_end_and_after_errors(self, account: Account) -> None:
        quota = Quota(concurrent=2)
        with ExitStack() as running:
            for _ in range(2):
                running.enter_context(account.use(quota, brings_audio=True))
            with pytest.raises(QuotaExceeded, match="2 requests"):
                use(account, quota)
        with pytest.raises(ZeroDivisionError), account.use(quota, brings_audio=True):
            1 / 0  # noqa: B018
        for _ in range(3):
            use(account, quota)

    def test_keys_share_nothing(self, clocks: Clocks) -> None:
        quotas, quota = clocks.quotas(), Quota(requests_per_minute=1)
        use(quotas.account("a"), quota)
        use(quotas.account("b"), quota)
        with pytest.raises(QuotaExceeded):
            use(quotas.account("a"), quota)


class Metered:
    """A server with one key and its account."""

    def __init__(self, server: Running, key: str, account: Account) -> None:
        self.server = server
        self.key = key
        self.account = account
        self.headers = bearer(key)

    def transcribe(self) -> int:
        body = wav(sample_speech())
        return self.server.client.post("/v1/transcribe", content=body, headers=self.headers).status_code

    def handshake(self) -> int:
        try:
            with connect(self.server.ws_url, additional_headers=self.headers, proxy=None):
                return 101
        except InvalidStatus as refused:
            return refused.response.status_code


@pytest.fixture
def metered(tmp_path: Path, clocks: Clocks) -> Iterator[Callable[..., Metered]]:
    with ExitStack() as work:

        def start(quota: Quota, engine: FakeEngine | None = None) -> Metered:
            file, quotas = KeyFile(tmp_path / "keys.json"), clocks.quotas()
            key = file.create("laptop", quota)
            server = work.enter_context(
                serving(engine or FakeEngine(), keys=KeyRing(file.path), guards=Guards(quotas=quotas))
            )
            return Metered(server, key, quotas.account("laptop"))

        yield start


CLIP_S = len(sample_speech()) / 16_000


class TestOverSockets:
    def test_each_door_has_its_words(self, metered: Callable[..., Metered]) -> None:
        laptop = metered(Quota(requests_per_minute=1))
        client = laptop.server.client
        assert client.get("/v1/models", headers=laptop.headers).status_code == 200
        native, openai, jobs = (
            client.post(path, headers=laptop.headers)
            for path in ("/v1/transcribe", "/v1/audio/transcriptions", "/jobs")
        )
        for answer in (native, openai, jobs):
            assert (answer.status_code, answer.headers["retry-after"]) == (429, "60")
        assert (native.json()["code"], native.json()["retry_after_ms"]) == ("quota_exceeded", 60_000)
        assert (jobs.json()["code"], jobs.json()["retry_after_ms"]) == ("quota_exceeded", 60_000)
        assert openai.json()["error"]["code"] == "quota_exceeded"
        assert openai.json()["error"]["type"] == "rate_limit_error"
        assert laptop.handshake() == 429
        assert client.get("/health", headers=laptop.headers).status_code == 200
        assert client.options("/v1/transcribe", headers=laptop.headers).status_code == 204

    def test_audio_of_files_counts_and_looking_goes_on(self, metered: Callable[..., Metered]) -> None:
        laptop = metered(Quota(audio_seconds_per_day=int(2 * CLIP_S)))
        assert [laptop.transcribe() for _ in range(4)] == [200, 200, 429, 429]
        assert laptop.handshake() == 429
        assert laptop.server.client.get("/v1/models", headers=laptop.headers).status_code == 200

    def test_audio_of_sessions_counts_while_they_last(self, metered: Callable[..., Metered]) -> None:
        laptop = metered(Quota(audio_seconds_per_day=2))
        with connect(laptop.server.ws_url, additional_headers=laptop.headers, proxy=None) as session:
            session.recv(timeout=20)
            session.send('{"type":"configure","sample_rate":16000}')
            session.send(bytes(3 * 32_000))
            laptop.server.wait_until(lambda _: laptop.handshake() == 429)
            session.send('{"type":"stop"}')
            assert list(session)  # it ends as it would have

    def test_places_are_for_requests_and_sessions_together(self, metered: Callable[..., Metered], gate: Gate) -> None:
        laptop = metered(Quota(concurrent=1))
        with connect(laptop.server.ws_url, additional_headers=laptop.headers, proxy=None) as session:
            session.recv(timeout=20)
            assert laptop.transcribe() == 429
            assert laptop.handshake() == 429
            session.close()
        laptop.server.wait_until(lambda _: laptop.transcribe() == 200)

    def test_a_new_quota_counts_at_once(self, metered: Callable[..., Metered], tmp_path: Path) -> None:
        laptop = metered(Quota())
        assert [laptop.transcribe() for _ in range(3)] == [200] * 3
        file = KeyFile(tmp_path / "keys.json")
        file.create("tight", Quota(requests_per_minute=1))
        file.path.write_text(file.path.read_text().replace('"laptop"', '"spare"').replace('"tight"', '"laptop"'))
        assert laptop.transcribe() == 200  # its key is "spare" now, without a quota
