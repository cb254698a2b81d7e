"""POST /jobs, rule by rule of its wire contract, over a real socket."""

import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import httpx2
import pytest

from molva.engines.fake import FakeEngine
from molva.errors import AddressRefused, PayloadTooLarge, StoreFull
from molva.http.state import Limits
from molva.jobs.job import JobPriority, Status
from molva.jobs.store import Idempotency
from molva.keys import KeyRing
from molva.models.store import ModelStore
from molva.runtime.speakers import Speakers
from molva.speech.clustering import SpeakerCount
from molva.spool import SpoolFile
from tests.http.jobs.conftest import JobServer, job_of, serving_jobs, told
from tests.http.openai.conftest import SPEECH, Speaker, store_of

MIB = 2**20
HOOK = "https://a.example/hook"


@pytest.fixture(scope="module")
def shared() -> Iterator[JobServer]:
    with serving_jobs(limits=Limits(body_bytes=1000, max_audio_s=10, inference_timeout_s=60)) as server:
        yield server


@pytest.fixture
def server(shared: JobServer) -> JobServer:
    shared.registered.clear()
    for path in shared.recordings.iterdir():
        path.unlink()
    return shared


def known_jobs(server: JobServer) -> int:
    return len(server.store.page(limit=500).jobs)


@pytest.fixture
def makes_no_job(server: JobServer) -> Iterator[None]:
    before = known_jobs(server)
    yield
    assert known_jobs(server) == before
    server.server.wait_until(lambda _: not server.kept())


class TestAccepted:
    def test_a_recording_becomes_a_queued_job(self, server: JobServer) -> None:
        job = server.store.get(job_of(server.submit()))
        assert (job.status, job.submission.task, job.language) == (Status.QUEUED, "transcribe", None)
        assert job.submission.model == "whisper-base"

    def test_its_bytes_are_kept_as_they_were(self, server: JobServer) -> None:
        job_id = job_of(server.submit())
        assert [path.name for path in server.kept()] == [job_id]
        assert (server.recordings / job_id).read_bytes() == SPEECH

    def test_it_may_be_larger_than_other_bodies_and_need_no_length(self, server: JobServer) -> None:
        boundary = b'--b\r\nContent-Disposition: form-data; name="audio"; filename="a"\r\n\r\n'

        def body() -> Iterator[bytes]:
            yield boundary
            for _ in range(8):
                yield b"x" * MIB
            yield b"\r\n--b--\r\n"

        headers = {"content-type": "multipart/form-data; boundary=b"}
        job_id = job_of(server.client.post("/jobs", content=body(), headers=headers))
        assert (server.recordings / job_id).stat().st_size == 8 * MIB

    def test_audio_that_cannot_be_decoded_is_accepted(self, server: JobServer) -> None:
        job_of(server.submit(b"not audio at all"))

    @pytest.mark.parametrize(
        ("name", "known_as"),
        [("запись.ogg", "запись.ogg"), ("../../etc/passwd", "passwd"), ("C:\\music\\a.flac", "a.flac")],
    )
    def test_its_name_is_kept_and_is_no_path(self, server: JobServer, name: str, known_as: str) -> None:
        assert server.store.get(job_of(server.submit(name=name))).submission.filename == known_as

    def test_all_that_is_asked_for_is_kept(self, server: JobServer) -> None:
        answer = server.submit(task="translate", language="DE", priority="high", webhook_url=HOOK, anything="else")
        submission = server.store.get(job_of(answer)).submission
        assert (submission.task, submission.language, submission.priority, submission.webhook_url) == (
            "translate",
            "de",
            JobPriority.HIGH,
            HOOK,
        )

    @pytest.mark.parametrize(
        ("fields", "kept"), [({}, "mix"), ({"channels": "mix"}, "mix"), ({"channels": "split"}, "split")]
    )
    def test_what_becomes_of_the_channels_is_kept(self, server: JobServer, fields: dict[str, str], kept: str) -> None:
        job_id = job_of(server.submit(**fields))
        assert server.store.get(job_id).submission.channels == kept
        assert server.client.get(f"/jobs/{job_id}").json().get("channels", "mix") == kept

    def test_a_form_without_a_file_name_is_taken(self, server: JobServer) -> None:
        answer = server.client.post("/jobs", files={"audio": (None, b"sound")})
        assert server.store.get(job_of(answer)).submission.filename is None

    def test_the_webhook_wants_to_hear_of_the_model_too(self, server: JobServer) -> None:
        job_of(server.submit(webhook_url=HOOK))
        assert server.registered == [HOOK]


class TestRefused:
    @pytest.fixture(autouse=True)
    def _nothing_is_made(self, makes_no_job: None) -> None:
        pass

    def test_without_a_recording(self, server: JobServer) -> None:
        assert told(server.submit(None, task="transcribe"), 400) == ("missing_audio", "missing 'audio' field")

    def test_with_the_recording_in_another_field(self, server: JobServer) -> None:
        answer = server.client.post("/jobs", files={"file": ("a.ogg", SPEECH)})
        assert told(answer, 400) == ("missing_audio", "missing 'audio' field")

    def test_with_an_empty_recording(self, server: JobServer) -> None:
        assert told(server.submit(b""), 400) == ("empty_body", "audio field is empty")

    def test_with_another_task(self, server: JobServer) -> None:
        refusal = ("invalid_option", "task must be 'transcribe' or 'translate'")
        assert told(server.submit(task="diarize"), 400) == refusal

    @pytest.mark.parametrize("language", ["auto", ""])
    def test_with_auto_for_a_language(self, server: JobServer, language: str) -> None:
        code, message = told(server.submit(language=language), 400)
        assert (code, "leave it out" in message) == ("invalid_option", True)

    def test_with_a_language_nobody_knows(self, server: JobServer) -> None:
        assert told(server.submit(language="tlh"), 400)[0] == "invalid_option"

    def test_with_another_model(self, server: JobServer) -> None:
        assert told(server.submit(model="../x"), 400)[0] == "invalid_option"

    def test_with_another_wish_for_the_channels(self, server: JobServer) -> None:
        assert told(server.submit(channels="left"), 400) == ("invalid_option", "channels must be 'mix' or 'split'")

    def test_with_another_priority(self, server: JobServer) -> None:
        assert told(server.submit(priority="urgent"), 400)[0] == "invalid_option"

    @pytest.mark.parametrize("url", ["ftp://a/b", "file:///etc/passwd", "hook", "http://", "http://[a"])
    def test_with_a_webhook_that_is_no_address(self, server: JobServer, url: str) -> None:
        assert told(server.submit(webhook_url=url), 400)[0] == "address_refused"

    def test_with_a_webhook_that_the_operator_forbids(self, server: JobServer, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(url: str) -> None:
            raise AddressRefused(f"not {url}")

        monkeypatch.setattr(server.server.state, "check_webhook_url", refuse)
        assert told(server.submit(webhook_url=HOOK), 400) == ("address_refused", f"not {HOOK}")

    @pytest.mark.parametrize("fields", [{"task": "x"}, {"model": "x"}, {"language": "auto"}])
    def test_then_its_webhook_hears_of_nothing(self, server: JobServer, fields: dict[str, str]) -> None:
        told(server.submit(webhook_url=HOOK, **fields), 400)
        assert server.registered == []

    @pytest.mark.parametrize("body", [b"", b"--other\r\n\r\n--other--", b"--b\r\nbroken", b"audio=x"])
    def test_when_the_form_is_broken(self, server: JobServer, body: bytes) -> None:
        headers = {"content-type": "multipart/form-data; boundary=b"}
        code, message = told(server.client.post("/jobs", content=body, headers=headers), 400)
        assert (code, message.startswith("multipart error: ")) == ("invalid_option", True)

    @pytest.mark.parametrize("kind", ["application/json", "audio/ogg", "multipart/form-data"])
    def test_when_it_is_no_form(self, server: JobServer, kind: str) -> None:
        answer = server.client.post("/jobs", content=SPEECH, headers={"content-type": kind})
        assert told(answer, 400)[1].startswith("multipart error: ")

    def test_with_two_recordings(self, server: JobServer) -> None:
        answer = server.client.post("/jobs", files=[("audio", ("a", b"one")), ("audio", ("b", b"two"))])
        assert told(answer, 400) == (
            "invalid_option",
            "multipart error: Field 'audio': more than one file was sent.",
        )

    def test_with_a_huge_field(self, server: JobServer) -> None:
        assert told(server.submit(language="x" * 70_000), 400)[1].startswith("multipart error: Field 'language'")

    def test_when_the_client_goes_away(self, server: JobServer) -> None:
        with cut(server) as connection:
            server.server.wait_until(lambda _: bool(server.kept()))
            connection.close()


class TestSpeakers:
    def test_how_many_there_may_be_is_kept(self, speaker_dir: Path) -> None:
        speakers = Speakers(ModelStore(speaker_dir))
        with serving_jobs(speakers=speakers) as server:
            job_id = job_of(server.submit(diarization="true", max_speakers="3"))
            assert server.store.get(job_id).submission.speakers == SpeakerCount(1, 3)
            assert server.store.get(job_of(server.submit())).submission.speakers is None

    def test_they_count_for_idempotency(self, speaker_dir: Path) -> None:
        with serving_jobs(speakers=Speakers(ModelStore(speaker_dir))) as server:
            job_of(server.submit(key="k"))
            code, _ = told(server.submit(key="k", diarization="true"), 409)
            assert code == "idempotency_mismatch"

    @pytest.mark.usefixtures("makes_no_job")
    def test_without_the_models_who_asks_is_told(self, server: JobServer) -> None:
        code, _ = told(server.submit(diarization="true"), 409)
        assert code == "diarization_not_available"

    @pytest.mark.usefixtures("makes_no_job")
    def test_nonsense_is_refused(self, server: JobServer) -> None:
        assert told(server.submit(diarization="true", num_speakers="99"), 400) == (
            "invalid_option",
            "num_speakers must be 1 to 64, not 99",
        )


class TestAddressOfAFile:
    @pytest.fixture
    def fetched(self, server: JobServer, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """The addresses that were fetched."""
        fetched: list[str] = []

        def fetch(url: str, into: SpoolFile) -> None:
            fetched.append(url)
            if "large" in url:
                raise PayloadTooLarge
            into.write(b"" if "empty" in url else SPEECH)

        monkeypatch.setattr(server.server.state, "fetch", fetch)
        return fetched

    def test_is_fetched_in_place_of_a_recording(self, server: JobServer, fetched: list[str]) -> None:
        url = "https://a.example/%D1%8F/%D1%80%2Fa.ogg?token=secret"
        job_id = job_of(server.submit(None, audio_url=url))
        assert fetched == [url]
        assert (server.recordings / job_id).read_bytes() == SPEECH
        assert server.store.get(job_id).submission.filename == "a.ogg"

    @pytest.mark.usefixtures("fetched", "makes_no_job")
    def test_does_not_go_with_a_recording(self, server: JobServer) -> None:
        assert told(server.submit(audio_url="https://a.example/a"), 400)[0] == "invalid_option"

    @pytest.mark.usefixtures("fetched", "makes_no_job")
    @pytest.mark.parametrize(("name", "status"), [("large", 413), ("empty", 400)])
    def test_that_cannot_be_used_makes_no_job(self, server: JobServer, name: str, status: int) -> None:
        told(server.submit(None, audio_url=f"https://a.example/{name}"), status)

    @pytest.mark.usefixtures("makes_no_job")
    def test_is_refused_where_nothing_is_fetched(self, server: JobServer) -> None:
        assert told(server.submit(None, audio_url="https://a.example/a"), 400)[0] == "address_refused"

    @pytest.mark.usefixtures("fetched", "makes_no_job")
    @pytest.mark.parametrize("url", ["http://[", "https://a.example:x/a", "ftp://a.example/a", "a"])
    def test_is_refused_where_it_is_none(self, server: JobServer, url: str) -> None:
        assert told(server.submit(None, audio_url=url), 400)[0] == "address_refused"

    def test_is_not_fetched_again_for_the_same_submission(self, server: JobServer, fetched: list[str]) -> None:
        first = job_of(server.submit(None, key="u", audio_url="https://a.example/a"))
        assert job_of(server.submit(None, key="u", audio_url="https://a.example/a")) == first
        told(server.submit(None, key="u", audio_url="https://a.example/b"), 409)
        assert fetched == ["https://a.example/a"]


class TestIdempotency:
    def test_the_same_submission_makes_one_job(self, server: JobServer) -> None:
        first = server.submit(key="k1", language="ru")
        again = server.submit(key="k1", language="ru")
        assert job_of(again) == job_of(first)
        assert "idempotent-replayed" not in first.headers
        assert again.headers["idempotent-replayed"] == "true"
        assert len(server.kept()) == 1

    def test_the_one_that_is_overtaken_is_told_so_too(self, server: JobServer, monkeypatch: pytest.MonkeyPatch) -> None:
        async def not_yet(_idempotency: Idempotency) -> None:
            return None

        monkeypatch.setattr(server.jobs, "submitted_before", not_yet)
        first, again = server.submit(key="raced"), server.submit(key="raced")
        assert job_of(again) == job_of(first)
        assert ["idempotent-replayed" in answer.headers for answer in (first, again)] == [False, True]
        assert len(server.kept()) == 1

    @pytest.mark.parametrize(
        ("audio", "fields"), [(SPEECH + b"x", {}), (SPEECH, {"language": "en"}), (SPEECH, {"anything": "else"})]
    )
    def test_another_one_with_the_same_key_is_refused(
        self, server: JobServer, audio: bytes, fields: dict[str, str]
    ) -> None:
        key = f"{len(audio)} {fields}"
        job_of(server.submit(key=key))
        assert told(server.submit(audio, key=key, **fields), 409)[0] == "idempotency_mismatch"

    def test_without_a_key_every_submission_makes_a_job(self, server: JobServer) -> None:
        assert job_of(server.submit()) != job_of(server.submit())

    @pytest.mark.parametrize("key", [b"", b"x" * 256, b"a\tb", "ключ".encode()])
    @pytest.mark.usefixtures("makes_no_job")
    def test_a_key_that_is_none_is_refused(self, server: JobServer, key: bytes) -> None:
        headers = {b"idempotency-key": key}
        answer = server.client.post("/jobs", files={"audio": ("a", SPEECH)}, headers=headers)
        assert told(answer, 400)[0] == "invalid_option"

    def test_the_longest_key_is_taken(self, server: JobServer) -> None:
        job_of(server.submit(key="~" * 255))

    def test_each_holder_of_a_key_has_their_own(self, tmp_path: Path) -> None:
        keys = KeyRing(tmp_path / "keys.json", {"one": "first", "two": "second"})
        with serving_jobs(keys=keys) as server:
            ids = []
            for secret in ("first", "second", "first"):
                server.client.headers["authorization"] = f"Bearer {secret}"
                ids.append(job_of(server.submit(key="k")))
        assert ids[0] == ids[2] != ids[1]


class TestModels:
    def test_without_a_name_the_language_decides(self, tmp_path: Path) -> None:
        store = store_of(tmp_path, "gigaam-v3-e2e-rnnt")
        with serving_jobs(store=store) as server:
            by_language = [
                server.store.get(job_of(server.submit(**fields))).submission.model
                for fields in ({"language": "ru"}, {"language": "de"}, {"model": "v3_e2e_rnnt"}, {})
            ]
        assert by_language == ["gigaam-v3-e2e-rnnt", "whisper-base", "gigaam-v3-e2e-rnnt", "whisper-base"]

    def test_translation_needs_a_model_for_it(self) -> None:
        with serving_jobs(Speaker("gigaam-v3-e2e-rnnt", "ru")) as server:
            assert told(server.submit(task="translate"), 400) == (
                "unsupported_task",
                "task 'translate' is not supported by the loaded model",
            )


class TestWhileTheModelLoads:
    def test_a_submission_is_refused_and_nothing_is_stored(self) -> None:
        with serving_jobs(loading=True) as server:
            with cut(server):
                time.sleep(0.1)
                assert server.kept() == []
            assert server.submit(b"x" * 3 * MIB).status_code == 503
            assert known_jobs(server) == 0

    def test_its_webhook_is_told_of_the_model_though_it_comes_last(self) -> None:
        with serving_jobs(loading=True) as server:
            assert server.submit(webhook_url=HOOK).status_code == 503
            assert server.registered == [HOOK]

    def test_what_makes_no_sense_is_told_first(self) -> None:
        with serving_jobs(loading=True) as server:
            assert server.submit(webhook_url=HOOK, task="x").status_code == 400
            assert server.registered == []


class TestDisk:
    def free(self, monkeypatch: pytest.MonkeyPatch, n_bytes: int) -> None:
        monkeypatch.setattr("shutil.disk_usage", lambda _folder: SimpleNamespace(free=n_bytes))

    @pytest.mark.usefixtures("makes_no_job")
    def test_what_will_not_fit_is_refused_before_it_is_sent(
        self, server: JobServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.free(monkeypatch, 1000 * MIB)
        with connected(server) as connection:
            connection.sendall(head(f"Content-Length: {800 * MIB}", "Expect: 100-continue"))
            assert connection.recv(4096).startswith(b"HTTP/1.1 507")

    @pytest.mark.usefixtures("makes_no_job")
    def test_a_disk_that_fills_up_meanwhile_leaves_nothing(
        self, server: JobServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with cut(server) as connection:
            server.server.wait_until(lambda _: bool(server.kept()))
            self.free(monkeypatch, 256 * MIB)
            connection.sendall(b"x" * 2 * MIB)
            assert connection.recv(4096).startswith(b"HTTP/1.1 507")

    @pytest.mark.usefixtures("makes_no_job")
    def test_a_database_without_room_leaves_no_recording(
        self, server: JobServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*_: object) -> None:
            raise StoreFull

        monkeypatch.setattr(server.store, "submit", full)
        assert told(server.submit(), 507)[0] == "disk_full"

    def test_what_fits_is_taken(self, server: JobServer, monkeypatch: pytest.MonkeyPatch) -> None:
        self.free(monkeypatch, 257 * MIB)
        job_of(server.submit())

    @pytest.mark.usefixtures("makes_no_job")
    def test_the_answer_says_what_is_wrong(self, server: JobServer, monkeypatch: pytest.MonkeyPatch) -> None:
        self.free(monkeypatch, 10 * MIB)
        assert told(server.submit(), 507)[0] == "disk_full"


def test_a_draining_server_takes_no_job() -> None:
    with serving_jobs() as server:
        server.server.drain()
        assert told(server.submit(), 503)[0] == "pool_closed"


def test_a_slow_upload_is_a_job_like_any_other(server: JobServer) -> None:
    body = form(b"slow sound")
    with connected(server) as connection:
        connection.sendall(head(f"Content-Length: {len(body)}"))
        for i in range(0, len(body), 10):
            connection.sendall(body[i : i + 10])
            time.sleep(0.01)
        answer = connection.recv(4096)
        while not answer.endswith(b"}"):
            answer += connection.recv(4096)
    assert answer.startswith(b"HTTP/1.1 202")
    found = re.search(rb'"job_id":"([^"]+)"', answer)
    assert found is not None
    assert (server.recordings / found[1].decode()).read_bytes() == b"slow sound"


def test_a_browser_may_ask_first(server: JobServer) -> None:
    assert server.client.options("/jobs").status_code == 204


def test_a_server_without_jobs_does_not_know_the_path() -> None:
    with serving_jobs() as server:
        server.server.state.jobs = None
        for method, path in [("POST", "/jobs"), ("GET", "/jobs"), ("OPTIONS", "/jobs"), ("GET", "/jobs/x")]:
            assert server.client.request(method, path).status_code == 404


def test_the_model_need_not_be_of_the_catalog() -> None:
    with serving_jobs(FakeEngine()) as server:
        assert server.store.get(job_of(server.submit(language="ru"))).submission.model == "fake"


# By hand.


def form(audio: bytes) -> bytes:
    start = b'--b\r\nContent-Disposition: form-data; name="audio"; filename="a.ogg"\r\n\r\n'
    return start + audio + b"\r\n--b--\r\n"


def head(*lines: str) -> bytes:
    kind = "Content-Type: multipart/form-data; boundary=b"
    return "\r\n".join(["POST /jobs HTTP/1.1", "Host: x", kind, *lines, "", ""]).encode()


def connected(server: JobServer) -> socket.socket:
    url = httpx2.URL(server.server.url)
    return socket.create_connection((url.host, url.port or 80), timeout=20)


def cut(server: JobServer) -> socket.socket:
    """A connection with an upload of 8 MiB, of which 2 MiB have come."""
    body = form(b"x" * 8 * MIB)
    connection = connected(server)
    connection.sendall(head(f"Content-Length: {len(body)}") + body[: 2 * MIB])
    return connection
