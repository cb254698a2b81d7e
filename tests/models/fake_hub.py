"""A hub on this machine that answers as Hugging Face does, and misbehaves where a test asks for it."""

import hashlib
import re
import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "c0ffee" + "0" * 34


@dataclass(frozen=True)
class Manners:
    """How one request is answered; the defaults are good manners."""

    status: int | None = None
    """Answered by the hub instead of the file."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Added to the hub's answer, over its own; an empty value takes a header away."""
    location: str | None = None
    """Where the hub redirects to."""
    body: bytes | None = None
    """Sent as the whole file instead of its content."""
    etag: str | None = None
    """Of the answer with the bytes, unquoted."""
    break_after: int | None = None
    """Bytes of the body before the connection closes."""
    stall_after: int | None = None
    """Bytes of the body before nothing more comes."""
    ignore_range: bool = False
    content_range: str | None = None
    chunked: bool = False
    """No Content-Length."""
    drip_s: float = 0.0
    """Pause after each byte of the body."""
    delay_s: float = 0.0


@dataclass(frozen=True)
class Seen:
    """One request, as it reached the server."""

    host: str
    path: str
    headers: Mapping[str, str]


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that has heard enough is nothing to report."""


class FakeHub:
    """Files in LFS are redirected to another host name of the same server, the others are sent directly."""

    def __init__(self) -> None:
        self.requests: list[Seen] = []
        self._files: dict[str, tuple[bytes, bool]] = {}
        self._manners: defaultdict[str, list[Manners]] = defaultdict(list)
        self._current: dict[str, Manners] = {}
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                hub._answer(self)

            def log_message(self, *_args: object) -> None:
                pass

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        self.port: int = self._server.server_address[1]
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.other_host = f"http://localhost:{self.port}"

    def close(self) -> None:
        self._stopped.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def put(self, name: str, content: bytes, *, lfs: bool = True) -> None:
        self._files[name] = (content, lfs)

    def script(self, name: str, *manners: Manners) -> None:
        """The next requests for `name` are answered so, one after the other; then with good manners again."""
        self._manners[name] += manners

    def asked(self, name: str, *, at_hub: bool = True) -> list[Seen]:
        """The requests for `name` so far: those that reached the hub, or those that reached its store of bytes."""
        return [
            seen for seen in self.requests if seen.path.endswith("/" + name) and ("/resolve/" in seen.path) == at_hub
        ]

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        self.requests.append(Seen(request.headers["Host"], request.path, dict(request.headers)))
        name = request.path.rsplit("/", 1)[-1]
        content, lfs = self._files.get(name, (None, False))
        if "/resolve/" in request.path:
            self._current[name] = self._manners[name].pop(0) if self._manners[name] else Manners()
        manners = self._current.get(name, Manners())
        time.sleep(manners.delay_s)
        hub_headers = {"X-Repo-Commit": COMMIT}
        if "/resolve/" in request.path and content is not None:
            if lfs:
                digest = hashlib.sha256(content).hexdigest()
                hub_headers |= {"X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(len(content))}
            else:
                git_sha1 = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
                hub_headers |= {"ETag": f'"{git_sha1}"'}
            hub_headers |= manners.headers
            if manners.status is not None:
                _send(request, manners.status, hub_headers | {"Content-Length": "0"})
                return
            location = manners.location or (f"{self.other_host}/bytes/{name}" if lfs else None)
            if location:
                _send(request, 302, hub_headers | {"Location": location, "Content-Length": "0"})
                return
        elif content is None:
            _send(request, manners.status or 404, {"Content-Length": "0", **manners.headers})
            return
        else:
            hub_headers = {"ETag": f'"{hashlib.md5(content).hexdigest()}"'}
        self._send_bytes(request, content, hub_headers, manners)

    def _send_bytes(
        self, request: BaseHTTPRequestHandler, content: bytes, headers: dict[str, str], manners: Manners
    ) -> None:
        whole = content if manners.body is None else manners.body
        if manners.etag is not None:
            headers = headers | {"ETag": f'"{manners.etag}"'}
        asked = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
        start, status = 0, 200
        if asked and not manners.ignore_range:
            start, status = int(asked[1]), 206
            if start >= len(whole):
                _send(
                    request,
                    416,
                    headers | {"Content-Range": f"bytes */{len(whole)}", "Content-Length": "9"},
                    b"too much!",
                )
                return
            span = manners.content_range or f"bytes {start}-{len(whole) - 1}/{len(whole)}"
            headers = headers | {"Content-Range": span}
        body = whole[start:]
        length = {"Transfer-Encoding": "chunked"} if manners.chunked else {"Content-Length": str(len(body))}
        stop = next((stop for stop in (manners.break_after, manners.stall_after) if stop is not None), None)
        sent = body if stop is None else body[:stop]
        if manners.chunked:
            sent = b"%x\r\n%s\r\n" % (len(sent), sent) + (b"0\r\n\r\n" if stop is None else b"")
        if manners.drip_s:
            _send(request, status, length | headers)
            self._drip(request, sent, manners.drip_s)
        else:
            _send(request, status, length | headers, sent)
        if manners.stall_after is not None:
            self._stopped.wait()
        if stop is not None:
            request.close_connection = True

    def _drip(self, request: BaseHTTPRequestHandler, body: bytes, pause_s: float) -> None:
        try:
            for at in range(len(body)):
                request.wfile.write(body[at : at + 1])
                if self._stopped.wait(pause_s):
                    break
        except ConnectionError:  # the client has heard enough
            pass
        request.close_connection = True


def _send(request: BaseHTTPRequestHandler, status: int, headers: Mapping[str, str], body: bytes = b"") -> None:
    request.send_response(status)
    for key, value in headers.items():
        if value:
            request.send_header(key, value)
    try:
        request.end_headers()
        request.wfile.write(body)
        request.wfile.flush()
    except ConnectionError:  # the client has heard enough
        request.close_connection = True
