"""What a stranger's file must not do: make FFmpeg open anything else, or take the memory of the process."""

import io
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import numpy as np
import pytest

from molva.audio.decode import AudioReader, decode
from molva.errors import AudioError
from molva.samples import SAMPLE_RATE, Samples
from tests.audio.hostile import HERE, ebml, flac_silence, mac_alias, matroska, matroska_head, mov, wav
from tests.media import encode

# --- Nothing else is opened ------------------------------------------------------------------------------------------


@dataclass
class Bait:
    """The same recording behind a URL and in a file, and whether somebody fetched it."""

    url: str
    path: Path
    requests: list[str]

    @property
    def was_read(self) -> bool:
        return self.path.stat().st_atime_ns != 0


@pytest.fixture(scope="module")
def web(clips: dict[str, bytes]) -> Iterator[tuple[str, list[str]]]:
    """The address of the recording on a server, and the requests to it."""
    requests: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requests.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(len(clips["wav"])))
            self.end_headers()
            self.wfile.write(clips["wav"])

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/bait.wav", requests
        server.shutdown()
        thread.join()


@pytest.fixture
def bait(tmp_path: Path, web: tuple[str, list[str]], clips: dict[str, bytes]) -> Bait:
    url, requests = web
    requests.clear()
    path = tmp_path / "bait.wav"
    path.write_bytes(clips["wav"])
    # The next read renews a time of access that is before the one of modification, also where others are not noted.
    os.utime(path, ns=(0, path.stat().st_mtime_ns))
    return Bait(url, path, requests)


def notes_reads(folder: Path) -> bool:
    """Whether the file system keeps times of access at all."""
    canary = folder / "canary"
    canary.write_bytes(b"x")
    os.utime(canary, ns=(0, canary.stat().st_mtime_ns))
    canary.read_bytes()
    return canary.stat().st_atime_ns != 0


def playlist(target: str) -> bytes:
    return f"#EXTM3U\n#EXT-X-TARGETDURATION:6\n#EXTINF:5.0,\n{target}\n#EXT-X-ENDLIST\n".encode()


def concat(target: str) -> bytes:
    return f"ffconcat version 1.0\nfile '{target}'\n".encode()


def dash(target: str) -> bytes:
    return (
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
        'mediaPresentationDuration="PT5S"><Period><AdaptationSet mimeType="audio/mp4"><Representation id="1">'
        f"<BaseURL>{target}</BaseURL></Representation></AdaptationSet></Period></MPD>"
    ).encode()


def session(target: str) -> bytes:
    return f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns={target}\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n".encode()


def movie(target: str) -> bytes:
    return mov(mac_alias(target), samples=80_000)


FORGERIES: dict[str, Callable[[str], bytes]] = {
    "m3u8": playlist,
    "ffconcat": concat,
    "mpd": dash,
    "sdp": session,
    "mov": movie,
    "subfile": lambda target: concat(f"subfile,,start,0,end,0,,:{target}"),
    "asx": lambda target: f'<asx version="3.0"><entry><ref href="{target}"/></entry></asx>'.encode(),
    "name": lambda target: target.encode(),
}


@pytest.mark.parametrize("suffix", FORGERIES)
@pytest.mark.parametrize("kind", ["bytes", "file", "path"])
@pytest.mark.parametrize("goal", ["url", "absolute", "relative", "scheme"])
def test_no_other_file_or_host_is_touched(suffix: str, kind: str, goal: str, bait: Bait, tmp_path: Path) -> None:
    targets = {"url": bait.url, "absolute": str(bait.path), "relative": bait.path.name, "scheme": f"file:{bait.path}"}
    data = FORGERIES[suffix](targets[goal])
    path = tmp_path / f"forged.{suffix}"
    path.write_bytes(data)
    with path.open("rb") as file, pytest.raises(AudioError) as caught:
        decode(data if kind == "bytes" else file if kind == "file" else path)
    assert str(caught.value) == AudioError.__doc__
    assert bait.requests == []
    assert not bait.was_read


@pytest.mark.parametrize(
    ("suffix", "goal", "options"),
    [
        ("m3u8", "url", {"extension_picky": "0", "protocol_whitelist": "file,http,tcp"}),
        ("m3u8", "path", {"extension_picky": "0"}),
        ("ffconcat", "url", {"safe": "0", "protocol_whitelist": "file,http,tcp"}),
        ("ffconcat", "path", {"safe": "0"}),
        ("mov", "path", {"enable_drefs": "1", "use_absolute_path": "1"}),
    ],
)
def test_the_forgeries_work_where_they_are_let(
    suffix: str, goal: str, options: dict[str, str], bait: Bait, tmp_path: Path
) -> None:
    """Otherwise the test above would prove nothing."""
    path = tmp_path / f"forged.{suffix}"
    path.write_bytes(FORGERIES[suffix](bait.url if goal == "url" else str(bait.path)))
    with av.open(str(path), options=options) as container:
        assert sum(frame.samples for frame in container.decode(audio=0)) > 70_000
    assert bait.requests == (["/bait.wav"] if goal == "url" else [])
    if notes_reads(tmp_path):
        assert bait.was_read == (goal == "path")


def test_a_movie_that_holds_its_own_data_is_fine(speech: Samples) -> None:
    """So the one that points elsewhere is refused for pointing elsewhere."""
    pcm = (speech * 2**15).astype("<i2")
    assert np.array_equal(decode(mov(HERE, samples=len(pcm), data=pcm.tobytes())), speech)


# --- Memory and time -------------------------------------------------------------------------------------------------

MEASURE = """
import sys
from pathlib import Path
from molva.audio.decode import AudioReader, decode
from molva.errors import AudioError
from tests.audio.hostile import wav
from tests.audio.test_hostile import Repeated

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
    run = measure(path, head=data.index(b"\xff\xf8"), times=720)
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
