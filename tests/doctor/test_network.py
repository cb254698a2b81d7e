"""Who holds the port, and who can reach it."""

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from molva.doctor.network import check_exposure, check_port


@contextmanager
def answering(body: bytes) -> Iterator[int]:
    """A server that answers everything with `body`; its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_free_port_stays_free() -> None:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    for _ in range(2):
        finding, serving = check_port("127.0.0.1", port)
        assert (finding.status, serving) == ("ok", False)
    assert check_port("127.0.0.1", 0)[0].status == "ok"


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"status":"ok"}'])
def test_another_program_on_the_port_is_a_problem(body: bytes) -> None:
    with answering(body) as port:
        finding, serving = check_port("127.0.0.1", port)
    assert (finding.status, serving) == ("problem", False)


def test_a_molva_on_the_port_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with answering(b'{"status":"ok","version":"9.9","model":"whisper-base","model_state":"ready"}') as port:
        finding, serving = check_port("0.0.0.0", port)
    assert (finding.status, serving) == ("ok", True)
    assert "9.9 with whisper-base" in finding.message


def test_an_address_of_another_machine_cannot_be_listened_on() -> None:
    assert check_port("192.0.2.1", 9876)[0].status == "problem"


def exposure(host: str = "127.0.0.1", *origins: str, any_origin: bool = False, keys: bool = False) -> list[str]:
    return [finding.status for finding in check_exposure(host, origins, any_origin=any_origin, asks_for_keys=keys)]


def test_an_open_server_without_keys_is_warned_of() -> None:
    assert exposure("127.0.0.1") == ["ok"]
    assert exposure("0.0.0.0", keys=True) == ["ok"]
    assert exposure("0.0.0.0") == ["warning"]
    assert exposure(any_origin=True) == ["ok", "warning"]
    assert exposure(any_origin=True, keys=True) == ["ok"]


@pytest.mark.parametrize(
    "origin", ["https://app.example/", "app.example", "https://app.example/page", "ftp://app.example", "*"]
)
def test_an_origin_that_no_browser_sends_is_warned_of(origin: str) -> None:
    assert exposure("127.0.0.1", origin) == ["ok", "warning"]


def test_origins_that_browsers_send_are_right_and_those_without_tls_are_not() -> None:
    assert exposure("127.0.0.1", "https://App.example:8443", "http://localhost:3000") == ["ok"]
    assert exposure("127.0.0.1", "http://app.example") == ["ok", "warning"]
