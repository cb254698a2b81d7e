"""Memory stays where it is, for long recordings and for files made to fill it."""

import io
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from molva.audio.decode import AudioReader, decode
from molva.errors import AudioError
from molva.samples import SAMPLE_RATE, Samples
from tests.audio.hostile import HERE, ebml, flac_silence, matroska, matroska_head, mov, wav
from tests.media import encode

MEASURE = """
import sys
from pathlib import Path
from molva.audio.decode import AudioReader, decode
from molva.errors import AudioError
from tests.audio.hostile import wav
from tests.audio.test_limits import Repeated

def peak():
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024

path, head, times = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
decode(wav(bytes(2000), rate=8000))
before, seconds = peak(), 0.0
try:
    reader = AudioReader(Repeated(path, head, times) if times else path)
    for block in reader:
        seconds = reader.duration
except AudioError:
    seconds = -1.0
print(seconds, peak() - before)
"""


class Repeated(io.RawIOBase):
    """The file at `path` whose part after `head` bytes comes `times` times, without being anywhere as a whole."""

    def __init__(self, path: Path, head: int, times: int) -> None:
        data = path.read_bytes()
        self._head, self._body = data[:head], data[head:]
        self._size = head + len(self._body) * times
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = 0) -> int:
        self._position = offset + (0, self._position, self._size)[whence]
        return self._position

    def read(self, size: int = -1) -> bytes:
        if self._position < len(self._head):
            found = self._head[self._position :][:size]
        else:
            start = (self._position - len(self._head)) % len(self._body)
            left = max(0, self._size - self._position)
            found = self._body[start:][: min(size, left)]
        self._position += len(found)
        return found


@dataclass(frozen=True)
class Run:
    seconds: float
    """-1 where the file was refused."""
    growth: int
    """Bytes of memory at the peak, beyond what the process has anyway."""


MIB = 1 << 20


def measure(path: Path, *, head: int = 0, times: int = 0) -> Run:
    """Decode in a process of its own, as the peak of this one is that of all tests before."""
    command = [sys.executable, "-c", MEASURE, str(path), str(head), str(times)]
    root = Path(__file__).parents[2]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, cwd=root)
    seconds, growth = result.stdout.split()
    return Run(float(seconds), int(growth))


on_linux = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of memory is read from /proc")


@on_linux
def test_an_hour_takes_no_more_memory_than_a_minute(speech: Samples, tmp_path: Path) -> None:
    path = tmp_path / "clip.flac"
    data = encode(speech, "flac", "flac")
    path.write_bytes(data)
    run = measure(path, head=data.index(b"\xff\xf8"), times=round(3600 * SAMPLE_RATE / len(speech)))
    assert run.seconds == pytest.approx(3600, rel=0.05)
    assert run.growth < 16 * MIB  # the samples alone are 230 MB


@on_linux
def test_a_bomb_of_silence_is_refused(tmp_path: Path) -> None:
    """34 KB in one packet of Matroska, 1 GB decoded at once."""
    private, frame = flac_silence(channels=8, samples=65_535)
    path = tmp_path / "bomb.mkv"
    path.write_bytes(matroska("A_FLAC", private, 8, [frame * 1000]))
    run = measure(path)
    assert run.seconds == -1
    assert run.growth < 16 * MIB


def test_silence_itself_is_no_bomb() -> None:
    private, frame = flac_silence(channels=8, samples=65_535)
    assert len(decode(matroska("A_FLAC", private, 8, [frame] * 3))) == 3 * 65_535


@on_linux
def test_a_table_of_samples_that_are_not_there_is_refused(tmp_path: Path) -> None:
    """80 million samples in 8 bytes: 3 GB and seconds for FFmpeg alone."""
    path = tmp_path / "bomb.mp4"
    path.write_bytes(mov(HERE, samples=0, fragment_samples=80_000_000, data=bytes(1000)))
    run = measure(path)
    assert run.seconds == -1
    assert run.growth < 16 * MIB


def test_the_table_of_ten_hours_is_taken() -> None:
    """47 frames of AAC a second."""
    data = mov(HERE, samples=0, fragment_samples=47 * 36_000, data=bytes(32_000))
    with AudioReader(data) as reader:
        assert sum(len(block) for block in reader) == SAMPLE_RATE


@on_linux
def test_attachments_are_not_collected(tmp_path: Path) -> None:
    """900 MB, of which FFmpeg would keep every byte."""
    size = 30 * MIB
    with (tmp_path / "attachments.mkv").open("wb") as file:
        file.write(matroska_head("A_PCM/INT/LIT", b"", 1))
        name = ebml("466E", b"x.jpg") + ebml("4660", b"image/jpeg") + ebml("46AE", b"\5")
        attachment = ebml("465C", size=size)
        one = len(name) + len(attachment) + size
        file.write(ebml("1941A469", size=30 * (one + 10)))
        for _ in range(30):
            file.write(ebml("61A7", size=one) + name + attachment)
            file.seek(size, 1)
        file.write(ebml("1F43B675", ebml("E7", b"\0"), ebml("A3", b"\x81\0\0\x80" + bytes(640))))
    run = measure(tmp_path / "attachments.mkv")
    assert run.growth < 128 * MIB


@on_linux
@pytest.mark.parametrize("size", [40 * MIB, 250 * MIB])
def test_a_huge_packet_is_left_out(size: int, tmp_path: Path) -> None:
    path = tmp_path / "huge.mkv"
    with path.open("wb") as file:
        file.write(matroska_head("A_PCM/INT/LIT", b"", 1))
        file.write(ebml("1F43B675", ebml("E7", b"\0"), size=size + 100) + ebml("A3", size=size) + b"\x81\0\0\x80")
        file.seek(size, 1)
        file.write(bytes(1000))
    run = measure(path)
    assert run.seconds == -1
    assert run.growth < 160 * MIB


@on_linux
def test_a_low_rate_is_a_long_time_but_not_all_at_once(tmp_path: Path) -> None:
    path = tmp_path / "slow.flac"
    private, frame = flac_silence(channels=1, samples=65_535, rate=1_000)
    path.write_bytes(b"".join([private, *[frame] * 100]))
    run = measure(path)
    assert run.seconds == pytest.approx(6_553.5)
    assert run.growth < 16 * MIB  # 4 MB of samples per frame, 400 MB in all


@pytest.mark.parametrize("channels", [0, 513, 65_535])
def test_absurd_numbers_of_channels_are_refused(channels: int) -> None:
    with pytest.raises(AudioError):
        decode(wav(bytes(200_000), channels=channels))


def test_bad_text_in_the_tags_is_no_error(clips: dict[str, bytes]) -> None:
    data = clips["flac"]
    vendor = data.index(b"Lavf")
    decoded = decode(data[:vendor] + b"\xff\xfe\xc3\x28" + data[vendor + 4 :])
    assert np.array_equal(decoded, decode(data))
