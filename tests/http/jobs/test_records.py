"""Jobs that are there: GET, DELETE and results, rule by rule, over a real socket."""

import json
import uuid
from collections.abc import Iterator
from dataclasses import replace

import pytest

from molva.jobs.job import JobPriority, Status
from tests.http.jobs.conftest import TRANSCRIPT, WORDS, JobServer, job_of, serving_jobs, told

UNKNOWN = str(uuid.UUID(int=4 << 76 | 2 << 62))


@pytest.fixture(scope="module")
def shared() -> Iterator[JobServer]:
    with serving_jobs() as server:
        yield server


@pytest.fixture
def server(shared: JobServer) -> JobServer:
    """Without any job."""
    for job in shared.store.page(limit=500).jobs:
        shared.client.delete(f"/jobs/{job.id}?purge=true")
    return shared


class TestOne:
    def test_a_queued_job_has_what_is_known_of_it(self, server: JobServer) -> None:
        job_id = job_of(server.submit(language="ru", priority="low", webhook_url="https://a.example/x"))
        job = server.client.get(f"/jobs/{job_id}").json()
        assert job.pop("created_at").endswith("Z")
        assert job == {
            "id": job_id,
            "status": "queued",
            "task": "transcribe",
            "language": "ru",
            "priority": "low",
            "model": "whisper-base",
            "progress": 0,
            "webhook_url": "https://a.example/x",
            "filename": "speech.wav",
            "segments": [],
        }

    def test_a_running_job_tells_how_far_it_is(self, server: JobServer) -> None:
        job, claim = server.planned(4)
        server.advance(claim, 0)
        answer = server.client.get(f"/jobs/{job.id}").json()
        assert (answer["status"], answer["progress"], answer["duration_secs"]) == ("running", 25, 4.0)
        assert answer["segments"] == []

    def test_a_done_job_has_its_segments_and_words(self, server: JobServer) -> None:
        job = server.client.get(f"/jobs/{server.done().id}").json()
        assert (job["status"], job["progress"], job["duration_secs"], job["language"]) == ("done", 100, 4.0, "ru")
        assert "completed_at" in job
        assert job["segments"] == [
            {
                "index": 0,
                "start": 0.1,
                "end": 0.9,
                "text": "Раз два.",
                "words": [
                    {"text": "Раз", "start": 0.1, "end": 0.4, "probability": 0.9877},
                    {"text": "два.", "start": 0.5, "end": 0.9, "probability": 0.5},
                ],
            }
        ]

    def test_a_word_has_its_speaker_where_that_is_known(self, server: JobServer) -> None:
        words = (replace(WORDS[0], speaker=1), WORDS[1])
        transcript = replace(TRANSCRIPT, segments=(replace(TRANSCRIPT.segments[0], words=words),))
        job = server.client.get(f"/jobs/{server.done(transcript).id}").json()
        assert [word.get("speaker") for word in job["segments"][0]["words"]] == [1, None]

    def test_a_failed_job_says_why(self, server: JobServer) -> None:
        job = server.client.get(f"/jobs/{server.failed('no audio').id}").json()
        assert (job["status"], job["error"], job["segments"]) == ("failed", "no audio", [])

    def test_the_id_may_be_spelled_as_any_uuid(self, server: JobServer) -> None:
        job_id = server.queued().id
        assert server.client.get(f"/jobs/{job_id.upper()}").json()["id"] == job_id


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("GET", "/stream"),
        ("GET", "/result"),
        ("GET", "/waveform"),
        ("DELETE", ""),
        ("DELETE", "?purge=true"),
    ],
)
class TestNone:
    def test_an_unknown_job(self, server: JobServer, method: str, path: str) -> None:
        answer = server.client.request(method, f"/jobs/{UNKNOWN}{path}")
        assert told(answer, 404) == ("job_not_found", f"job {UNKNOWN} not found")

    @pytest.mark.parametrize("job_id", ["1", "x" * 200, "%00", "00000000-0000-0000-0000-00000000000g"])
    def test_what_is_no_id(self, server: JobServer, method: str, path: str, job_id: str) -> None:
        assert told(server.client.request(method, f"/jobs/{job_id}{path}"), 400)[0] == "invalid_option"


class TestList:
    def test_an_empty_list(self, server: JobServer) -> None:
        assert server.client.get("/jobs").json() == {"jobs": [], "next_cursor": None}

    def test_newest_first_without_segments(self, server: JobServer) -> None:
        ids = [server.queued().id, server.queued(priority=JobPriority.HIGH).id]
        jobs = server.client.get("/jobs").json()["jobs"]
        assert [job["id"] for job in jobs] == ids[::-1]
        assert all("segments" not in job for job in jobs)

    def test_pages_hold_still_while_jobs_come_and_go(self, server: JobServer) -> None:
        ids = [server.queued().id for _ in range(5)]
        found: list[str] = []
        query: dict[str, str] = {"limit": "2"}
        while True:
            page = server.client.get("/jobs", params=query).json()
            found += [job["id"] for job in page["jobs"]]
            server.queued()
            if page["next_cursor"] is None:
                break
            query["cursor"] = page["next_cursor"]
        assert found == ids[::-1]

    def test_states_can_be_chosen(self, server: JobServer) -> None:
        done, failed, queued = server.done().id, server.failed().id, server.queued().id

        def listed(status: str) -> set[str]:
            return {job["id"] for job in server.client.get("/jobs", params={"status": status}).json()["jobs"]}

        assert listed("done") == {done}
        assert listed("queued, FAILED,failed") == {queued, failed}
        assert listed("cancelled") == set()
        assert listed("") == {done, failed, queued}

    @pytest.mark.parametrize(
        "query", ["status=ready", "limit=0", "limit=501", "limit=x", "cursor=x", "cursor=-1", "status=done,x"]
    )
    def test_what_cannot_be_asked_for(self, server: JobServer, query: str) -> None:
        assert server.client.get(f"/jobs?{query}").status_code == 400


class TestCancel:
    def test_a_queued_job_is_cancelled_and_its_recording_goes(self, server: JobServer) -> None:
        job_id = job_of(server.submit())
        answer = server.client.delete(f"/jobs/{job_id}")
        assert answer.status_code == 200
        assert (answer.json()["status"], answer.json()["segments"]) == ("cancelled", [])
        assert "completed_at" in answer.json()
        assert server.client.get(f"/jobs/{job_id}").json() == answer.json()
        assert server.kept() == []

    def test_a_running_job_too(self, server: JobServer) -> None:
        job, _ = server.planned(2)
        assert server.client.delete(f"/jobs/{job.id}").json()["status"] == "cancelled"

    @pytest.mark.parametrize("status", [Status.DONE, Status.FAILED, Status.CANCELLED])
    def test_what_has_ended_cannot_be_cancelled(self, server: JobServer, status: Status) -> None:
        if status == Status.CANCELLED:
            job = server.store.cancel(server.queued().id)
        else:
            job = server.done() if status == Status.DONE else server.failed()
        code, message = told(server.client.delete(f"/jobs/{job.id}"), 409)
        assert (code, message) == ("job_finished", f"job {job.id} is already in terminal state {status}")


class TestPurge:
    def test_a_done_job_is_told_once_more_and_forgotten(self, server: JobServer) -> None:
        job_id = server.done().id
        was = server.client.get(f"/jobs/{job_id}").json()
        answer = server.client.delete(f"/jobs/{job_id}?purge=true")
        assert (answer.status_code, answer.json()) == (200, was)
        told(server.client.get(f"/jobs/{job_id}"), 404)

    def test_a_queued_job_goes_with_its_recording(self, server: JobServer) -> None:
        job_id = job_of(server.submit())
        assert server.client.delete(f"/jobs/{job_id}?purge=true").json()["status"] == "queued"
        assert server.kept() == []


class TestResult:
    def test_json_is_that_of_v1_transcribe(self, server: JobServer) -> None:
        answer = server.client.get(f"/jobs/{server.done().id}/result")
        assert answer.headers["content-type"] == "application/json"
        assert answer.json()["text"] == TRANSCRIPT.text
        assert answer.json()["words"][0] == {"word": "Раз", "start": 0.1, "end": 0.4, "confidence": 0.9877}

    @pytest.mark.parametrize(
        ("name", "kind", "start"),
        [
            ("txt", "text/plain; charset=utf-8", "Раз два."),
            ("SRT", "application/x-subrip; charset=utf-8", "1\n00:00:00,100 --> 00:00:00,900\n"),
            ("vtt", "text/vtt; charset=utf-8", "WEBVTT"),
            ("md", "text/markdown; charset=utf-8", ""),
            ("tsv", "text/tab-separated-values; charset=utf-8", "start"),
        ],
    )
    def test_other_formats(self, server: JobServer, name: str, kind: str, start: str) -> None:
        answer = server.client.get(f"/jobs/{server.done().id}/result", params={"format": name})
        assert (answer.status_code, answer.headers["content-type"]) == (200, kind)
        assert answer.text.startswith(start)

    def test_speakers_are_on_words_and_in_subtitles(self, server: JobServer) -> None:
        first, second = WORDS
        words = (replace(first, speaker=0), replace(second, speaker=1))
        segment = replace(TRANSCRIPT.segments[0], words=words)
        job = server.done(replace(TRANSCRIPT, segments=(segment,), diarization="done"))
        document = server.client.get(f"/jobs/{job.id}").json()
        assert [word["speaker"] for word in document["segments"][0]["words"]] == [0, 1]
        assert document["diarization"] == "done"
        answer = server.client.get(f"/jobs/{job.id}/result?format=srt")
        assert answer.headers["x-diarization"] == "done"
        assert "[SPEAKER_0] " in answer.text
        assert "[SPEAKER_1] " in answer.text

    def test_without_speakers_nothing_is_said_of_them(self, server: JobServer) -> None:
        document = server.client.get(f"/jobs/{server.done().id}").json()
        assert "diarization" not in document
        assert all("speaker" not in word for word in document["segments"][0]["words"])

    def test_layout_and_a_file_to_save(self, server: JobServer) -> None:
        query = {"format": "srt", "max_words_per_line": "1", "download": "my.srt"}
        answer = server.client.get(f"/jobs/{server.done().id}/result", params=query)
        assert answer.text.count("-->") == 2
        assert answer.headers["content-disposition"] == 'attachment; filename="my.srt"'

    def test_an_unknown_format_is_refused_whatever_the_job(self, server: JobServer) -> None:
        assert told(server.client.get(f"/jobs/{server.queued().id}/result?format=pdf"), 400)[0] == "invalid_format"

    @pytest.mark.parametrize("query", ["max_chars_per_line=-1", "max_words_per_line=x", "word_timestamps=maybe"])
    def test_a_layout_that_makes_no_sense(self, server: JobServer, query: str) -> None:
        assert server.client.get(f"/jobs/{server.done().id}/result?{query}").status_code == 400

    def test_only_a_done_job_has_one(self, server: JobServer) -> None:
        for job, status in ((server.failed(), "failed"), (server.queued(), "queued")):
            code, message = told(server.client.get(f"/jobs/{job.id}/result"), 409)
            assert (code, f"it is {status}" in message) == ("job_not_done", True)


class TestWaveform:
    def test_it_is_known_before_the_first_window_and_stays(self, server: JobServer) -> None:
        job, claim = server.planned(1)
        picture = {"duration_secs": 4.0, "step_secs": 0.1, "peaks": [0, 128, 255], "speech": [[0.1, 0.9], [2.0, 2.5]]}
        assert server.client.get(f"/jobs/{job.id}/waveform").json() == picture
        server.store.done(claim, TRANSCRIPT)
        assert server.client.get(f"/jobs/{job.id}/waveform").json() == picture

    def test_nobody_has_looked_through_a_job_that_waits(self, server: JobServer) -> None:
        code, message = told(server.client.get(f"/jobs/{server.queued().id}/waveform"), 409)
        assert (code, "has no waveform: it is queued" in message) == ("job_not_done", True)


@pytest.mark.parametrize("path", ["", "/result", "/waveform", "/stream"])
def test_a_browser_may_ask_first(server: JobServer, path: str) -> None:
    assert server.client.options(f"/jobs/{UNKNOWN}{path}").status_code == 204


def test_the_document_names_every_route_under_its_tag(server: JobServer) -> None:
    paths = json.loads(server.client.get("/openapi.json").text)["paths"]
    found = {
        (path, method)
        for path, methods in paths.items()
        for method, operation in methods.items()
        if operation.get("tags") == ["jobs"]
    }
    assert found == {
        ("/jobs", "post"),
        ("/jobs", "get"),
        ("/jobs/{job_id}", "get"),
        ("/jobs/{job_id}", "delete"),
        ("/jobs/{job_id}/result", "get"),
        ("/jobs/{job_id}/waveform", "get"),
        ("/jobs/{job_id}/stream", "get"),
    }
