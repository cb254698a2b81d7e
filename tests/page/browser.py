"""A real browser on the real page, which tells what a user would only find in its console."""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, ViewportSize, expect, sync_playwright

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

SCREENSHOTS = Path(__file__).resolve().parents[2] / ".screenshots"
"""Of the last run. `make screenshots` puts those that the docs show into docs/images."""

DESK = ViewportSize(width=1200, height=800)
PHONE = ViewportSize(width=390, height=844)

QUIET = ("--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run")
"""The browser's own requests, which are none of the page's."""

ON_VIOLATION = (
    "addEventListener('securitypolicyviolation', (e) => (window.violations ??= []).push(e.violatedDirective))"
)

PATIENCE_MS = 20_000
"""How long something that has to come may take on a busy machine."""

expect.set_options(timeout=PATIENCE_MS)


def find_browser() -> str:
    """Chromium or Chrome, where the system has it; else the one that `playwright install chromium` brings."""
    found = next((path for name in PROGRAMS if (path := shutil.which(name))), None)
    if found is not None:
        return found
    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
    if not Path(own).exists():
        raise FileNotFoundError(
            "these tests need Chromium: install it (Debian: apt install chromium; elsewhere: .venv/bin/playwright "
            "install chromium), or leave them out: make test ARGS='-m \"not browser\"'"
        )
    return own


@contextmanager
def chromium(microphone: Path | None = None, flags: Sequence[str] = ()) -> Iterator[Browser]:
    """`microphone`: a WAV file that is heard, from its start, whenever the page asks for one, which it is granted."""
    flags = [*QUIET, "--autoplay-policy=no-user-gesture-required", *flags]
    if microphone is not None:
        flags += [
            "--use-fake-ui-for-media-stream",
            "--use-fake-device-for-media-stream",
            f"--use-file-for-fake-audio-capture={microphone}%noloop",
        ]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=find_browser(), args=flags, chromium_sandbox=os.geteuid() != 0
        )
        yield browser
        browser.close()


@dataclass
class Opened:
    """The page in a tab, and what went wrong there."""

    page: Page
    url: str
    console: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)

    def screenshot(self, name: str, *, whole: bool = False) -> None:
        """Keep how it looks now as `name.png`; `whole` with what is below the window's edge."""
        SCREENSHOTS.mkdir(exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=whole, animations="disabled")

    def check_accessibility(self) -> None:
        """No rule of axe is broken as the page is now."""
        results: Any = Axe().run(self.page)
        broken = {
            violation["id"]: [node["html"] for node in violation["nodes"]]
            for violation in results.response["violations"]
        }
        assert not broken, broken

    def check_width(self) -> None:
        """Nothing is wider than the window."""
        assert self.page.evaluate("document.documentElement.scrollWidth <= innerWidth")

    def forgive(self, part: str) -> None:
        """Take what has this in it from the console's errors: the browser tells of every answer that is an error."""
        self.console = [line for line in self.console if part not in line]

    def check(self) -> None:
        """No error in the console, no request to elsewhere, nothing that the policy had to stop."""
        assert not self.console, self.console
        assert not self.foreign, self.foreign
        violations = self.page.evaluate("window.violations ?? []")
        assert not violations, violations


@contextmanager
def opened(
    browser: Browser,
    url: str,
    path: str = "/",
    *,
    size: ViewportSize = DESK,
    dark: bool = False,
    language: str = "en",
    key: str = "",
) -> Iterator[Opened]:
    """The page as somebody with an empty browser opens it; checked when it is left."""
    context = browser.new_context(
        viewport=size,
        color_scheme="dark" if dark else "light",
        locale={"en": "en-GB", "ru": "ru-RU"}[language],
        permissions=["clipboard-read", "clipboard-write", "microphone"],
        accept_downloads=True,
    )
    context.set_default_timeout(PATIENCE_MS)
    context.add_init_script(ON_VIOLATION)
    if key:
        context.add_init_script(f"sessionStorage.setItem('molva.key', JSON.stringify({key!r}))")
    page = context.new_page()
    tab = Opened(page, url)

    def on_console(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            tab.console.append(message.text)

    def on_request(request: Request) -> None:
        address = urlsplit(request.url)
        if address.scheme not in ("blob", "data") and address.netloc != urlsplit(url).netloc:
            tab.foreign.append(request.url)

    page.on("console", on_console)
    page.on("pageerror", lambda error: tab.console.append(str(error)))
    page.on("request", on_request)
    page.goto(url + path)
    yield tab
    tab.check()
    context.close()
