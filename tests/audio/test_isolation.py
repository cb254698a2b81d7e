"""Whatever a stranger's file says, FFmpeg opens no other file and no connection."""

import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import numpy as np
import pytest

from molva.audio.decode import decode
from molva.errors import AudioError
from molva.samples import Samples
from tests.audio.hostile import HERE, mac_alias, mov
from tests.media import encode


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


@pytest.mark.parametrize(
    ("container", "codec"), [("avi", "libmp3lame"), ("mpegts", "libmp3lame"), ("ac3", "ac3"), ("matroska", "wavpack")]
)
def test_what_is_not_on_the_lists_does_not_run(container: str, codec: str, speech: Samples) -> None:
    """Good files all; but every demuxer and decoder is one more that strangers could try."""
    with pytest.raises(AudioError):
        decode(encode(speech, container, codec, rate=48_000))


def test_a_movie_that_holds_its_own_data_is_fine(speech: Samples) -> None:
    """So the one that points elsewhere is refused for pointing elsewhere."""
    pcm = (speech * 2**15).astype("<i2")
    assert np.array_equal(decode(mov(HERE, samples=len(pcm), data=pcm.tobytes())), speech)
