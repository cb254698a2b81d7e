"""The view for live speech in a browser that gives it no microphone. A module of its own: one browser at a time."""

import pytest
from playwright.sync_api import expect

from tests.http.conftest import Running
from tests.page.browser import chromium, opened

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_a_refused_microphone_is_explained(fake_server: Running) -> None:
    with chromium(flags=("--use-fake-device-for-media-stream",)) as browser, opened(browser, fake_server.url) as tab:
        tab.page.context.clear_permissions()
        tab.page.get_by_role("button", name="Start recording").click()
        expect(tab.page.get_by_role("alert")).to_contain_text("does not let this page record")
        tab.screenshot("live-denied")
        tab.check_accessibility()


def test_no_microphone_is_explained(fake_server: Running) -> None:
    with chromium() as browser, opened(browser, fake_server.url, language="ru", dark=True) as tab:
        tab.page.get_by_role("button", name="Начать запись").click()
        expect(tab.page.get_by_role("alert")).to_contain_text("Микрофон не найден")
        tab.screenshot("live-missing-ru-dark")
