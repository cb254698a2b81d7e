"""Forms, whole and field by field."""

import asyncio
import unicodedata
from collections.abc import Mapping
from contextlib import suppress
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.types import Message

from molva.errors import MolvaError, OptionError, UnsupportedOperation
from molva.http.filenames import CONTROLS, MAX_CHARACTERS, sent_name
from molva.http.jobs.form import parse_form
from molva.http.multipart import Form, UploadedFile, read_form
from molva.http.openai.form import TRANSLATION_FORMATS, parse_fields
from molva.models.catalog import CATALOG
from molva.models.choice import ALIASES, candidate, choose

MAX_FILE_BYTES = 1000
CANDIDATES = [candidate(CATALOG[name]) for name in ("gigaam-v3-e2e-rnnt", "whisper-base")]
LOOP = asyncio.new_event_loop()


def multipart(data: bytes) -> None:
    """A byte for how forgiving the door is, a line with the Content-Type, then the body: read in one piece and in
    single bytes, which must come to the same."""
    forgiving, (content_type, _, body) = data[:1] == b"f", data[1:].partition(b"\n")
    whole = _read(content_type, [body], forgiving=forgiving)
    assert _read(content_type, [bytes([byte]) for byte in body], forgiving=forgiving) == whole


def _read(content_type: bytes, chunks: list[bytes], *, forgiving: bool) -> Form | tuple[str, str | None]:
    messages: list[Message] = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    messages.append({"type": "http.request", "body": b"", "more_body": False})
    coming = iter(messages)

    async def receive() -> Message:
        return next(coming)

    request = Request({"type": "http", "headers": [(b"content-type", content_type)]}, receive)
    try:
        return LOOP.run_until_complete(
            read_form(request, None, max_file_bytes=MAX_FILE_BYTES, part="audio", forgiving=forgiving)
        )
    except MolvaError as error:
        # Its text may say where in a chunk the mistake is.
        return error.code, getattr(error, "option", None)


def file_names(data: bytes) -> None:
    """Parameters of a Content-Disposition, a line `name=value` for each."""
    lines = (line.partition("=") for line in data.decode("latin-1").split("\n"))
    name = sent_name({name.lower(): value for name, _, value in lines})
    if name is not None:
        assert "/" not in name
        assert "\\" not in name
        assert len(name) <= MAX_CHARACTERS
        assert CONTROLS.isdisjoint(map(unicodedata.category, name))


def openai_form(data: bytes) -> None:
    """A byte for the route, then fields, as a query has them."""
    translate = data[:1] == b"t"

    def choose_model(name: str | None, language: str | None) -> str:
        return choose(name, language, translate=translate, candidates=CANDIDATES, aliases=ALIASES)

    try:
        if translate:
            parse_fields(_fields(data[1:]), choose_model, formats=TRANSLATION_FORMATS)
        else:
            parse_fields(_fields(data[1:]), choose_model)
    except (OptionError, UnsupportedOperation):
        pass


def jobs_form(data: bytes) -> None:
    """A byte for the file, then fields, as a query has them."""
    files: Mapping[bytes, UploadedFile] = {b"f": UploadedFile("speech.wav", 10), b"e": UploadedFile("", 0)}
    with suppress(MolvaError):
        parse_form(Form(tuple(_fields(data[1:])), files.get(data[:1])))


def _fields(data: bytes) -> list[tuple[str, str]]:
    return parse_qsl(data.decode("utf-8", "replace"), keep_blank_values=True)
