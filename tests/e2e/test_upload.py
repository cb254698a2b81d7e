"""An upload of 1.5 GiB to a real server: it goes to the disk and not into memory, and needs a key before it begins."""

import re
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest

from tests.e2e.conftest import molva_serve

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux"),
]

MIB = 2**20
SIZE = 1536 * MIB
"""Of a recording of silence, 14 hours: more than the server takes, so that nobody waits for it to be transcribed."""
ALLOWED_MIB = 100
KEY = "sesame"
PATH = "/v1/audio/transcriptions"
HEAD = b'--b\r\ncontent-disposition: form-data; name="file"; filename="silence.wav"\r\n\r\n'
TAIL = b'\r\n--b\r\ncontent-disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n--b--\r\n'


def body(size: int) -> Iterator[bytes]:
    """A form with a WAV file of `size` bytes of silence."""
    yield HEAD
    yield (
        b"RIFF" + struct.pack("<I", size + 36) + b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 16_000, 32_000, 2, 16)
    )
    yield b"data" + struct.pack("<I", size)
    silence = bytes(MIB)
    for _ in range(size // MIB):
        yield silence
    yield TAIL


def headers(size: int, key: str | None = KEY) -> dict[str, str]:
    length = len(HEAD) + 44 + size + len(TAIL)
    bearer = {} if key is None else {"authorization": f"Bearer {key}"}
    return {"content-type": "multipart/form-data; boundary=b", "content-length": str(length), **bearer}


def memory_mib(pid: int, name: str) -> float:
    found = re.search(rf"^{name}:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1024


def uploads(home: Path) -> list[Path]:
    return [path for path in (home / ".molva" / "spool").glob("uploads-*/*") if path.name != ".lock"]


def test_memory_does_not_grow_with_an_upload_that_goes_to_the_disk(tiny_dir: Path, tmp_path: Path) -> None:
    flags = ("--port", "0", "--model", "gigaam-v3-rnnt", "--model-dir", tiny_dir, "--precision", "fp32")
    with molva_serve(*flags, home=tmp_path, MOLVA_API_KEY=KEY) as process:
        url, pid = process.url(), process.popen.pid
        answer = httpx2.post(url + PATH, content=body(MIB), headers=headers(MIB), timeout=60)
        assert answer.json()["text"] == ""

        idle = memory_mib(pid, "VmRSS")
        Path(f"/proc/{pid}/clear_refs").write_text("5")  # the peak is counted from now on
        on_disk: list[int] = []

        def watched() -> Iterator[bytes]:
            for i, block in enumerate(body(SIZE)):
                if i % 256 == 255:
                    on_disk.extend(path.stat().st_size for path in uploads(tmp_path))
                yield block

        answer = httpx2.post(url + PATH, content=watched(), headers=headers(SIZE), timeout=240)
        peak = memory_mib(pid, "VmHWM")
        assert answer.status_code == 400
        assert "longer than the limit of 36000 s" in answer.json()["error"]["message"]
        assert on_disk == sorted(on_disk)
        assert on_disk[-1] > SIZE / 2, "it was the disk that it went to"
        assert uploads(tmp_path) == []
        assert peak - idle < ALLOWED_MIB, (idle, peak)

        # Who has no key is refused before a MiB was sent.
        address = urlsplit(url)
        with socket.create_connection((address.hostname, address.port), timeout=60) as connection:
            head = "".join(f"{name}: {value}\r\n" for name, value in headers(SIZE, key=None).items())
            connection.sendall(
                f"POST {PATH} HTTP/1.1\r\nhost: {address.netloc}\r\n{head}\r\n".encode() + HEAD + bytes(MIB // 2)
            )
            assert connection.makefile("rb").readline().startswith(b"HTTP/1.1 401 ")
            assert uploads(tmp_path) == []
        assert process.stop() == 0
