"""The view for live speech in a browser that gives it no microphone. A module of its own: one browser at a time."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from molva.engines.fake import FakeEngine
from tests.http.conftest import Running, serving
from tests.page.browser import chromium, opened

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with serving(FakeEngine()) as server:
        yield server


def test_a_refused_microphone_is_explained(server: Running) -> None:
    with chromium(flags=("--use-fake-device-for-media-stream",)) as browser, opened(browser, server.url) as tab:
        tab.page.context.clear_permissions()
        tab.page.get_by_role("button", name="Start recording").click()
        expect(tab.page.get_by_role("alert")).to_contain_text("is not allowed")
        tab.screenshot("live-denied")
        tab.check_accessibility()


def test_no_microphone_is_explained(server: Running) -> None:
    with chromium() as browser, opened(browser, server.url, language="ru", dark=True) as tab:
        tab.page.get_by_role("button", name="Начать запись").click()
        expect(tab.page.get_by_role("alert")).to_contain_text("Микрофон не найден")
        tab.screenshot("live-missing-ru-dark")
