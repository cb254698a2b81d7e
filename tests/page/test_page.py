"""The frame of the page: what is shown, in which language and colours, and who may see it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ViewportSize, expect

from molva.engines.fake import FakeEngine
from molva.http.page import FILES
from molva.keys import KeyFile, KeyRing
from tests.http.conftest import Running, serving
from tests.http.jobs.conftest import serving_jobs
from tests.page.browser import DESK, PHONE, opened

pytestmark = [pytest.mark.browser, pytest.mark.slow]

VIEWS = ("live", "files", "server")


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with serving_jobs() as jobs:
        yield jobs.server


@pytest.mark.parametrize(
    ("size", "dark", "language"), [(DESK, False, "en"), (DESK, True, "ru"), (PHONE, False, "ru"), (PHONE, True, "en")]
)
def test_every_view_is_for_everybody(
    browser: Browser, server: Running, size: ViewportSize, dark: bool, language: str
) -> None:
    for view in VIEWS:
        with opened(browser, server.url, f"/#{view}", size=size, dark=dark, language=language) as tab:
            expect(tab.page.locator(f"#view-{view}")).to_be_visible()
            expect(tab.page.locator("html")).to_have_attribute("lang", language)
            tab.check_accessibility()
            tab.check_width()
            tab.screenshot(f"{view}-{'phone' if size is PHONE else 'desk'}-{'dark' if dark else 'light'}-{language}")


def test_both_languages_say_the_same_things(browser: Browser, server: Running) -> None:
    with opened(browser, server.url) as tab:
        keys = tab.page.evaluate(
            "import('/page/texts.js').then(({ texts }) => Object.entries(texts).map(([key, pair]) => [key, "
            "...pair.map((text) => [...new Set(text.match(/\\{\\w+\\}/g))].sort().join())]))"
        )
        assert len(keys) > 100
        for key, english, russian in keys:
            assert english == russian, key


def test_the_language_is_chosen_and_kept(browser: Browser, server: Running) -> None:
    with opened(browser, server.url) as tab:
        tab.page.get_by_role("button", name="Русский").click()
        expect(tab.page.get_by_role("link", name="Файлы")).to_be_visible()
        tab.page.reload()
        expect(tab.page.locator("html")).to_have_attribute("lang", "ru")
        assert tab.page.title().endswith("· molva")


def test_everything_can_be_reached_by_keyboard(browser: Browser, server: Running) -> None:
    with opened(browser, server.url) as tab:
        tab.page.keyboard.press("Tab")
        expect(tab.page.locator(":focus")).to_have_text("Skip to content")
        for name in ("molva", "Live", "Files", "Server"):
            tab.page.keyboard.press("Tab")
            expect(tab.page.locator(":focus")).to_have_text(name)
        tab.page.keyboard.press("Enter")
        expect(tab.page.locator("#view-server")).to_be_visible()


def test_a_locked_server_is_opened_with_a_key(browser: Browser, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    secret = KeyFile(file).create("page")
    with (
        serving(FakeEngine(), keys=KeyRing(file)) as server,
        opened(browser, server.url, "/#server") as tab,
    ):
        field = tab.page.get_by_label("Key", exact=True)
        expect(field).to_be_visible()
        tab.check_accessibility()
        tab.screenshot("key-desk-light-en")
        field.fill("molva-wrong")
        tab.page.get_by_role("button", name="Use it").click()
        expect(tab.page.get_by_text("does not know this key")).to_be_visible()
        field.fill(secret)
        tab.page.get_by_role("button", name="Use it").click()
        expect(field).to_be_hidden()
        expect(tab.page.locator("#view-server")).to_be_visible()
        tab.forgive("401")


def test_it_is_all_fetched_from_one_place(browser: Browser, server: Running) -> None:
    with opened(browser, server.url) as tab:
        fetched = tab.page.evaluate(
            "performance.getEntriesByType('resource').map((each) => new URL(each.name).pathname)"
        )
        assert {path for path in fetched if path.startswith("/page/")} <= {f"/page/{name}" for name in FILES}
