"""Recordings that the real server fetches: from the hosts that it may ask, and nothing else."""

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.conftest import molva_serve
from tests.e2e.jobs import LOOPBACK, SPEECH, Door, door, flags
from tests.outbound.receiver import Receiver, answer, receiver

LIMIT = 1_000_000


def files(stream: socket.socket, site: Receiver) -> None:
    """What is at each path."""
    elsewhere = f"http://localhost:{site.port}/speech.wav"
    pages = {
        "/speech.wav": answer(body=SPEECH),
        "/moved": answer(302, Location="/speech.wav"),
        "/away": answer(302, Location=elsewhere),
        "/large": answer(Content_Length=str(LIMIT + 1)),
        "/endless": answer(body=bytes(2 * LIMIT)),
        "/page": answer(body=b"<html>"),
        "/empty": answer(body=b""),
    }
    pages.get(site.heard[-1].line.split()[1], answer(404))(stream, site)


@dataclass
class House(Door):
    site: Receiver

    def at(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.site.port}{path}"


@pytest.fixture(scope="module")
def house(tiny_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    fetching = ("--job-url-host", "127.0.0.1", "--job-url-limit-bytes", str(LIMIT))
    with (
        receiver(files) as site,
        molva_serve(*flags(tiny_dir, *LOOPBACK, *fetching), home=tmp_path_factory.mktemp("url")) as process,
        door(process) as found,
    ):
        yield House(found.url, found.client, site)


@pytest.mark.parametrize("path", ["/speech.wav", "/moved"])
def test_a_recording_at_an_allowed_host_is_transcribed(house: House, path: str) -> None:
    uploaded = house.wait_for_job(house.accepted())
    fetched = house.wait_for_job(house.accepted(None, audio_url=house.at(path)))
    assert fetched["status"] == "done"
    assert fetched["segments"] == uploaded["segments"]


@pytest.mark.parametrize(
    ("path", "host", "status", "code"),
    [
        ("/speech.wav", "localhost", 400, "address_refused"),
        ("/away", "127.0.0.1", 400, "address_refused"),
        ("/large", "127.0.0.1", 413, "payload_too_large"),
        ("/endless", "127.0.0.1", 413, "payload_too_large"),
        ("/empty", "127.0.0.1", 400, "empty_body"),
        ("/nothing", "127.0.0.1", 400, "fetch_failed"),
    ],
)
def test_what_cannot_or_may_not_be_had_is_told_and_is_no_job(
    house: House, path: str, host: str, status: int, code: str
) -> None:
    before = house.get("/jobs")
    refusal = house.submit(None, audio_url=house.at(path, host))
    assert (refusal.status_code, refusal.json()["code"]) == (status, code)
    assert house.get("/jobs") == before


def test_what_is_not_audio_is_a_job_that_fails(house: House) -> None:
    job = house.wait_for_job(house.accepted(None, audio_url=house.at("/page")))
    assert job["status"] == "failed"
    assert job["error"]
