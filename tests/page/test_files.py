"""The view of files: from a drop to what is open, in a real browser over a real store of jobs."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Browser, Dialog, Locator, expect

from molva.engines.fake import FakeEngine
from molva.errors import SpoolFull
from molva.jobs.job import Job
from molva.jobs.store import Claim
from molva.keys import KeyFile, KeyRing
from molva.runtime.plan import Plan, PlannedWindow
from tests.chaos.server import free_port
from tests.e2e.conftest import molva_serve
from tests.e2e.jobs import flags, long_speech
from tests.http.conftest import serving
from tests.http.jobs.conftest import TRANSCRIPT, WAVEFORM, JobServer, serving_jobs
from tests.http.openai.conftest import SPEECH
from tests.page.browser import DESK, PHONE, Opened, opened

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PATIENCE_MS = 60_000
BIG = SPEECH[:44] + bytes(3_000_000)


@pytest.fixture
def server() -> Iterator[JobServer]:
    with serving_jobs() as server:
        yield server


def add(tab: Opened, *names: str, content: bytes = SPEECH) -> None:
    """Choose files."""
    files: Any = [{"name": name, "mimeType": "audio/wav", "buffer": content} for name in names]
    tab.page.set_input_files("#view-files input[type=file]", files)


def add_from(tab: Opened, path: Path, content: bytes) -> None:
    """Choose a file that is too large to be handed to the browser in one message."""
    path.write_bytes(content)
    tab.page.set_input_files("#view-files input[type=file]", path)


def row(tab: Opened, name: str) -> Locator:
    """What the list has of a file."""
    return tab.page.locator(".file", has_text=name)


def expect_state(tab: Opened, name: str, state: str) -> None:
    """Wait for it: a job is looked at every two seconds."""
    expect(row(tab, name)).to_have_attribute("data-state", state, timeout=PATIENCE_MS)


def claim(server: JobServer, n_windows: int = 4) -> Claim:
    """The next job begins to run."""
    claim = server.claim()
    windows = tuple(PlannedWindow(16_000 * i, 16_000, 8_000, 0) for i in range(n_windows))
    server.store.planned(claim, Plan(windows, 4.0), "recipe", WAVEFORM)
    return claim


def finish(server: JobServer) -> Job:
    """The next job runs to its end."""
    taken = claim(server, 1)
    server.advance(taken, 0)
    return server.store.done(taken, TRANSCRIPT)


def drag(tab: Opened, *names: str, then: str) -> None:
    """As from a file manager, over the view; `then` is what comes of it."""
    tab.page.evaluate(
        """([names, kinds]) => {
          const data = new DataTransfer();
          for (const name of names) data.items.add(new File([new Uint8Array(1000).fill(7)], name));
          for (const kind of kinds) {
            document.querySelector("#view-files h1").dispatchEvent(
              new DragEvent(kind, { dataTransfer: data, bubbles: true, cancelable: true }));
          }
        }""",
        [names, ["dragenter", "dragover", then]],
    )


@contextmanager
def slow_network(tab: Opened, bytes_per_s: int = 200_000) -> Iterator[None]:
    """Uploads take as long as they would over a poor line."""
    session = tab.page.context.new_cdp_session(tab.page)
    session.send("Network.enable")
    line = {"offline": False, "latency": 0, "downloadThroughput": -1}
    session.send("Network.emulateNetworkConditions", {**line, "uploadThroughput": bytes_per_s})
    yield
    session.send("Network.emulateNetworkConditions", {**line, "uploadThroughput": -1})


@pytest.mark.parametrize(("size", "dark", "language"), [(DESK, False, "en"), (PHONE, True, "ru")])
def test_files_from_their_choice_to_their_end(
    browser: Browser, server: JobServer, size: Any, dark: bool, language: str
) -> None:
    look = f"{'phone' if size is PHONE else 'desk'}-{'dark' if dark else 'light'}-{language}"
    with opened(browser, server.server.url, "/#files", size=size, dark=dark, language=language) as tab:
        expect(tab.page.locator(".wishes")).to_be_visible()
        tab.check_accessibility()
        tab.check_width()
        tab.screenshot(f"files-empty-{look}")

        with slow_network(tab):
            add(tab, "Interview.wav", "Встреча команды 14 ноября, часть вторая.wav", "lecture.mp3", content=BIG)
            expect(row(tab, "Interview").locator("progress")).to_have_attribute("value", re.compile("^[1-9]"))
            tab.check_accessibility()
            tab.check_width()
            tab.screenshot(f"files-uploading-{look}")
        for name in ("Interview", "Встреча", "lecture"):
            expect_state(tab, name, "queued")

        running = claim(server)
        server.advance(running, 0)
        name = running.job.submission.filename or ""
        expect(row(tab, name).locator("progress")).to_have_attribute("value", "25")
        server.advance(running, 1)
        expect(row(tab, name)).to_contain_text("50")
        tab.check_accessibility()
        tab.screenshot(f"files-running-{look}")
        server.advance(running, 2)
        server.advance(running, 3)
        server.store.done(running, TRANSCRIPT)
        expect_state(tab, name, "done")
        failed = claim(server)
        server.store.failed(failed, "The audio cannot be decoded.")
        expect_state(tab, failed.job.submission.filename or "", "failed")
        tab.check_accessibility()
        tab.check_width()
        tab.screenshot(f"files-ended-{look}", whole=True)


def test_dropped_files_are_taken_too(browser: Browser, server: JobServer) -> None:
    with opened(browser, server.server.url, "/#files") as tab:
        expect(tab.page.locator(".wishes")).to_be_visible()
        drag(tab, "part.wav", then="dragover")
        expect(tab.page.locator(".drop")).to_have_class(re.compile("over"))
        tab.check_accessibility()
        tab.screenshot("files-dragging-desk-light-en")
        drag(tab, *(f"part {n}.wav" for n in range(12)), then="drop")
        expect(tab.page.locator(".drop")).not_to_have_class(re.compile("over"))
        expect(tab.page.locator('.file[data-state="queued"]')).to_have_count(12)
        names = tab.page.locator(".file-name").all_inner_texts()
        assert set(names) == {f"part {n}.wav" for n in range(12)}
    assert len(server.store.page().jobs) == 12


def test_an_upload_can_be_cancelled_and_leaves_nothing(browser: Browser, server: JobServer) -> None:
    with opened(browser, server.server.url, "/#files") as tab:
        expect(tab.page.locator(".wishes")).to_be_visible()
        with slow_network(tab):
            add(tab, "one.wav", "two.wav", "three.wav", content=BIG)
            expect(row(tab, "one").locator("progress")).to_have_attribute("value", re.compile(r"^[1-9]"))
            expect_state(tab, "three", "waiting")
            for name in ("three", "one", "two"):
                row(tab, name).get_by_role("button", name="Cancel").click()
        expect(tab.page.locator(".file")).to_have_count(0)
        expect(tab.page.get_by_role("button", name="Choose files")).to_be_focused()
        server.server.wait_until(lambda _: not server.kept())
    assert server.store.page().jobs == []


def test_leaving_while_something_is_sent_is_asked_about(browser: Browser, server: JobServer) -> None:
    with opened(browser, server.server.url, "/#files") as tab:
        asked: list[str] = []

        def stay(dialog: Dialog) -> None:
            asked.append(dialog.type)
            dialog.dismiss()

        tab.page.on("dialog", stay)
        tab.page.get_by_role("heading", name="Files").click()  # a page that nobody has touched may not ask
        with slow_network(tab):
            add(tab, "one.wav", content=BIG)
            expect_state(tab, "one", "sending")
            tab.page.close(run_before_unload=True)
            expect_state(tab, "one", "sending")
            assert asked == ["beforeunload"]
            row(tab, "one").get_by_role("button", name="Cancel").click()
            expect(tab.page.locator(".file")).to_have_count(0)


def test_a_job_is_cancelled_sent_again_and_removed(browser: Browser, server: JobServer) -> None:
    with opened(browser, server.server.url, "/#files") as tab:
        add(tab, "talk.wav")
        expect_state(tab, "talk", "queued")
        claim(server)
        expect_state(tab, "talk", "running")
        row(tab, "talk").get_by_role("button", name="Cancel").click()
        expect_state(tab, "talk", "cancelled")
        expect(row(tab, "talk").get_by_role("button", name="Send again")).to_be_focused()
        [first] = server.store.page().jobs
        row(tab, "talk").get_by_role("button", name="Send again").click()
        expect_state(tab, "talk", "queued")
        [second] = server.store.page().jobs
        assert second.id != first.id
        finish(server)
        expect_state(tab, "talk", "done")
        tab.page.once("dialog", lambda dialog: dialog.dismiss())
        row(tab, "talk").get_by_role("button", name="Remove").click()
        expect(row(tab, "talk").get_by_role("button", name="Remove")).to_be_focused()
        tab.page.once("dialog", lambda dialog: dialog.accept())
        tab.page.keyboard.press("Enter")
        expect(tab.page.locator(".file")).to_have_count(0)
        expect(tab.page.locator("#announcer")).to_have_text("talk.wav: Removed")
    assert server.store.page().jobs == []


def test_a_done_file_opens_and_there_is_a_way_back(browser: Browser, server: JobServer) -> None:
    with opened(browser, server.server.url, "/#files") as tab:
        add(tab, "talk.wav")
        expect_state(tab, "talk", "queued")
        job = finish(server)
        row(tab, "talk").get_by_role("link", name="Open").click()
        assert tab.page.url.endswith(f"#files/{job.id}")
        expect(tab.page.locator(".files")).to_be_hidden()
        expect(tab.page.get_by_role("heading", name="talk.wav")).to_be_visible()
        tab.page.get_by_role("link", name="All files").click()
        expect(row(tab, "talk")).to_be_visible()
        kept = tab.page.evaluate(f"import('/page/library.js').then((l) => l.recording('{job.id}')).then((b) => b.size)")
        assert kept == len(SPEECH)


def test_the_list_outlives_a_reload(browser: Browser, server: JobServer) -> None:
    with opened(browser, server.server.url, "/#files") as tab:
        add(tab, "first.wav")
        expect_state(tab, "first", "queued")
        add(tab, "second.wav")
        expect_state(tab, "second", "queued")
        finish(server)
        expect_state(tab, "first", "done")
        tab.page.reload()
        expect(tab.page.locator(".file-name")).to_have_text(["second.wav", "first.wav"])
        expect_state(tab, "first", "done")
        finish(server)
        expect_state(tab, "second", "done")
        server.store.purge(server.store.page().jobs[0].id)
        tab.page.reload()
        expect(tab.page.locator(".file")).to_have_count(1)


def test_the_list_is_the_servers_a_page_at_a_time(browser: Browser, server: JobServer) -> None:
    for n in range(60):
        server.queued(filename=f"call {n}.ogg")
    with opened(browser, server.server.url, "/#files") as tab:
        add(tab, "mine.wav")
        expect_state(tab, "mine", "queued")
        expect(tab.page.locator(".file")).to_have_count(50)
        tab.page.get_by_role("button", name="Show more").click()
        expect(tab.page.locator(".file")).to_have_count(61)
        expect(tab.page.get_by_role("button", name="Show more")).to_be_hidden()
        names = tab.page.locator(".file-name").all_inner_texts()
        assert names == ["mine.wav", *(f"call {n}.ogg" for n in range(59, -1, -1))]
        finish(server)
        expect_state(tab, "call 0.", "done")


def test_what_is_chosen_goes_with_the_file(browser: Browser, server: JobServer) -> None:
    with opened(browser, server.server.url, "/#files", size=PHONE) as tab:
        tab.page.get_by_text("Options").click()
        tab.page.locator("#view-files").get_by_label("Language").select_option("de")
        tab.page.get_by_label("Translate into English").check()
        expect(tab.page.locator("#view-files").get_by_text("Tell speakers apart")).to_be_hidden()
        tab.check_accessibility()
        tab.check_width()
        tab.screenshot("files-options-phone-light-en")
        tab.page.reload()
        expect(tab.page.locator("#view-files").get_by_label("Language")).to_have_value("de")
        add(tab, "talk.wav")
        expect_state(tab, "talk", "queued")
        [job] = server.store.page().jobs
        assert (job.submission.language, job.submission.task) == ("de", "translate")


def test_what_cannot_be_sent_says_why(browser: Browser, server: JobServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(browser, server.server.url, "/#files") as tab:
        add(tab, "nothing.wav", content=b"")
        expect(row(tab, "nothing")).to_contain_text("The file is empty.")

        async def full(*_: object) -> Any:
            raise SpoolFull

        with monkeypatch.context() as patched:
            patched.setattr(server.jobs, "submit", full)
            add(tab, "talk.wav")
            expect(row(tab, "talk")).to_contain_text("disk is full")
        tab.check_accessibility()
        tab.screenshot("files-refused-desk-light-en")
        row(tab, "talk").get_by_role("button", name="Send again").click()
        expect_state(tab, "talk", "queued")
        tab.forgive("507")


def test_a_file_waits_for_the_model(browser: Browser) -> None:
    with serving_jobs(lazy=True) as server, opened(browser, server.server.url, "/#files") as tab:
        add(tab, "talk.wav")
        expect_state(tab, "talk", "queued")
        tab.forgive("503")


def test_a_server_without_jobs_is_told_of(browser: Browser) -> None:

    with serving(FakeEngine()) as server, opened(browser, server.url, "/#files") as tab:
        expect(tab.page.get_by_text("jobs are switched off")).to_be_visible()
        expect(tab.page.get_by_role("button", name="Choose files")).to_be_hidden()
        tab.check_accessibility()
        tab.screenshot("files-off-desk-light-en")
        tab.forgive("404")


def test_with_a_key(browser: Browser, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    secret = KeyFile(file).create("page")
    with (
        serving_jobs(keys=KeyRing(file)) as server,
        opened(browser, server.server.url, "/#files", key=secret) as tab,
    ):
        add(tab, "talk.wav")
        expect_state(tab, "talk", "queued")
        finish(server)
        expect_state(tab, "talk", "done")


def test_a_server_that_starts_anew_takes_nothing_away(browser: Browser, tiny_dir: Path, tmp_path: Path) -> None:
    """A real one: what was sent goes on where it was, what was being sent is sent again, what is no audio fails."""
    port = str(free_port())
    serve = [*flags(tiny_dir), "--port", port, "--shutdown-drain-secs", "1"]
    with molva_serve(*serve, home=tmp_path) as process:
        url = process.url()
        with opened(browser, url, "/#files") as tab:
            add_from(tab, tmp_path / "long.wav", long_speech(6))
            expect_state(tab, "long", "running")
            with slow_network(tab):
                add_from(tab, tmp_path / "next.wav", long_speech(1))
                expect(row(tab, "next").locator("progress")).to_have_attribute("value", re.compile(r"^[1-9]"))
                process.stop()
                expect_state(tab, "next", "pausing")
            expect(tab.page.get_by_text("The server does not answer").first).to_be_visible(timeout=PATIENCE_MS)
            tab.screenshot("files-unreachable-desk-light-en")
            with molva_serve(*serve, home=tmp_path) as again:
                again.url()
                add(tab, "letter.txt", content=b"Dear reader, this is no audio at all.")
                for name, state in (("long", "done"), ("next", "done"), ("letter", "failed")):
                    expect(row(tab, name)).to_have_attribute("data-state", state, timeout=120_000)
                expect(row(tab, "letter").get_by_role("button", name="Send again")).to_be_visible()
                tab.screenshot("files-restarted-desk-light-en")
                tab.forgive("ERR_")
                tab.forgive("503")


def test_a_file_goes_the_whole_way(browser: Browser, tiny_dir: Path, tmp_path: Path) -> None:
    """Five minutes over a real server: dropped, transcribed, played, edited, exported, removed."""
    (tmp_path / "five minutes.wav").write_bytes(long_speech(2))
    with (
        molva_serve(*flags(tiny_dir), home=tmp_path) as process,
        httpx2.Client(base_url=process.url()) as client,
        opened(browser, process.url(), "/#files") as tab,
    ):
        page = tab.page
        drop(tab, tmp_path / "five minutes.wav")
        expect_state(tab, "five minutes", "running")
        expect(row(tab, "five minutes").locator("progress")).to_have_attribute("value", re.compile("^[1-9]"))
        row(tab, "five minutes").get_by_role("link", name="Open").click(timeout=240_000)
        [job] = client.get("/jobs").json()["jobs"]
        assert job["duration_secs"] > 290
        told = {kind: client.get(f"/jobs/{job['id']}/result?format={kind}").text for kind in ("txt", "srt")}
        assert {kind: exported(tab, kind) for kind in told} == told

        turn = page.locator(".turn").nth(1)
        turn.get_by_role("button").click()
        expect(turn).to_have_class(re.compile("current"))
        expect(page.get_by_role("button", name="Pause")).to_be_visible()
        page.get_by_role("button", name="Pause").click()

        said = turn.locator(".said").inner_text()
        turn.locator(".said").press("Enter")
        page.keyboard.type(" Вот.")
        page.keyboard.press("Enter")
        expect(turn.locator(".said")).to_have_text(f"{said} Вот.")
        assert exported(tab, "txt") == told["txt"].replace(said, f"{said} Вот.", 1)
        assert " Вот." in exported(tab, "srt")

        page.get_by_role("link", name="All files").click()
        page.once("dialog", lambda dialog: dialog.accept())
        row(tab, "five minutes").get_by_role("button", name="Remove").click()
        expect(page.locator(".file")).to_have_count(0)
        assert client.get("/jobs").json()["jobs"] == []


def drop(tab: Opened, path: Path) -> None:
    """As from a file manager; the browser reads the file itself, however large."""
    tab.page.evaluate(
        "document.body.append(Object.assign(document.createElement('input'), {type: 'file', id: 'hand'}))"
    )
    tab.page.set_input_files("#hand", path)
    tab.page.evaluate(
        """() => {
          const [hand, data] = [document.querySelector("#hand"), new DataTransfer()];
          data.items.add(hand.files[0]);
          hand.remove();
          for (const kind of ["dragover", "drop"]) {
            document.body.dispatchEvent(new DragEvent(kind, { dataTransfer: data, bubbles: true, cancelable: true }));
          }
        }"""
    )


def exported(tab: Opened, extension: str) -> str:
    """What the file says that the menu gives."""
    tab.page.locator("#view-files .menu summary").click()
    with tab.page.expect_download() as downloading:
        tab.page.get_by_role("button", name=f"(.{extension})").click()
    assert downloading.value.suggested_filename == f"five minutes.{extension}"
    return downloading.value.path().read_text(encoding="utf-8")


def test_sizes_and_lengths_are_told_as_people_write_them(browser: Browser, server: JobServer) -> None:
    with opened(browser, server.server.url) as tab:
        told = tab.page.evaluate(
            """import("/page/figures.js").then(({ formatBytes, formatClock, formatDuration }) => [
              formatBytes(999), formatBytes(1_240_000), formatBytes(523_000_000),
              formatClock(7.4), formatClock(3600), formatClock(36_005), formatDuration(5), formatDuration(94_000)])"""
        )
        assert told == [
            "999 bytes", "1.2 MB", "523 MB", "0:07", "1:00:00", "10:00:05", "1 minute", "1 day 2 hours",
        ]  # fmt: skip
