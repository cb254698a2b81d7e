"""What a stream that outlasts the drain is told when the server stops."""

import json
import signal
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest

from tests.conftest import TINY, read_flac
from tests.e2e.conftest import molva_serve
from tests.http.conftest import wav

RECORDING = wav(np.tile(read_flac(TINY / "unseen" / "long.flac"), 20))
"""Most of an hour: far more than the drain lasts."""

LIMITS = ("--shutdown-drain-secs", "1", "--body-limit-bytes", "200000000")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "body", "end"),
    [
        (
            "/v1/audio/transcriptions",
            {"files": {"file": ("long.wav", RECORDING)}, "data": {"stream": "true"}},
            {
                "type": "error",
                "error": {"message": "Server is shutting down", "type": "api_error", "param": None, "code": None},
            },
        ),
        (
            "/v1/transcribe/stream",
            {"content": RECORDING},
            {"type": "error", "message": "Server is shutting down", "code": "pool_closed"},
        ),
    ],
)
def test_a_stream_that_the_server_does_not_wait_for_ends_with_an_error(
    tiny_dir: Path, tmp_path: Path, path: str, body: dict[str, Any], end: dict[str, Any]
) -> None:
    flags = ("--port", "0", "--model", "gigaam-v3-rnnt", "--model-dir", tiny_dir, "--precision", "fp32")
    with molva_serve(*flags, *LIMITS, home=tmp_path) as process:
        with httpx2.stream("POST", f"{process.url()}{path}", timeout=60, **body) as answer:
            lines = answer.iter_lines()
            told = [next(lines)]
            process.popen.send_signal(signal.SIGTERM)
            told += [line for line in lines if line.startswith("data: ")]
        assert process.popen.wait(20) == 0
    assert "data: [DONE]" not in told
    assert json.loads(told[-1].removeprefix("data: ")) == end
    assert not list((tmp_path / ".molva" / "spool").glob("uploads-*"))
    assert "Traceback" not in "".join(process.errors)
