"""What a stream that outlasts the drain is told when the server stops."""

import json
import signal
from pathlib import Path

import httpx2
import numpy as np
import pytest

from tests.conftest import TINY, read_flac
from tests.e2e.conftest import molva_serve
from tests.http.conftest import wav


@pytest.mark.slow
def test_a_stream_that_the_server_does_not_wait_for_ends_with_an_error_and_without_done(
    tiny_dir: Path, tmp_path: Path
) -> None:
    recording = wav(np.tile(read_flac(TINY / "unseen" / "long.flac"), 20))
    flags = ("--port", "0", "--model", "gigaam-v3-rnnt", "--model-dir", tiny_dir, "--precision", "fp32")
    with molva_serve(*flags, "--shutdown-drain-secs", "1", home=tmp_path) as process:
        url = f"{process.url()}/v1/audio/transcriptions"
        files = {"file": ("long.wav", recording)}
        with httpx2.stream("POST", url, files=files, data={"stream": "true"}, timeout=60) as answer:
            lines = answer.iter_lines()
            told = [next(lines)]
            process.popen.send_signal(signal.SIGTERM)
            told += [line for line in lines if line.startswith("data: ")]
        assert process.popen.wait(20) == 0
    assert told[-1] != "data: [DONE]"
    assert json.loads(told[-1].removeprefix("data: ")) == {
        "type": "error",
        "error": {"message": "Server is shutting down", "type": "api_error", "param": None, "code": None},
    }
    assert not list((tmp_path / ".molva" / "spool").glob("uploads-*"))
    assert "Traceback" not in "".join(process.errors)
