"""A server that is told to stop in the middle of everything: nothing that was accepted is lost or done twice."""

import re
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest

from tests.e2e.conftest import molva_serve
from tests.e2e.jobs import SPEECH, door, flags, long_speech, taken_up, wait_for_log
from tests.listener import listening
from tests.outbound.receiver import until

HEAD = b'--b\r\ncontent-disposition: form-data; name="audio"; filename="speech.wav"\r\n\r\n'
TAIL = b"\r\n--b--\r\n"


@contextmanager
def half_an_upload(url: str, tail: bytes) -> Iterator[socket.socket]:
    """A submission of which so much is still to come."""
    host, port = urlsplit(url).hostname, urlsplit(url).port
    head = (
        f"POST /jobs HTTP/1.1\r\nhost: {host}\r\ncontent-type: multipart/form-data; boundary=b\r\n"
        f"content-length: {len(HEAD) + len(SPEECH) + len(tail)}\r\nconnection: close\r\n\r\n"
    )
    with socket.create_connection((host, port), 60) as stream:
        stream.sendall(head.encode() + HEAD + SPEECH)
        yield stream


def answer_on(stream: socket.socket) -> str:
    """Head and body, which is an object of JSON."""
    text = ""
    while not text.endswith("}"):
        received = stream.recv(65536)
        assert received, text
        text += received.decode()
    return text


class Asking:
    """Asks for one thing again and again, until nobody answers."""

    def __init__(self, url: str) -> None:
        self.statuses: set[int] = set()
        self._url = url
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                self.statuses.add(httpx2.get(self._url, timeout=30, trust_env=False).status_code)
            except httpx2.TransportError:
                return

    def join(self) -> set[int]:
        self._thread.join()
        return self.statuses


@pytest.mark.slow
def test_a_drain_ends_streams_and_uploads_and_the_next_start_finishes_the_jobs(tiny_dir: Path, tmp_path: Path) -> None:
    speech = long_speech()
    serve = flags(tiny_dir, "--shutdown-drain-secs", "3")
    with molva_serve(*serve, home=tmp_path) as process, door(process) as house:
        undisturbed = house.wait_for_job(house.accepted(speech))
        running, waiting = house.accepted(speech), house.accepted(speech)
        with (
            listening(f"{house.url}/jobs/{running}/stream") as job_events,
            listening(f"{house.url}/model/events") as model_events,
            half_an_upload(house.url, TAIL) as never_finished,
            half_an_upload(house.url, TAIL) as finished_in_time,
        ):
            house.wait_until_under_way(running)
            # What is still answered then is answered well.
            asking = [Asking(f"{house.url}{path}") for path in ("/jobs", f"/jobs/{running}", "/health")]
            until(lambda: all(one.statuses for one in asking))
            process.popen.send_signal(signal.SIGTERM)
            wait_for_log(process, "stopping")
            finished_in_time.sendall(TAIL)
            answer = answer_on(finished_in_time)
            for listener in (job_events, model_events):
                assert listener.ended.wait(30)
                assert listener.problems == []
            refusal = answer_on(never_finished)
            assert process.popen.wait(30) == 0
        assert refusal.startswith("HTTP/1.1 503")
        assert '"pool_closed"' in refusal
        assert [one.join() for one in asking] == [{200}] * 3
        assert answer.startswith("HTTP/1.1 202")
        late = re.findall(r'"job_id":"(\S+)"', answer)[0]
        assert job_events.names[-1] == "closing"
        assert "Traceback" not in "".join(process.errors)
    assert [path for path in (tmp_path / ".molva" / "spool").rglob("*") if path.name != ".lock"] == []
    assert {path.name for path in (tmp_path / ".molva" / "jobs").iterdir()} == {running, waiting, late}

    with molva_serve(*serve, home=tmp_path) as process, door(process) as house:
        for job_id in (running, waiting):
            assert house.wait_for_job(job_id)["segments"] == undisturbed["segments"]
        assert house.wait_for_job(late)["status"] == "done"
        assert taken_up(process) == [running, waiting, late]
        assert f"{running} is taken up at window 0" not in "".join(process.errors)
        assert list((tmp_path / ".molva" / "jobs").iterdir()) == []
