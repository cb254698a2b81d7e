"""The view of the server, over a real one."""

import re
import shutil
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import Browser, expect

from molva import assets
from tests.conftest import TINY, build_ctc_graph
from tests.e2e.conftest import Process, molva_serve
from tests.page.browser import DESK, PHONE, Opened, opened

pytestmark = [pytest.mark.browser, pytest.mark.slow]

MAIN, OTHER = "gigaam-v3-rnnt", "gigaam-v3-ctc"


def flags(models: Path, port: str = "0") -> list[str]:
    return ["--model", MAIN, "--model-dir", str(models), "--precision", "fp32", "--port", port]


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    models = tmp_path / "models"
    shutil.copytree(TINY, models)
    build_ctc_graph(models / "v3_ctc.onnx")
    with molva_serve(*flags(models), "--pool-size", "3", "--max-models", "2", home=tmp_path) as process:
        process.url()
        yield process


def tile(tab: Opened, name: str) -> str:
    return tab.page.locator(".tile", has=tab.page.get_by_role("heading", name=name)).locator(".value").inner_text()


def test_it_tells_how_things_stand_and_has_models_loaded_and_unloaded(browser: Browser, process: Process) -> None:
    url = process.url()
    with opened(browser, url, "/#server") as tab:
        row = tab.page.get_by_role("row", name=re.compile(MAIN))
        expect(row).to_contain_text("ready")
        expect(row).to_contain_text("main")
        other = tab.page.get_by_role("row", name=re.compile(OTHER))
        expect(other).to_contain_text("not in memory")
        tab.page.get_by_role("button", name=f"Load: {OTHER}").click()
        expect(other).to_contain_text("ready")
        tab.page.get_by_role("button", name=f"Unload: {OTHER}").click()
        expect(other).to_contain_text("not in memory")

        with resources.as_file(resources.files(assets) / "speech.wav") as clip:
            httpx2.post(f"{url}/jobs", files={"audio": ("talk.wav", clip.read_bytes())}).raise_for_status()
        expect(tab.page.get_by_text("0 waiting, 1 done, 0 failed")).to_be_visible()
        expect(tab.page.locator(".chart polyline").first).to_have_attribute("points", re.compile(r"\d,\S+ \S+ \S"))
        assert tile(tab, "Live sessions") == "0"
        assert tile(tab, "Speed").endswith("×")
        assert "MB" in tile(tab, "Memory")
        tab.check_accessibility()
        tab.screenshot("server")
        tab.page.set_viewport_size(PHONE)
        tab.check_width()
        tab.screenshot("server-phone", whole=True)


def test_it_says_when_the_server_is_gone_and_goes_on_when_it_is_back(
    browser: Browser, process: Process, tmp_path: Path
) -> None:
    url = process.url()
    port = url.rsplit(":", 1)[1]
    with opened(browser, url, "/#server", size=DESK) as tab:
        expect(tab.page.get_by_role("row", name=re.compile(MAIN))).to_contain_text("ready")
        assert process.stop() == 0
        expect(tab.page.get_by_role("alert").filter(has_text="does not answer")).to_be_visible()
        tab.screenshot("server-gone")
        with molva_serve(*flags(tmp_path / "models", port), home=tmp_path) as again:
            again.url()
            expect(tab.page.get_by_text("does not answer")).to_be_hidden()
            expect(tab.page.get_by_role("row", name=re.compile(MAIN))).to_contain_text("ready")
        tab.forgive("ERR_")


def test_a_page_that_nobody_looks_at_asks_for_nothing(browser: Browser, process: Process) -> None:
    with opened(browser, process.url(), "/#server") as tab:
        expect(tab.page.get_by_role("row", name=re.compile(MAIN))).to_contain_text("ready")
        tab.page.get_by_role("link", name="Files").click()
        asked: list[str] = []
        tab.page.on("request", lambda request: asked.append(request.url))
        tab.page.wait_for_timeout(3000)  # it asks every two seconds
        assert [url for url in asked if "/v1/status" in url] == []


def test_a_chart_ends_at_the_right_edge_and_keeps_within_its_height(browser: Browser, process: Process) -> None:
    with opened(browser, process.url()) as tab:
        drawn = tab.page.evaluate("import('/page/chart.js').then(({ points }) => points([0, 5, 99], 101, 10))")
        at = [tuple(map(float, point.split(","))) for point in drawn.split()]
        assert [x for x, _ in at] == [196, 198, 200]
        assert [y for _, y in at] == [42, 22, 2]
