"""The view for live speech: a real browser hears a real recording, and shows what the real server makes of it."""

import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from difflib import SequenceMatcher
from pathlib import Path

import httpx2
import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from molva.engines.fake import FakeEngine
from molva.http.websocket import SUPPORTED_RATES
from molva.keys import KeyFile, KeyRing
from molva.samples import SAMPLE_RATE, Samples
from tests.conftest import SEEN
from tests.e2e.conftest import Process, molva_serve
from tests.http.conftest import Running, serving, wav
from tests.http.wsclient import connected, silence
from tests.page.browser import PHONE, Opened, chromium, opened

pytestmark = [pytest.mark.browser, pytest.mark.slow]

BROWSER_RATE = 48_000
PATIENCE_MS = 60_000.0
SHORTEST_LOSS = 7
"""Letters."""
CLIPS = [clip for clip in SEEN if clip.path.stem in {"ru_0143", "ru_0149", "ru_0537"}]


def upsampled(samples: Samples) -> Samples:
    """The same sound at the browser's rate: nothing above the old half of the rate."""
    spectrum = np.fft.rfft(samples)
    factor = BROWSER_RATE // SAMPLE_RATE
    whole = np.zeros(samples.size * factor // 2 + 1, complex)
    whole[: spectrum.size] = spectrum
    return (np.fft.irfft(whole, samples.size * factor) * factor).astype(np.float32)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few sentences with pauses between them, as a browser would record them."""
    pieces = [silence(0.6)]
    for clip in CLIPS:
        pieces += [clip.samples, silence(1.5)]
    path = tmp_path_factory.mktemp("speech") / "speech.wav"
    path.write_bytes(wav(upsampled(np.concatenate(pieces)), BROWSER_RATE))
    return path


@pytest.fixture(scope="module")
def browser(recording: Path) -> Iterator[Browser]:
    with chromium(microphone=recording) as browser:
        yield browser


@contextmanager
def tiny_server(home: Path, tiny_dir: Path, port: int = 0) -> Iterator[tuple[Process, str]]:
    flags = ("--port", str(port), "--model", "gigaam-v3-rnnt", "--model-dir", tiny_dir, "--precision", "fp32")
    with molva_serve(*flags, home=home) as process:
        yield process, process.url()


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory, tiny_dir: Path) -> Iterator[str]:
    with tiny_server(tmp_path_factory.mktemp("home"), tiny_dir) as (_, url):
        yield url


@pytest.fixture(scope="module")
def expected(url: str, recording: Path) -> list[str]:
    """The words of the file."""
    answer = httpx2.post(f"{url}/v1/transcribe", content=recording.read_bytes(), timeout=60)
    words: list[str] = answer.json()["text"].split()
    assert len(words) > len(CLIPS)
    return words


@pytest.fixture(scope="module")
def fake() -> Iterator[Running]:
    with serving(FakeEngine()) as server:
        yield server


class Cable:
    """What lies between a browser and a server, and can be cut."""

    def __init__(self, url: str) -> None:
        self._to = ("127.0.0.1", int(url.rsplit(":", 1)[1]))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._ends: list[socket.socket] = []
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Every connection ends; new ones are made as before."""
        ends, self._ends = self._ends, []
        for end in ends:
            hang_up(end)

    def close(self) -> None:
        """No more connections."""
        hang_up(self._listener)
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(self._to)
            self._ends += [near, far]
            for source, target in ((near, far), (far, near)):
                threading.Thread(target=carry, args=(source, target), daemon=True).start()


def carry(source: socket.socket, target: socket.socket) -> None:
    """Bytes, until one of them has ended."""
    with source:
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        hang_up(target)


def hang_up(end: socket.socket) -> None:
    """Whoever waits for its bytes waits no longer."""
    with suppress(OSError):  # it may have ended already
        end.shutdown(socket.SHUT_RDWR)


def start(page: Page) -> None:
    page.get_by_role("button", name="Start recording").click()
    expect(page.locator(".live-status")).to_have_text("Listening", timeout=PATIENCE_MS)


def stop(page: Page) -> None:
    page.get_by_role("button", name="Stop recording").click()
    expect(page.get_by_role("button", name="Start recording")).to_be_visible(timeout=PATIENCE_MS)


def finals(page: Page) -> list[str]:
    """The words that are settled."""
    return " ".join(page.locator(".live-lines li > div p").all_inner_texts()).split()


def wait_for_words(page: Page, n: int) -> None:
    """Until so many are settled."""
    page.wait_for_function(
        "n => [...document.querySelectorAll('.live-lines li > div p')]"
        ".flatMap((line) => line.innerText.split(/\\s+/)).length >= n",
        arg=n,
        timeout=PATIENCE_MS,
    )


def assert_alike(told: list[str], expected: list[str]) -> None:
    """The same words, but for letters that the tiny model takes for others when a sample is a little different.

    Words that are lost or doubled are a longer run of letters than any it confuses.
    """
    letters, others = "".join(told), "".join(expected)
    for kind, start, end, other_start, other_end in SequenceMatcher(None, letters, others, False).get_opcodes():
        if kind != "equal":
            assert max(end - start, other_end - other_start) < SHORTEST_LOSS, (told, expected)


def forgive_cuts(tab: Opened) -> None:
    """The browser tells of each attempt that fails."""
    tab.forgive("WebSocket connection to")
    tab.forgive("ERR_")


def test_speech_becomes_text(browser: Browser, url: str, expected: list[str]) -> None:
    with opened(browser, url) as tab:
        page = tab.page
        tab.screenshot("live-idle")
        tab.check_accessibility()
        start(page)
        expect(page.locator(".live-lines li")).not_to_have_count(0, timeout=PATIENCE_MS)
        expect(page.locator(".live-partial")).to_be_visible(timeout=PATIENCE_MS)
        tab.screenshot("live-recording")
        tab.check_accessibility()
        wait_for_words(page, len(expected) - 2)
        for name in ("Text after", "Final after"):
            shown = page.locator(".live-facts div", has_text=name).locator("dd").inner_text()
            assert re.fullmatch(r"[\d,]+ ms", shown)
        expect(page.locator(".live-facts")).to_contain_text("gigaam-v3-rnnt")
        stop(page)
        assert_alike(finals(page), expected)
        assert page.locator(".live-lines time").first.inner_text() in ("0:00", "0:01")
        tab.screenshot("live-finished")
        told = finals(page)
        page.reload()
        assert finals(page) == told


@pytest.mark.parametrize("rate", [8000, 96000])
def test_at_whatever_rate_the_browser_records(browser: Browser, url: str, expected: list[str], rate: int) -> None:
    with opened(browser, url) as tab:
        tab.page.evaluate(
            "rate => (window.AudioContext = class extends AudioContext {"
            "constructor() { super({ sampleRate: rate }); } })",
            rate,
        )
        start(tab.page)
        wait_for_words(tab.page, 1)
        stop(tab.page)
        heard = "".join(finals(tab.page))
        assert SequenceMatcher(None, heard, "".join(expected)[: len(heard)], False).ratio() > 0.7


@pytest.mark.parametrize(("rate", "sent"), [(11025, 8000), (22050, 16000), (48000, 48000), (192000, 48000)])
def test_a_sound_is_the_same_at_another_rate(browser: Browser, fake: Running, rate: int, sent: int) -> None:
    with opened(browser, fake.url) as tab:
        target, heard = tab.page.evaluate(
            "rate => import('/page/pcm.js').then(({ rateFor, Resampler, toPcm16 }) => {"
            "  const resampler = new Resampler(rate, rateFor(rate));"
            "  const blocks = Array.from({ length: 10 }, (_, i) => Float32Array.from({ length: rate / 100 },"
            "    (_, j) => 0.5 * Math.sin((2 * Math.PI * 440 * (i * Math.floor(rate / 100) + j)) / rate)));"
            "  return [rateFor(rate), blocks.flatMap((block) => [...toPcm16(resampler.feed(block))])];"
            "})",
            rate,
        )
        n = (rate // 100) * 10
        assert target == sent
        assert abs(len(heard) - n * sent / rate) <= 1
        tone = 0.5 * np.sin(2 * np.pi * 440 * (np.arange(len(heard)) + 0.5 * (sent != rate)) / sent)
        assert np.abs(np.array(heard) / 32767 - tone).max() < 0.1


def test_a_server_that_is_started_again_hears_what_the_last_one_did_not_finish(
    browser: Browser, tmp_path: Path, tiny_dir: Path, expected: list[str]
) -> None:
    with tiny_server(tmp_path, tiny_dir) as (process, address), opened(browser, address) as tab:
        page = tab.page
        start(page)
        wait_for_words(page, 1)
        expect(page.locator(".live-partial")).to_be_visible(timeout=PATIENCE_MS)
        process.stop()
        expect(page.locator(".live-status")).to_have_text("Connection lost")
        expect(page.locator(".live-lines li")).to_have_count(1)
        tab.screenshot("live-reconnecting")
        tab.check_accessibility()
        with tiny_server(tmp_path, tiny_dir, port=int(address.rsplit(":", 1)[1])):
            expect(page.locator(".live-status")).to_have_text("Listening", timeout=PATIENCE_MS)
            wait_for_words(page, len(expected) - 2)
            stop(page)
            assert_alike(finals(page), expected)
            times = [time.split(":") for time in page.locator(".live-lines time").all_inner_texts()]
            seconds = [int(minutes) * 60 + int(rest) for minutes, rest in times]
            assert seconds == sorted(set(seconds))
        forgive_cuts(tab)
        tab.forgive("503")  # while it stops and while it starts


def test_a_connection_that_is_cut_loses_and_doubles_nothing(browser: Browser, url: str, expected: list[str]) -> None:
    cable = Cable(url)
    with opened(browser, cable.url) as tab:
        page = tab.page
        start(page)
        for _ in range(2):
            expect(page.locator(".live-partial")).to_be_visible(timeout=PATIENCE_MS)
            cable.cut()
            expect(page.locator("#announcer")).to_have_text("The connection is back", timeout=PATIENCE_MS)
            expect(page.locator(".live-lines li")).not_to_have_count(0, timeout=PATIENCE_MS)
        wait_for_words(page, len(expected) - 2)
        stop(page)
        assert_alike(finals(page), expected)
        forgive_cuts(tab)
    cable.close()


def test_what_was_said_last_waits_for_the_server_or_is_given_up(browser: Browser, url: str) -> None:
    cable = Cable(url)
    with opened(browser, cable.url) as tab:
        page = tab.page
        start(page)
        expect(page.locator(".live-partial")).to_be_visible(timeout=PATIENCE_MS)
        heard = page.locator(".live-partial").inner_text()
        cable.close()
        page.get_by_role("button", name="Stop recording").click()
        expect(page.get_by_text("The last words wait")).to_be_visible()
        tab.screenshot("live-unsent")
        page.get_by_role("button", name="Do not wait").click()
        expect(page.get_by_role("button", name="Start recording")).to_be_visible()
        expect(page.locator(".live-lines")).to_contain_text(heard[:5])
        expect(page.locator(".live-lines")).to_contain_text("Unfinished")
        forgive_cuts(tab)


def test_where_all_places_are_taken_it_waits_for_one(browser: Browser) -> None:
    with (
        serving(FakeEngine(), pool_size=1, checkout_timeout_s=1) as server,
        connected(server) as other,
        opened(browser, server.url) as tab,
    ):
        assert other.read()["type"] == "ready"
        tab.page.get_by_role("button", name="Start recording").click()
        expect(tab.page.locator(".live-status")).to_have_text("The server is busy", timeout=PATIENCE_MS)
        tab.screenshot("live-busy")
        tab.check_accessibility()
        other.connection.close()
        expect(tab.page.locator(".live-status")).to_have_text("Listening", timeout=PATIENCE_MS)
        wait_for_words(tab.page, 1)


def test_with_a_key_and_without_it_any_more(browser: Browser, tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "keys")
    secret = file.create("page")
    file.create("other")
    with serving(FakeEngine(), keys=KeyRing(file.path)) as server:
        cable = Cable(server.url)
        with opened(browser, cable.url, key=secret) as tab:
            start(tab.page)
            wait_for_words(tab.page, 1)
            file.revoke("page")
            cable.cut()
            expect(tab.page.locator("#key-dialog")).to_be_visible()
            expect(tab.page.get_by_role("button", name="Start recording", include_hidden=True)).to_be_enabled()
            assert finals(tab.page)
            tab.forgive("401")
            forgive_cuts(tab)
        cable.close()


def test_a_key_that_no_browser_can_send_is_told(browser: Browser, tmp_path: Path) -> None:
    ring = KeyRing(tmp_path / "keys", {"MOLVA_API_KEY": "a b="})
    with serving(FakeEngine(), keys=ring) as server, opened(browser, server.url, key="a b=") as tab:
        tab.page.get_by_role("button", name="Start recording").click()
        expect(tab.page.get_by_role("alert")).to_contain_text("molva keys create")


def test_a_page_that_may_not_record_says_how_it_could(browser: Browser, fake: Running) -> None:
    with opened(browser, fake.url) as tab:
        tab.page.add_init_script("Object.defineProperty(navigator, 'mediaDevices', { value: undefined })")
        tab.page.reload()
        expect(tab.page.get_by_role("alert")).to_contain_text("docs/page.md")
        expect(tab.page.get_by_role("button", name="Start recording")).to_be_disabled()
        tab.screenshot("live-insecure")
        tab.check_accessibility()


@pytest.mark.parametrize("with_sound", [True, False])
def test_the_sound_of_a_tab(browser: Browser, fake: Running, with_sound: bool) -> None:
    with opened(browser, fake.url) as tab:
        page = tab.page
        page.evaluate(
            "sound => (navigator.mediaDevices.getDisplayMedia = async () => {"
            "  const stream = document.createElement('canvas').captureStream();"
            "  if (!sound) return stream;"
            "  const context = new AudioContext(), tone = context.createOscillator();"
            "  const target = context.createMediaStreamDestination();"
            "  tone.connect(target); tone.start();"
            "  target.stream.getTracks().forEach((track) => stream.addTrack(track));"
            "  return stream; })",
            with_sound,
        )
        page.get_by_label("Source").select_option("Tab or system audio")
        page.get_by_role("button", name="Start recording").click()
        if with_sound:
            expect(page.locator(".live-status")).to_have_text("Listening")
            page.wait_for_function("() => document.querySelector('.live-meter').ariaValueNow > 50")
            stop(page)
        else:
            expect(page.get_by_role("alert")).to_contain_text("Share audio")
            tab.screenshot("live-shared-silent")


def test_speakers_are_told_apart_where_the_server_can(browser: Browser, fake: Running) -> None:
    facts = {**fake.client.get("/v1/models").json(), "diarization": True}
    sent: list[str | bytes] = []
    with opened(browser, fake.url) as tab:
        expect(tab.page.locator("#view-live").get_by_label("Tell speakers apart")).to_be_hidden()
        tab.page.route("**/v1/models", lambda route: route.fulfill(json=facts))
        tab.page.on("websocket", lambda connection: connection.on("framesent", lambda data: sent.append(data)))
        tab.page.reload()
        tab.page.locator("#view-live").get_by_label("Tell speakers apart").check()
        start(tab.page)
        stop(tab.page)
    configure = next(json.loads(message) for message in sent if isinstance(message, str))
    assert configure.pop("sample_rate") in SUPPORTED_RATES
    assert configure == {"type": "configure", "diarization": True}


WORDS = [
    {"word": "Привет.", "start": 0.5, "end": 1.0, "speaker": 0},
    {"word": "Да", "start": 1.2, "end": 1.25, "speaker": 1},
    {"word": "да.", "start": 1.25, "end": 1.4, "speaker": 1},
]


def test_subtitles_of_live_speech_go_on_from_one_recording_to_the_next(browser: Browser, fake: Running) -> None:
    with opened(browser, fake.url) as tab:
        subtitles = tab.page.evaluate(
            "words => Promise.all([import('/page/live-transcript.js'), import('/page/export.js')]).then(("
            "  [{ lineOf, transcriptOf }, { FORMATS }]) => {"
            "  const lines = [lineOf({ text: '', words }, 60), lineOf({ text: '', words: words.slice(1) }, 3661)];"
            "  return FORMATS.srt.write(transcriptOf(lines)); })",
            WORDS,
        )
    assert subtitles == (
        "1\n00:01:00,500 --> 00:01:01,000\n[Speaker 1] Привет.\n\n"
        "2\n00:01:01,200 --> 00:01:01,500\n[Speaker 2] Да да.\n\n"
        "3\n01:01:02,200 --> 01:01:02,400\n[Speaker 2] Да да.\n"
    )


def test_what_was_said_can_be_taken_along(browser: Browser, fake: Running) -> None:
    with opened(browser, fake.url) as tab:
        page = tab.page
        expect(page.locator("#view-live").get_by_role("button", name="Copy")).to_be_hidden()
        start(page)
        wait_for_words(page, 1)
        stop(page)
        page.locator("#view-live").get_by_role("button", name="Copy").click()
        expect(page.get_by_role("button", name="Copied")).to_be_visible()
        copied = page.evaluate("navigator.clipboard.readText()")
        assert copied.split() == finals(page)
        for name, part in ((".txt", copied), (".srt", "1\n00:00:0")):
            page.locator("#view-live .menu summary").click()
            with page.expect_download() as download:
                page.get_by_role("button", name=name).click()
            assert download.value.suggested_filename.endswith(name)
            assert part in Path(download.value.path()).read_text(encoding="utf-8")
        page.get_by_role("button", name="Clear").click()
        expect(page.locator(".live-lines li")).to_have_count(0)
        page.get_by_role("button", name="Bring back").click()
        assert finals(page) == copied.split()


def test_on_a_phone(browser: Browser, fake: Running) -> None:
    with opened(browser, fake.url, size=PHONE, dark=True, language="ru") as tab:
        tab.page.locator(".live-button").focus()
        tab.page.keyboard.press("Enter")
        wait_for_words(tab.page, 1)
        expect(tab.page.locator(".live-partial")).to_be_visible(timeout=PATIENCE_MS)
        tab.check_width()
        tab.check_accessibility()
        tab.screenshot("live-phone-ru-dark", whole=True)
        tab.page.keyboard.press("Space")
        expect(tab.page.locator(".live-button.on")).to_have_count(0)
