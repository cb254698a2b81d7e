"""What `molva listen` is made of: frames on their way, captions, the microphone. The whole is in tests/e2e."""

import asyncio
import io
import json
import os
import sys
import threading
import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from molva.audio.decode import AudioReader
from molva.cli.captions import captions, ending_of, printable, start_of
from molva.cli.microphone import Microphone, NoMicrophone, choose_rate
from molva.cli.pcm import Frames, frames_of_file, frames_of_pipe, read_ahead
from molva.client import Message
from tests.conftest import SEEN

SERVER_RATES = [8000, 16000, 24000, 44100, 48000]


# Frames.


def test_a_16_bit_recording_is_sent_as_it_is() -> None:
    frames = list(frames_of_file(AudioReader(SEEN[0].path)))
    assert {len(frame) for frame in frames[:-1]} == {3200}
    assert b"".join(frames) == (SEEN[0].samples * 32768).astype("<i2").tobytes()


def test_samples_beyond_full_scale_are_clipped_not_wrapped() -> None:
    (frame,) = frames_of_file([np.array([1.0, 2.0, -1.0, -2.0], np.float32)])
    assert np.frombuffer(frame, "<i2").tolist() == [32767, 32767, -32768, -32768]


def test_a_pipe_is_read_as_it_comes() -> None:
    """A live source is not held up until a frame is full."""
    source, sink = os.pipe()
    frames = frames_of_pipe(source, 8000)
    os.write(sink, bytes(10))
    assert len(next(frames)) == 10
    os.write(sink, bytes(4000))
    assert len(next(frames)) == 1600
    os.close(sink)
    assert [len(frame) for frame in frames] == [1600, 800]
    os.close(source)


def test_frames_are_read_in_order_and_only_so_far_ahead() -> None:
    given_out: list[int] = []
    closed = threading.Event()

    def numbers() -> Iterator[bytes]:
        try:
            for i in range(100):
                given_out.append(i)
                yield bytes([i])
        finally:
            closed.set()

    async def take(n: int) -> list[bytes]:
        taken = []
        async for frame in read_ahead(numbers(), 5):  # type: ignore[arg-type]
            taken.append(frame)
            if len(taken) == n:
                break
        return taken

    assert asyncio.run(take(1000)) == [bytes([i]) for i in range(100)]
    given_out.clear()
    closed.clear()
    assert asyncio.run(take(10)) == [bytes([i]) for i in range(10)]
    assert closed.wait(10), "the source was not closed"
    assert len(given_out) <= 10 + 5 + 1


def test_what_goes_wrong_while_reading_is_raised_where_frames_are_wanted() -> None:
    def broken() -> Frames:
        yield b"12"
        raise NoMicrophone("gone")

    async def take() -> list[bytes]:
        return [frame async for frame in read_ahead(broken())]

    with pytest.raises(NoMicrophone, match="gone"):
        asyncio.run(take())


# Captions.

PARTIAL: Message = {"type": "partial", "text": "тогда лось вышел", "words": [], "stable": 10}
FINAL: Message = {
    "type": "final",
    "text": "тогда лось\nвышел",
    "words": [{"word": "тогда", "start": 3661.26, "end": 3662.0}],
}
EMPTY: Message = {"type": "final", "text": "", "words": []}
ERROR: Message = {"type": "error", "message": "Idle timeout", "code": "idle_timeout"}
MESSAGES = [{"type": "ready"}, PARTIAL, FINAL, ERROR, EMPTY]


def test_a_pipe_gets_finals_only(capsys: pytest.CaptureFixture[str]) -> None:
    with captions(Console(file=io.StringIO()), as_json=False) as show:
        for message in MESSAGES:
            show(message)
    assert capsys.readouterr().out == "тогда лось вышел\n"


def test_a_program_gets_everything(capsys: pytest.CaptureFixture[str]) -> None:
    with captions(Console(file=io.StringIO()), as_json=True) as show:
        for message in MESSAGES:
            show(message)
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == MESSAGES


def test_a_terminal_gets_one_live_line_with_what_may_change_dimmed() -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=60, color_system="standard", legacy_windows=False)
    with captions(console, as_json=False) as show:
        show(PARTIAL)
        assert "тогда лось\x1b[2m вышел" in screen.getvalue()
        show(FINAL)
        assert "1:01:01.3" in screen.getvalue()
        assert screen.getvalue().count("\n") == 1
        show(EMPTY)
    assert screen.getvalue().count("тогда лось вышел") == 1


@given(st.text(), st.integers(2, 40))
def test_the_live_line_is_the_newest_text_that_fits(text: str, width: int) -> None:
    shown = ending_of(Text(printable(text)), width).plain
    assert printable(text).endswith(shown)
    assert cell_len(shown) <= width
    assert len(shown) == len(text) or cell_len(printable(text)[-len(shown) - 1 :]) > width


@given(st.text())
def test_no_text_steers_the_terminal(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert len(shown) == len(text), "the stable part is counted in characters"


def test_times_of_finals() -> None:
    assert start_of({"words": [{"start": 59.96}]}) == "0:01:00.0"
    assert start_of({"words": []}).isspace()


# The microphone. Test machines have none: a stand-in takes the place of PortAudio and of its device.


def test_the_devices_own_rate_is_taken_where_the_server_takes_it() -> None:
    assert choose_rate(44_100, SERVER_RATES, lambda _rate: False) == 44_100
    assert choose_rate(96_000, SERVER_RATES, lambda _rate: True) == 48_000
    assert choose_rate(96_000, SERVER_RATES, lambda rate: rate == 16_000) == 16_000
    with pytest.raises(NoMicrophone, match="96000 Hz"):
        choose_rate(96_000, SERVER_RATES, lambda _rate: False)


def test_a_missing_library_is_told_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(NoMicrophone, match=r"(?s)pip install 'molva\[listen\]'.*apt install libportaudio2"):
        Microphone()


def test_a_missing_portaudio_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The library raises OSError when it is imported without PortAudio."""
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')", encoding="utf-8")
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(NoMicrophone, match=r"PortAudio library not found.*apt install libportaudio2"):
        Microphone()


class PortAudioError(Exception):
    """As in sounddevice."""


class FakeSounddevice(types.ModuleType):
    """As much of sounddevice as the microphone needs, with a device that says the given frames and then goes away."""

    PortAudioError = PortAudioError

    def __init__(self, frames: Sequence[bytes] | None, *, opens: bool = True) -> None:
        super().__init__("sounddevice")
        self.said = frames
        self.opens = opens
        self.asked: dict[str, Any] = {}

    def query_devices(self, kind: str) -> dict[str, Any]:
        if self.said is None:
            raise PortAudioError("Error querying device -1")
        return {"name": "Fake", "default_samplerate": 44_100.0}

    @contextmanager
    def RawInputStream(  # noqa: N802 - the library's name
        self, *, callback: Callable[..., None], finished_callback: Callable[[], None], **asked: Any
    ) -> Iterator[None]:
        if not self.opens:
            raise PortAudioError("Invalid number of channels")
        self.asked = asked
        for frame in self.said or ():
            callback(memoryview(frame), len(frame) // 2, None, None)
        device = threading.Timer(0.2, finished_callback)
        device.start()
        yield
        device.join()


def test_no_device_is_told_with_what_to_do_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", FakeSounddevice(None))
    with pytest.raises(NoMicrophone, match=r"No microphone was found.*molva listen FILE"):
        Microphone()


def test_what_the_device_hears_comes_as_frames_until_it_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    library = FakeSounddevice([b"ab", b"cd"])
    monkeypatch.setitem(sys.modules, "sounddevice", library)
    microphone = Microphone()
    rate = microphone.choose_rate(SERVER_RATES)
    frames = microphone.frames(rate)
    assert [next(frames), next(frames)] == [b"ab", b"cd"]
    assert library.asked == {"samplerate": 44_100, "blocksize": 4410, "channels": 1, "dtype": "int16"}
    with pytest.raises(NoMicrophone, match="'Fake' has gone"):
        next(frames)


def test_a_device_that_does_not_open_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", FakeSounddevice([], opens=False))
    with pytest.raises(NoMicrophone, match="'Fake' cannot be opened: Invalid number of channels"):
        next(Microphone().frames(48_000))
