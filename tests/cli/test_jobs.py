"""`molva jobs`, as a person or a script meets it."""

import io
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from molva.cli import jobs as cli
from molva.keys import KeyRing
from molva.runtime.admission import Admission
from molva.runtime.scheduler import Scheduler
from tests.http.conftest import recognizer_over
from tests.http.jobs.conftest import JobServer, serving_jobs
from tests.http.openai.conftest import SPEECH, Speaker


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MOLVA_API_KEY", raising=False)


@pytest.fixture(scope="module")
def server() -> Iterator[JobServer]:
    with serving_jobs() as server:
        yield server


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "talk.wav"
    path.write_bytes(SPEECH)
    return path


def molva_jobs(server: JobServer | str, command: str, *args: Any) -> Result:
    url = server if isinstance(server, str) else server.server.url
    return CliRunner().invoke(cli.app, [command, "--url", url, *map(str, args)])


def succeed(server: JobServer, *args: Any) -> Result:
    result = molva_jobs(server, *args)
    assert result.exit_code == 0, result.output
    return result


def fail(server: JobServer | str, *args: Any, status: int = 1) -> str:
    """The one line that it says."""
    result = molva_jobs(server, *args)
    assert (result.exit_code, result.stdout) == (status, "")
    assert result.stderr.count("\n") == 1
    return result.stderr


# submit


def test_submit_prints_nothing_but_ids(server: JobServer, recording: Path) -> None:
    result = succeed(server, "submit", recording, recording)
    ids = result.stdout.splitlines()
    assert [server.store.get(job_id).submission.filename for job_id in ids] == ["talk.wav", "talk.wav"]
    assert result.stderr == ""


def test_submit_sends_what_is_asked_for(server: JobServer, recording: Path) -> None:
    options = ["--language", "de", "--task", "translate", "--model", "whisper-1", "--priority", "low"]
    result = succeed(server, "submit", recording, *options, "--webhook-url", "https://a.example/")
    submission = server.store.get(result.stdout.strip()).submission
    assert (submission.language, submission.task, submission.priority.name, submission.webhook_url) == (
        "de",
        "translate",
        "LOW",
        "https://a.example/",
    )


def test_submit_asks_for_speakers(server: JobServer, recording: Path) -> None:
    told = fail(server, "submit", recording, "--speakers", "--num-speakers", 2)
    assert "This server has no models for it." in told
    assert "num_speakers needs diarization=true" in fail(server, "submit", recording, "--num-speakers", 2)


def test_submit_with_a_key_makes_one_job(server: JobServer, recording: Path) -> None:
    ids = {succeed(server, "submit", recording, "--idempotency-key", "k").stdout for _ in range(2)}
    assert len(ids) == 1


def test_a_key_is_for_one_file(server: JobServer, recording: Path) -> None:
    assert molva_jobs(server, "submit", recording, recording, "--idempotency-key", "k").exit_code == 2
    assert molva_jobs(server, "submit", recording, "--idempotency-key", "ключ").exit_code == 2


def test_a_refusal_is_one_line(server: JobServer, recording: Path) -> None:
    assert "task must be" in fail(server, "submit", recording, "--task", "x")


def test_a_missing_file_is_one_line(server: JobServer, tmp_path: Path) -> None:
    assert "No such file" in fail(server, "submit", tmp_path / "none.wav")


def test_no_server_is_one_line(recording: Path) -> None:
    assert "`molva serve` starts one" in fail("http://127.0.0.1:1", "submit", recording)


def test_a_server_with_keys_gets_one(recording: Path, tmp_path: Path) -> None:
    with serving_jobs(keys=KeyRing(tmp_path / "keys.json", {"one": "secret"})) as server:
        assert "MOLVA_API_KEY" in fail(server, "submit", recording)
        succeed(server, "submit", recording, "--api-key", "secret")


def test_submit_waits_for_the_model_and_says_so(recording: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving_jobs(loading=True) as server:
        state = server.server.state

        def load(seconds: float) -> None:
            assert seconds > 0
            engine = Speaker("whisper-base", "ru")
            recognizer = recognizer_over(engine, Scheduler(1), Admission(1, max_waiting=1, timeout_s=1))
            server.server.loop.call_soon_threadsafe(state.serve_with, recognizer)
            server.server.wait_until(lambda state: state.recognizer is not None)

        monkeypatch.setattr(cli, "sleep", load)
        result = succeed(server, "submit", recording)
        assert server.store.get(result.stdout.strip()).status == "queued"
        assert "next try in" in result.stderr


# watch


def end_later(server: JobServer, error: str | None) -> threading.Thread:
    """The next waiting job runs and ends beside the test."""

    def work() -> None:
        claim = None
        while claim is None:
            claim = server.store.claim(60)
        if error is None:
            server.store.cancel(claim.job.id)
        else:
            server.store.failed(claim, error)

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_watch_of_a_done_job(server: JobServer) -> None:
    job_id = server.done().id
    assert succeed(server, "watch", job_id).stderr == f"{job_id} done 100%\n"


@pytest.mark.parametrize(("error", "said"), [("no \x1b audio", "failed: no   audio"), (None, "was cancelled")])
def test_submit_and_watch_a_job_that_has_no_result(recording: Path, error: str | None, said: str) -> None:
    with serving_jobs() as server:
        thread = end_later(server, error)
        result = molva_jobs(server, "submit", recording, "--watch")
        thread.join()
    assert result.exit_code == 3
    assert said in result.stderr.splitlines()[-1]
    assert result.stdout.count("\n") == 1


def test_watch_of_an_unknown_job(server: JobServer) -> None:
    job_id = "0b2f2a3e-6c55-4c39-9d0c-5f0d4a5d9d11"
    assert fail(server, "watch", job_id) == f"molva: job {job_id} not found\n"


def test_a_terminal_gets_a_bar() -> None:
    screen = io.StringIO()
    with cli.show_job(Console(file=screen, force_terminal=True, width=80), "id") as show:
        show("running", 42)
    assert "42%" in screen.getvalue()
    assert "running" in screen.getvalue()


def test_a_pipe_gets_a_line_for_each_change(capsys: pytest.CaptureFixture[str]) -> None:
    with cli.show_job(Console(file=io.StringIO()), "id") as show:
        for percent in (1, 1, 2):
            show("running", percent)
    assert capsys.readouterr().err == "id running 1%\nid running 2%\n"


def test_an_upload_has_a_bar_on_a_terminal(recording: Path) -> None:
    screen = io.StringIO()
    with cli.show_upload(Console(file=screen, force_terminal=True, width=100), recording) as on_sent:
        on_sent(len(SPEECH))
    assert "talk.wav" in screen.getvalue()


# list, cancel, result


def test_list_is_a_table(recording: Path) -> None:
    with serving_jobs() as server:
        assert "There is no job." in succeed(server, "list").stderr
        ids = [server.queued(filename="a\x1b[2J.ogg").id, server.failed().id]
        lines = succeed(server, "list").stdout.splitlines()
        assert [line.split()[0] for line in lines] == ["ID", *ids[::-1]]
        assert lines[2].endswith("a [2J.ogg")
        assert len(succeed(server, "list", "--status", "failed").stdout.splitlines()) == 2
        assert len(succeed(server, "list", "--limit", "1").stdout.splitlines()) == 2


def test_cancel_and_forget(server: JobServer) -> None:
    job_id = server.queued().id
    assert succeed(server, "cancel", job_id).stdout == f"{job_id} cancelled\n"
    assert "terminal state" in fail(server, "cancel", job_id)
    assert succeed(server, "cancel", job_id, "--purge").stdout == f"{job_id} was cancelled and is forgotten\n"
    assert "not found" in fail(server, "cancel", job_id)


def test_result_goes_to_standard_output_or_a_file(server: JobServer, tmp_path: Path) -> None:
    job_id = server.done().id
    assert succeed(server, "result", job_id).stdout == "Раз два.\n"
    target = tmp_path / "a.srt"
    assert succeed(server, "result", job_id, "-f", "srt", "-o", target).stdout == ""
    assert target.read_text(encoding="utf-8").startswith("1\n00:00:00,100 --> 00:00:00,900\n")


def test_there_is_no_result_yet(server: JobServer) -> None:
    assert "it is queued" in fail(server, "result", server.queued().id)
