"""The microphone, by the `sounddevice` library, which is optional."""

import queue
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from molva.cli.pcm import FRAMES_PER_SECOND, Frames

USUAL_RATES = (48_000, 16_000)
"""Hz; what nearly every device can be opened at, the best one first."""

MAX_WAITING = 10 * FRAMES_PER_SECOND
"""Frames that wait for the server; what comes on top of them is lost."""


class NoMicrophone(OSError):
    """There is no microphone to listen to. The message says why and what to do."""


class Microphone:
    """The system's default input device."""

    def __init__(self) -> None:
        """Raises NoMicrophone, which says what to install or to plug in."""
        self._sounddevice = load_sounddevice()
        try:
            device = self._sounddevice.query_devices(kind="input")
        except (self._sounddevice.PortAudioError, ValueError) as error:
            raise NoMicrophone(
                f"No microphone was found ({error}). Plug one in or choose one in the system's sound settings, "
                "or stream a recording: molva listen FILE"
            ) from error
        self.name: str = device["name"]
        self._own_rate = round(device["default_samplerate"])

    def choose_rate(self, supported: Sequence[int]) -> int:
        """The rate in Hz to open it at, of those a server takes. Raises NoMicrophone where they share none."""
        return choose_rate(self._own_rate, supported, self._opens)

    def frames(self, rate: int) -> Frames:
        """What it hears, as PCM16; without an end. Raises NoMicrophone where it cannot be opened or goes away."""
        heard: queue.Queue[bytes] = queue.Queue(MAX_WAITING)
        gone = threading.Event()

        def on_audio(data: Any, _n_samples: int, _time: Any, _status: Any) -> None:
            with suppress(queue.Full):  # waiting here would stall the device
                heard.put_nowait(bytes(data))

        try:
            with self._sounddevice.RawInputStream(
                samplerate=rate,
                blocksize=rate // FRAMES_PER_SECOND,
                channels=1,
                dtype="int16",
                callback=on_audio,
                finished_callback=gone.set,
            ):
                while not (gone.is_set() and heard.empty()):
                    with suppress(queue.Empty):
                        yield heard.get(timeout=0.2)
        except self._sounddevice.PortAudioError as error:
            raise NoMicrophone(f"The microphone '{self.name}' cannot be opened: {error}") from error
        raise NoMicrophone(f"The microphone '{self.name}' has gone.")

    def _opens(self, rate: int) -> bool:
        try:
            self._sounddevice.check_input_settings(samplerate=rate, channels=1, dtype="int16")
        except self._sounddevice.PortAudioError:
            return False
        return True


def choose_rate(own: int, supported: Sequence[int], opens: Callable[[int], bool]) -> int:
    """The device's own rate where the server takes it, which spares a conversion; else a usual one that opens."""
    for rate in (own, *USUAL_RATES):
        if rate in supported and (rate == own or opens(rate)):
            return rate
    raise NoMicrophone(f"The microphone records at {own} Hz, which the server does not take.")


def load_sounddevice() -> Any:
    """The library. Raises NoMicrophone, which says how to install what is missing."""
    try:
        import sounddevice
    except ImportError as error:
        raise NoMicrophone(
            "The microphone needs the sounddevice library: pip install 'molva[listen]'\n"
            "On Linux it needs PortAudio too: apt install libportaudio2"
        ) from error
    except OSError as error:  # what it raises where its own library is missing
        raise NoMicrophone(f"The microphone needs PortAudio ({error}): apt install libportaudio2") from error
    return sounddevice
