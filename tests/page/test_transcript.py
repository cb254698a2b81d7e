"""The view of one transcript: heard, searched, edited, named, taken away."""

import base64
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, ViewportSize, expect

from molva.runtime.plan import Plan, PlannedWindow
from molva.transcript import Transcript
from tests.http.jobs.conftest import JobServer, serving_jobs
from tests.page.browser import DESK, PHONE, Opened, opened
from tests.page.transcripts import (
    LINES,
    call,
    conversation,
    interrupted,
    japanese,
    recording,
    three_hours,
    translated,
    waveform,
)

pytestmark = [pytest.mark.browser, pytest.mark.slow]

KEEP = (
    "async ([id, wav]) => (await import('/page/library.js')).keepRecording(id, "
    "new Blob([Uint8Array.from(atob(wav), (c) => c.charCodeAt(0))], { type: 'audio/wav' }))"
)


@pytest.fixture(scope="module")
def server() -> Iterator[JobServer]:
    with serving_jobs() as server:
        yield server


def done(server: JobServer, transcript: Transcript, *, picture: bool = True, **submission: Any) -> str:
    """The id of a job with this result, and with a waveform unless its `picture` is of an older molva."""
    submission = {"filename": "Совещание.wav", "language": transcript.language, **submission}
    job = server.queued(**submission)
    claim = server.claim()
    assert claim.job.id == job.id
    plan = Plan((PlannedWindow(0, 16_000, 8_000, 0),), transcript.duration)
    server.store.planned(claim, plan, "recipe", waveform(transcript) if picture else None)
    server.advance(claim, 0)
    return server.store.done(claim, transcript).id


@contextmanager
def transcript_of(
    browser: Browser,
    server: JobServer,
    transcript: Transcript,
    *,
    sound: bool = True,
    size: ViewportSize = DESK,
    dark: bool = False,
    language: str = "en",
) -> Iterator[Opened]:
    """The page with this transcript open, and its recording in the browser."""
    job_id = done(server, transcript)
    with opened(browser, server.server.url, "/#server", size=size, dark=dark, language=language) as tab:
        if sound:
            tab.page.evaluate(KEEP, [job_id, base64.b64encode(recording(transcript.duration)).decode()])
        tab.page.evaluate("(id) => (location.hash = `files/${id}`)", job_id)
        expect(tab.page.locator(".turn").first).to_be_visible()
        yield tab


def turn(page: Page, index: int) -> Any:
    return page.locator(".turn").nth(index)


def click_word(page: Page, text: str, *, times: int = 1) -> None:
    """In the middle of it."""
    page.mouse.click(*page.evaluate(PLACE, text), click_count=times)


PLACE = """text => {
  const body = [...document.querySelectorAll(".said")].find((each) => each.textContent.includes(text));
  body.scrollIntoView({ block: "center" });
  const range = new Range();
  range.setStart(body.firstChild, body.textContent.indexOf(text));
  range.setEnd(body.firstChild, body.textContent.indexOf(text) + text.length);
  const { x, y, width, height } = range.getBoundingClientRect();
  return [x + width / 2, y + height / 2];
}"""


def marked(page: Page, name: str) -> list[str]:
    """What has this highlight."""
    texts: list[str] = page.evaluate(
        "name => [...CSS.highlights.get(name) ?? []].map((each) => "
        "each.startContainer.data.slice(each.startOffset, each.endOffset))",
        name,
    )
    return texts


def wait_for_mark(page: Page, text: str) -> None:
    """Until it is what is played."""
    page.wait_for_function(
        "text => [...CSS.highlights.get('playing') ?? []].some((each) => "
        "each.startContainer.data.slice(each.startOffset, each.endOffset) === text)",
        arg=text,
    )


def position(page: Page) -> float:
    return float(page.evaluate("document.querySelector('[role=slider]').ariaValueNow"))


@pytest.mark.parametrize(
    ("size", "dark", "language"), [(DESK, False, "en"), (DESK, True, "ru"), (PHONE, False, "ru"), (PHONE, True, "en")]
)
def test_it_is_for_everybody(
    browser: Browser, server: JobServer, size: ViewportSize, dark: bool, language: str
) -> None:
    with transcript_of(browser, server, conversation(), size=size, dark=dark, language=language) as tab:
        tab.check_accessibility()
        tab.check_width()
        name = f"{'phone' if size is PHONE else 'desk'}-{'dark' if dark else 'light'}-{language}"
        tab.screenshot(f"transcript-{name}")
        tab.page.locator("#view-files .menu summary").click()
        tab.check_accessibility()
        tab.check_width()
        tab.screenshot(f"transcript-export-{name}")


def test_a_word_is_heard_where_it_was_said(browser: Browser, server: JobServer) -> None:
    with transcript_of(browser, server, conversation()) as tab:
        page = tab.page
        click_word(page, "вопрос.")
        # It goes on at once, so it is in this word or in one soon after.
        expect(turn(page, 3)).to_have_class(re.compile("current"))
        assert 26 <= position(page) <= 34
        expect(page.get_by_role("button", name="Pause")).to_be_visible()
        tab.check_accessibility()
        tab.screenshot("transcript-playing")
        page.keyboard.press("Space")
        expect(page.get_by_role("button", name="Play", exact=True)).to_be_visible()


def test_what_is_played_is_marked_as_it_goes_on(browser: Browser, server: JobServer) -> None:
    with transcript_of(browser, server, conversation()) as tab:
        turn(tab.page, 5).get_by_role("button").click()
        wait_for_mark(tab.page, "добавлю?")
        expect(turn(tab.page, 6)).to_have_class(re.compile("current"), timeout=20_000)
        expect(turn(tab.page, 6)).to_be_in_viewport()


def test_without_the_recording_it_is_asked_for(browser: Browser, server: JobServer) -> None:
    with transcript_of(browser, server, conversation(), sound=False) as tab:
        with tab.page.expect_file_chooser() as choosing:
            tab.screenshot("transcript-no-recording")
            tab.check_accessibility()
            tab.page.get_by_role("button", name="Choose the recording").click()
        choosing.value.set_files({"name": "talk.wav", "mimeType": "audio/wav", "buffer": recording()})
        tab.page.get_by_role("button", name="Pause").click()
        tab.page.reload()
        expect(tab.page.get_by_role("button", name="Play", exact=True)).to_be_visible()


def test_a_file_without_sound_is_told_of(browser: Browser, server: JobServer) -> None:
    with transcript_of(browser, server, conversation(), sound=False) as tab:
        with tab.page.expect_file_chooser() as choosing:
            tab.page.get_by_role("button", name="Choose the recording").click()
        choosing.value.set_files({"name": "talk.wav", "mimeType": "audio/wav", "buffer": b"no sound"})
        expect(tab.page.get_by_text("cannot play that file")).to_be_visible()
        expect(tab.page.get_by_role("button", name="Choose the recording")).to_be_visible()


def test_without_a_waveform_there_are_the_lanes(browser: Browser, server: JobServer) -> None:
    job_id = done(server, conversation(), picture=False)
    with opened(browser, server.server.url, f"/#files/{job_id}") as tab:
        expect(tab.page.locator(".wave")).to_be_visible()
        drawn = tab.page.locator(".wave canvas").last.evaluate(
            "(c) => c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some((value) => value > 0)"
        )
        assert drawn
        tab.screenshot("transcript-no-waveform")
        tab.forgive("409")


def test_the_position_is_a_slider(browser: Browser, server: JobServer) -> None:
    with transcript_of(browser, server, three_hours(), sound=False) as tab:
        slider = tab.page.get_by_role("slider")
        slider.press("ArrowRight")
        expect(slider).to_have_attribute("aria-valuetext", "0:05 of 3:00:00")
        slider.press("PageUp")
        expect(slider).to_have_attribute("aria-valuenow", "35")
        slider.press("End")
        expect(slider).to_have_attribute("aria-valuetext", "3:00:00 of 3:00:00")
        slider.press("Home")
        overview = tab.page.locator(".overview canvas")
        box = overview.bounding_box()
        assert box is not None
        tab.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + 5)
        assert position(tab.page) == pytest.approx(5400, abs=30)
        tab.screenshot("transcript-three-hours-middle")


def test_doubtful_words_are_marked_not_by_colour_alone(browser: Browser, server: JobServer) -> None:
    with transcript_of(browser, server, conversation()) as tab:
        assert marked(tab.page, "unsure") == ["гудит", "вентиляция.", "тайм-коды"]
        style = "getComputedStyle(document.querySelector('.said'), '::highlight(unsure)').textDecoration"
        assert "dotted" in tab.page.evaluate(style)


class TestSearch:
    def test_it_finds_what_is_far_from_the_window(self, browser: Browser, server: JobServer) -> None:
        transcript = three_hours()
        last = transcript.segments[-1].text
        with transcript_of(browser, server, transcript, sound=False) as tab:
            field = tab.page.get_by_role("searchbox")
            field.fill(last.upper())
            expect(tab.page.get_by_text("1 of 1", exact=True)).to_be_visible()
            expect(turn(tab.page, 1499)).to_be_in_viewport()
            assert marked(tab.page, "found-now") == [last]

    def test_it_goes_from_one_to_the_next(self, browser: Browser, server: JobServer) -> None:
        with transcript_of(browser, server, conversation()) as tab:
            field = tab.page.get_by_role("searchbox")
            field.fill("запис")
            expect(tab.page.get_by_text("1 of 2", exact=True)).to_be_visible()
            tab.check_accessibility()
            tab.screenshot("transcript-search")
            field.press("Enter")
            expect(tab.page.get_by_text("2 of 2", exact=True)).to_be_visible()
            tab.page.get_by_role("button", name="Next match").click()
            expect(tab.page.get_by_text("1 of 2", exact=True)).to_be_visible()
            assert marked(page := tab.page, "found-now") == marked(page, "found") == ["запис"]
            field.fill("её")
            expect(tab.page.get_by_text("Not found")).to_be_visible()

    def test_words_in_a_row_are_one_match(self, browser: Browser, server: JobServer) -> None:
        with transcript_of(browser, server, conversation()) as tab:
            tab.page.get_by_role("searchbox").fill("все время гудит")
            expect(tab.page.get_by_text("1 of 1", exact=True)).to_be_visible()
            assert marked(tab.page, "found-now") == ["всё время гудит"]


class TestEdit:
    def test_edits_are_kept_until_the_original_is_restored(self, browser: Browser, server: JobServer) -> None:
        with transcript_of(browser, server, conversation()) as tab:
            page = tab.page
            click_word(page, "коллеги.", times=2)
            field = page.get_by_label("What is said at 0:00")
            expect(field).to_be_focused()
            tab.check_accessibility()
            tab.screenshot("transcript-editing")
            field.fill("Добрый вечер, дорогие коллеги. Сегодня мы поговорим о том, как распознаётся русская речь.")
            field.press("Enter")
            expect(turn(page, 0).locator("p")).to_be_focused()
            expect(turn(page, 0)).to_contain_text("вечер, дорогие коллеги")
            wait_until_kept(page)
            page.reload()
            expect(turn(page, 0)).to_contain_text("вечер, дорогие коллеги")
            page.once("dialog", lambda dialog: dialog.accept())
            page.get_by_role("button", name="Restore the original").click()
            wait_until_kept(page)
            page.reload()
            expect(turn(page, 0)).to_contain_text("Добрый день, коллеги")

    def test_escape_keeps_the_old_text(self, browser: Browser, server: JobServer) -> None:
        with transcript_of(browser, server, conversation()) as tab:
            turn(tab.page, 1).locator("p").focus()
            tab.page.keyboard.press("F2")
            tab.page.keyboard.type("чепуха")
            tab.page.keyboard.press("Escape")
            expect(turn(tab.page, 1).locator("p")).to_be_focused()
            expect(turn(tab.page, 1)).to_contain_text(LINES[1][1])
            expect(tab.page.get_by_role("button", name="Restore the original")).to_be_hidden()

    def test_a_click_edits_while_that_is_switched_on(self, browser: Browser, server: JobServer) -> None:
        with transcript_of(browser, server, conversation()) as tab:
            tab.page.get_by_role("button", name="Edit", exact=True).click()
            click_word(tab.page, "шумом?")
            field = tab.page.get_by_label("What is said at 0:17")
            field.fill("")
            turn(tab.page, 0).locator("p").focus()
            expect(turn(tab.page, 2).locator("p")).to_be_empty()
            tab.check_accessibility()
            tab.screenshot("transcript-edit-on")

    def test_what_is_still_there_keeps_its_time(self, browser: Browser, server: JobServer) -> None:
        with transcript_of(browser, server, conversation()) as tab:
            click_word(tab.page, "коллеги.", times=2)
            field = tab.page.get_by_label("What is said at 0:00")
            field.fill("Добрый день. Сегодня мы с вами поговорим о том, как распознаётся речь.")
            field.press("Enter")
            exported = json.loads(download(tab, "json"))
            words = {word["word"]: word for word in exported["words"][:12]}
            original = {word.text: word for word in conversation().segments[0].words}
            for text in ("Сегодня", "поговорим", "распознаётся", "речь."):
                assert words[text]["start"] == pytest.approx(original[text].start, abs=1e-3)
                assert words[text]["confidence"] == 0.97
            assert original["мы"].end <= words["с"]["start"] <= words["вами"]["end"] <= original["поговорим"].start
            assert words["вами"]["confidence"] == 1

    def test_a_text_that_was_removed_can_be_written_again(self, browser: Browser, server: JobServer) -> None:
        with transcript_of(browser, server, conversation()) as tab:
            for text in ("", "А что происходит?"):
                turn(tab.page, 2).locator("p").focus()
                tab.page.keyboard.press("Enter")
                tab.page.get_by_label("What is said at 0:17").fill(text)
                tab.page.keyboard.press("Enter")
            expect(turn(tab.page, 2).locator(".who")).to_have_text(re.compile("Speaker 2"))
            words = json.loads(download(tab, "json"))["words"]
            assert [word["start"] for word in words if word["word"] == "что"] == [17.78]


def test_the_language_changes_while_it_is_open(browser: Browser, server: JobServer) -> None:
    with transcript_of(browser, server, conversation()) as tab:
        tab.page.get_by_role("button", name="Русский").click()
        expect(turn(tab.page, 0).get_by_role("combobox")).to_have_text(re.compile("^Участник 1"))
        expect(tab.page.get_by_label("Имя участника 1")).to_have_attribute("placeholder", "Участник 1")
        expect(turn(tab.page, 0).get_by_role("button")).to_have_attribute("aria-label", "Слушать с 0:00")
        expect(tab.page.get_by_role("button", name="Слушать", exact=True)).to_be_visible()


class TestAlign:
    """Times for a text that was edited."""

    WORDS: tuple[dict[str, Any], ...] = tuple(
        {"text": text, "start": float(i), "end": i + 0.5, "probability": 0.5}
        for i, text in enumerate(["a", "b", "c", "d"])
    )

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("a b c d", [("a", 0, 0.5, 0.5), ("b", 1, 1.5, 0.5), ("c", 2, 2.5, 0.5), ("d", 3, 3.5, 0.5)]),
            ("A, b c d", [("A,", 0, 0.5, 1), ("b", 1, 1.5, 0.5), ("c", 2, 2.5, 0.5), ("d", 3, 3.5, 0.5)]),
            ("a x c d", [("a", 0, 0.5, 0.5), ("x", 1, 1.5, 1), ("c", 2, 2.5, 0.5), ("d", 3, 3.5, 0.5)]),
            ("a d", [("a", 0, 0.5, 0.5), ("d", 3, 3.5, 0.5)]),
            ("a x d", [("a", 0, 0.5, 0.5), ("x", 1, 2.5, 1), ("d", 3, 3.5, 0.5)]),
            ("a b xx yy c d", [("xx", 1.5, 1.75, 1), ("yy", 1.75, 2, 1)]),
            ("x a b c d", [("x", 0, 0, 1)]),
            ("a b c d x", [("x", 3.5, 3.5, 1)]),
            ("", []),
        ],
    )
    def test_words(self, aligner: Page, text: str, expected: list[tuple[str, float, float, float]]) -> None:
        words = self.align(aligner, self.WORDS, text, spaced=True)
        assert [word[0] for word in words] == text.split()
        assert words == sorted(words, key=lambda word: word[1])
        assert [word for word in words if word[0] in {each[0] for each in expected}] == expected

    def test_words_of_a_language_without_spaces(self, aligner: Page) -> None:
        words = [
            {"text": text, "start": float(i), "end": i + 0.5, "probability": 0.5}
            for i, text in enumerate(["今日", "は", "雨", "です"])
        ]
        assert self.align(aligner, words, "今日は晴れです", spaced=False) == [
            ("今日", 0, 0.5, 0.5), ("は", 1, 1.5, 0.5), ("晴れ", 2, 2.5, 1), ("です", 3, 3.5, 0.5),
        ]  # fmt: skip

    @staticmethod
    def align(page: Page, words: Any, text: str, *, spaced: bool) -> list[tuple[str, float, float, float]]:
        aligned = page.evaluate(
            "async ([words, text, spaced]) => (await import('/page/align.js')).align(words, text, spaced)",
            [list(words), text, spaced],
        )
        return [(word["text"], word["start"], word["end"], word["probability"]) for word in aligned]

    @pytest.fixture(scope="class")
    @staticmethod
    def aligner(browser: Browser, server: JobServer) -> Iterator[Page]:
        with opened(browser, server.server.url, "/#server") as tab:
            yield tab.page


class TestSpeakers:
    def test_a_name_is_used_everywhere(self, browser: Browser, server: JobServer) -> None:
        with transcript_of(browser, server, conversation()) as tab:
            page = tab.page
            page.get_by_label("Name of speaker 1").fill("Анна")
            expect(turn(page, 1).locator(".who")).to_have_text("Анна")
            wait_until_kept(page)
            page.reload()
            expect(page.get_by_label("Name of speaker 1")).to_have_value("Анна")
            srt = download(tab, "srt")
            assert "[Анна] Добрый день" in srt
            assert "[SPEAKER_1] А что" in srt
            assert "SPEAKER_0" not in srt
            assert "**Анна:** Добрый" in download(tab, "md")
            assert json.loads(download(tab, "json"))["speakers"] == {"0": "Анна"}
            tab.check_accessibility()
            tab.screenshot("transcript-named")

    def test_a_turn_can_be_given_to_somebody_else(self, browser: Browser, server: JobServer) -> None:
        with transcript_of(browser, server, conversation()) as tab:
            turn(tab.page, 1).hover()
            turn(tab.page, 1).get_by_role("combobox").select_option(label="Speaker 3")
            expect(turn(tab.page, 1).locator("p")).to_be_focused()
            assert "**SPEAKER_2:** Сначала" in download(tab, "md")
            turn(tab.page, 4).hover()
            turn(tab.page, 4).get_by_role("combobox").select_option(label="New speaker")
            expect(tab.page.get_by_label("Name of speaker 4")).to_be_visible()
            assert "**SPEAKER_3:** Понятно." in download(tab, "md")


class TestExport:
    @pytest.mark.parametrize(
        ("transcript", "task"),
        [
            (conversation(), "transcribe"),
            (conversation(speakers=False), "transcribe"),
            (interrupted(), "transcribe"),
            (japanese(), "transcribe"),
            (translated(), "translate"),
            (call(), "transcribe"),
        ],
        ids=["speakers", "one", "interrupted", "japanese", "translated", "call"],
    )
    def test_unedited_it_is_what_the_server_gives(
        self, browser: Browser, server: JobServer, transcript: Transcript, task: str
    ) -> None:
        language = "ru" if task == "translate" else transcript.language
        channels = "mix" if transcript.channels is None else "split"
        job_id = done(server, transcript, task=task, language=language, channels=channels)
        with opened(browser, server.server.url, "/#server") as tab:
            for extension in ("txt", "srt", "vtt", "md"):
                written = tab.page.evaluate(WRITE, [job_id, extension])
                told = server.client.get(f"/jobs/{job_id}/result?format={extension}")
                assert written == told.text, extension
            written = json.loads(tab.page.evaluate(WRITE, [job_id, "json"]))
            told = server.client.get(f"/jobs/{job_id}/result").json()
            del told["coverage"]
            told.pop("channels", None)
            assert written == told

    def test_every_format_is_a_file(self, browser: Browser, server: JobServer) -> None:
        with transcript_of(browser, server, conversation()) as tab:
            job_id = tab.page.url.rpartition("/")[2]
            for extension in ("txt", "srt", "vtt", "md"):
                assert download(tab, extension) == server.client.get(f"/jobs/{job_id}/result?format={extension}").text

    def test_it_is_copied_turn_by_turn(self, browser: Browser, server: JobServer) -> None:
        with transcript_of(browser, server, conversation()) as tab:
            tab.page.get_by_label("Name of speaker 2").fill("Борис")
            tab.page.locator("#view-files").get_by_role("button", name="Copy").click()
            expect(tab.page.get_by_role("button", name="Copied")).to_be_visible()
            names = {0: "Speaker 1", 1: "Борис", 2: "Speaker 3"}
            copied = tab.page.evaluate("navigator.clipboard.readText()")
            assert copied == "\n\n".join(f"{names[speaker]}: {text}" for speaker, text in LINES)


WRITE = """async ([id, extension]) => {
  const [{ edited, noEdits }, { FORMATS }] = await Promise.all([import("/page/edits.js"), import("/page/export.js")]);
  return FORMATS[extension].write(edited(await (await fetch(`/jobs/${id}`)).json(), noEdits()));
}"""


def download(tab: Opened, extension: str) -> str:
    """What the file says that the menu gives."""
    tab.page.locator("#view-files .menu summary").click()
    with tab.page.expect_download() as downloading:
        tab.page.get_by_role("button", name=f"(.{extension})").click()
    assert downloading.value.suggested_filename == f"Совещание.{extension}"
    return downloading.value.path().read_text(encoding="utf-8")


def wait_until_kept(page: Page) -> None:
    """The page writes a moment after the last change; leaving it makes it write now."""
    page.evaluate("dispatchEvent(new Event('pagehide'))")


def test_it_can_be_used_without_a_mouse(browser: Browser, server: JobServer) -> None:
    with transcript_of(browser, server, conversation()) as tab:
        page = tab.page
        page.get_by_role("searchbox").focus()
        for name in ("Edit", "Copy", "Export"):
            page.keyboard.press("Tab")
            expect(page.locator(":focus")).to_have_text(name)
        page.keyboard.press("Tab")
        expect(page.locator(":focus")).to_have_attribute("aria-label", "Who speaks at 0:00")
        page.keyboard.press("Tab")
        page.keyboard.press("ArrowDown")
        expect(page.locator(":focus")).to_have_attribute("aria-label", "Listen from 0:08")
        page.keyboard.press("Enter")
        expect(turn(page, 1)).to_have_class(re.compile("current"))
        page.keyboard.press("Tab")
        page.keyboard.press("Space")
        expect(page.get_by_role("button", name="Play", exact=True)).to_be_visible()
        before = position(page)
        page.keyboard.press("ArrowRight")
        assert position(page) == pytest.approx(before + 5, abs=1)
        page.keyboard.press("Enter")
        page.keyboard.type(" Да!")
        page.keyboard.press("Enter")
        expect(turn(page, 1).locator("p")).to_have_text(LINES[1][1] + " Да!")
        page.keyboard.press("Tab")
        expect(page.get_by_role("slider")).to_be_focused()


class TestThreeHours:
    def test_no_word_costs_an_element(self, browser: Browser, server: JobServer) -> None:
        transcript = three_hours()
        assert len(transcript.words) > 20_000
        with transcript_of(browser, server, transcript, sound=False) as tab:
            page = tab.page
            expect(page.locator(".turn")).to_have_count(1500)
            tab.screenshot("transcript-three-hours")
            turn(page, 1499).scroll_into_view_if_needed()
            expect(turn(page, 1499)).to_be_in_viewport()
            assert page.evaluate("document.querySelectorAll('*').length") < 10_000

    def test_what_is_played_is_brought_into_view_unless_somebody_looks_elsewhere(
        self, browser: Browser, server: JobServer
    ) -> None:
        transcript = replace(three_hours(), segments=three_hours().segments[:100], duration=720.0)
        with transcript_of(browser, server, transcript) as tab:
            page = tab.page
            page.keyboard.press("Space")
            slider = page.get_by_role("slider")
            for _ in range(10):
                slider.press("PageUp")
            expect(page.locator(".turn.current")).to_be_in_viewport()
            page.mouse.move(500, 400)
            page.mouse.wheel(0, -8000)
            expect(page.locator(".turn.current")).not_to_be_in_viewport()
            slider.press("ArrowRight")
            expect(page.locator(".turn.current")).to_be_in_viewport()


def test_a_recording_without_speech_says_so(browser: Browser, server: JobServer) -> None:
    def nothing_said(route: Route) -> None:
        job = route.fetch().json()
        route.fulfill(json=job | {"segments": []})

    job_id = done(server, conversation())
    with opened(browser, server.server.url, "/#server") as tab:
        tab.page.route(f"**/jobs/{job_id}", nothing_said)
        tab.page.evaluate("(id) => (location.hash = `files/${id}`)", job_id)
        expect(tab.page.get_by_text("No speech was found")).to_be_visible()
        tab.check_accessibility()
