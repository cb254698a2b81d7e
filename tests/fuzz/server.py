"""Requests to the whole application."""

import asyncio
from urllib.parse import unquote

from starlette.types import Message

from tests.fuzz.app import APPLICATION

METHODS = ("GET", "POST", "DELETE", "OPTIONS", "HEAD", "PUT")


def requests(data: bytes) -> None:
    """`METHOD path?query`, a line for each header, an empty line, the body: as HTTP has it, with bare line feeds."""
    head, _, body = data.partition(b"\n\n")
    first, *lines = head.split(b"\n")
    method, _, target = first.decode("latin-1").partition(" ")
    path, _, query = target.partition("?")
    if method not in METHODS or not path.startswith("/"):
        return  # h11 and uvicorn refuse what is no request; see `framing`
    headers = [(name.strip().lower(), value.strip()) for name, _, value in (line.partition(b":") for line in lines)]
    left: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if left:
            return left.pop()
        await asyncio.sleep(0.01 if "events" in path or "stream" in path else 10)  # streams may have no end
        return {"type": "http.disconnect"}

    sent = APPLICATION.ask(
        {
            "type": "http",
            "http_version": "1.1",
            "scheme": "http",
            "method": method,
            "path": unquote(path),
            "raw_path": path.encode("latin-1"),
            "query_string": query.encode("latin-1"),
            "root_path": "",
            "headers": headers,
            "client": ("127.0.0.1", 50_000),
            "server": ("127.0.0.1", 9876),
        },
        receive,
    )
    statuses = [message["status"] for message in sent if message["type"] == "http.response.start"]
    assert len(statuses) <= 1, statuses
    assert statuses != [500], sent
