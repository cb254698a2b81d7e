"""Forms with a file: what is read, what is refused, and what it costs."""

import asyncio
import hashlib
import itertools
import json
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from molva.errors import MolvaError, OptionError, SpoolFull
from molva.http.bodies import BodyLimit
from molva.http.dialects import respond
from molva.http.multipart import BLOCK, MAX_FIELDS, REFERENCES, Form, UploadedFile, read_form, spooled
from molva.http.openai.form import require_file
from molva.http.state import Limits
from molva.server import Uvicorn
from molva.spool import Spool, SpoolFile

MIB = 2**20
PATH = "/v1/audio/transcriptions"
BOUNDARY = b"bound"
FORM_TYPE = "multipart/form-data; boundary=bound"


# A form by hand, as RFC 7578 has it.


def part(disposition: str, content: bytes, *headers: str) -> bytes:
    lines = [f"Content-Disposition: form-data; {disposition}", *headers, "", ""]
    return "\r\n".join(lines).encode() + content


def form(*parts: bytes) -> bytes:
    return b"".join(b"--bound\r\n" + each + b"\r\n" for each in parts) + b"--bound--\r\n"


def text(name: str, value: str) -> bytes:
    return part(f'name="{name}"', value.encode())


def upload(content: bytes = b"sound", file_name: str = "speech.ogg") -> bytes:
    return part(f'name="file"; filename="{file_name}"', content, "Content-Type: audio/ogg")


# A form read without a socket.


@pytest.fixture(scope="module")
def spool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spool]:
    spool = Spool(tmp_path_factory.mktemp("spool"))
    yield spool
    spool.close()


def pieces(body: bytes, sizes: Iterable[int]) -> list[bytes]:
    """`body` in pieces of these sizes, over and over."""
    found: list[bytes] = []
    position = 0
    for size in itertools.cycle(sizes):
        if position >= len(body):
            return found
        found.append(body[position : position + size])
        position += size
    raise AssertionError


def read(spool: Spool, chunks: list[bytes], content_type: str = FORM_TYPE) -> tuple[Form, bytes]:
    """What `read_form` makes of a body that comes in these chunks."""
    messages: list[dict[str, Any]] = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    waiting = iter([*messages, {"type": "http.request"}])

    async def receive() -> dict[str, Any]:
        return next(waiting)

    async def run() -> tuple[Form, bytes]:
        request = Request({"type": "http", "headers": [(b"content-type", content_type.encode("latin-1"))]}, receive)
        async with spooled(spool) as file:
            return await read_form(request, file, max_file_bytes=10 * MIB), file.path.read_bytes()

    return asyncio.run(run())


def outcome(spool: Spool, chunks: list[bytes]) -> tuple[Form, bytes] | tuple[type[MolvaError], str]:
    try:
        return read(spool, chunks)
    except OptionError as error:
        return OptionError, error.option


NEARLY = [
    b"\r",
    b"\n",
    b"\r\n",
    b"-",
    b"--",
    b"\r\n--",
    b"\r\n--b",
    b"\r\n--boun",
    b"\r\n--bounD",
    b"--bound",
    b"bound--",
]
CONTENT = (
    st.lists(st.binary(max_size=20) | st.sampled_from(NEARLY), min_size=1, max_size=12)
    .map(b"".join)
    .filter(lambda content: content and b"\r\n--bound" not in content)
)
NAMES = st.sampled_from(["model", "language", "timestamp_granularities[]", REFERENCES, "prompt"])
VALUES = st.text(max_size=30).filter(lambda value: "\r\n--bound" not in value)
SIZES = st.just([1]) | st.lists(st.integers(1, 40), min_size=1, max_size=8) | st.just([10_000])


@given(
    before=st.lists(st.tuples(NAMES, VALUES), max_size=4),
    content=CONTENT,
    after=st.lists(st.tuples(NAMES, VALUES), max_size=3),
    sizes=SIZES,
)
def test_however_a_form_is_cut_the_same_is_read(
    spool: Spool, before: list[tuple[str, str]], content: bytes, after: list[tuple[str, str]], sizes: list[int]
) -> None:
    body = form(*(text(*field) for field in before), upload(content), *(text(*field) for field in after))
    expected = Form((*before, *after), UploadedFile("speech.ogg", len(content)))
    assert read(spool, pieces(body, sizes)) == (expected, content)


@given(
    content=CONTENT,
    cut=st.tuples(st.integers(0, 400), st.integers(0, 30)),
    put=st.binary(max_size=12)
    | st.sampled_from([*NEARLY, b"\r\n--bound\r\n", b"\r\n--bound--", b"\r\n\r\n", b'"', b";"]),
    sizes=SIZES,
)
def test_a_damaged_form_is_refused_plainly_or_read_and_the_same_however_it_is_cut(
    spool: Spool, content: bytes, cut: tuple[int, int], put: bytes, sizes: list[int]
) -> None:
    body = form(text("model", "whisper-1"), upload(content), text("prompt", "Имя"))
    start = cut[0] % len(body)
    damaged = body[:start] + put + body[start + cut[1] :]
    assert outcome(spool, pieces(damaged, sizes)) == outcome(spool, [damaged])


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_only_line_ends_may_stand_before_a_form(spool: Spool, size: int) -> None:
    for preamble, taken in ((b"\r\n\r\n", True), (b"\n", True), (b"\r\nhello\r\n", False), (b"hello\r\n", False)):
        found = outcome(spool, pieces(preamble + form(text("model", "a")), [size]))
        assert (found[0] is not OptionError) is taken, preamble


@given(st.binary(max_size=200))
def test_no_bytes_at_all_make_anything_but_a_plain_refusal(spool: Spool, body: bytes) -> None:
    assert outcome(spool, [b"--bound\r\n" + body]) == (OptionError, "file")


@given(content_type=st.text(st.characters(max_codepoint=255), max_size=40))
@example(content_type="")
@example(content_type="boundary=x")
@example(content_type="boundary=" + "x" * 300)
def test_any_content_type_is_taken_or_refused_plainly(spool: Spool, content_type: str) -> None:
    with pytest.raises(OptionError):
        read(spool, [b"--\r\n"], "multipart/form-data;" + content_type)


@pytest.mark.parametrize(
    "content_type",
    [
        'Multipart/Form-Data; charset=utf-8; Boundary="bound"',
        "multipart/form-data;boundary=bound;",
        "multipart/form-data ; boundary = bound ",
    ],
)
def test_spellings_of_the_content_type(spool: Spool, content_type: str) -> None:
    assert read(spool, [form(upload())], content_type)[1] == b"sound"


@pytest.mark.parametrize(
    "body",
    [
        form(upload()).removesuffix(b"\r\n"),
        b"\r\n" + form(upload()),
        b"\r\n\r\n" + form(upload()),
        form(upload()) + b"\r\n--bound\r\nanything: at all\r\n--bound--",
        form(upload()).replace(b"--bound\r\n", b"--bound  \t\r\n"),
        form(upload()).replace(b"Content-Disposition: ", b"CONTENT-disposition:"),
    ],
    ids=["no last CRLF", "CRLF first", "more CRLF first", "epilogue", "padded boundary", "header spelling"],
)
@pytest.mark.parametrize("size", [1, 1000])
def test_variations_that_are_allowed(spool: Spool, body: bytes, size: int) -> None:
    # A boundary may be padded between parts; before the first part the parser takes none, and nobody sends it.
    body = body.replace(b"--bound  \t\r\n", b"--bound\r\n", 1)
    assert read(spool, pieces(body, [size])) == (Form((), UploadedFile("speech.ogg", 5)), b"sound")


FILE_NAMES = {
    'filename="a.WAV"': "a.WAV",
    "filename=a.wav": "a.wav",
    'filename="C:\\music\\a.flac"': "a.flac",
    'filename="../../etc/passwd"': "passwd",
    'filename="a.ogg/../x"': "x",
    'filename="/"': "",
    'filename=""': "",
    'filename="quoted \\"; name=\\"x.mp3"': 'quoted "; name="x.mp3',
    'filename="semi;colon.m4a"': "semi;colon.m4a",
    'filename="речь.ogg"': "речь.ogg",
    'filename="a\tb\x1b[2J\u2028.ogg"': "ab[2J.ogg",
    f'filename="{"я" * 300}"': "я" * 255,
    "filename*=utf-8''%D1%80%D0%B5%D1%87%D1%8C.ogg": "речь.ogg",
    "filename*=\"utf-8'ru'%D1%80.ogg\"": "р.ogg",
    "filename*=ISO-8859-1''m%FCsik.ogg": "müsik.ogg",
    "filename*=base64''a.ogg": "a.ogg",
    "filename*=utf-8''%FF%00.ogg": "\ufffd.ogg",
    "filename*=utf-8''..%2F..%5Cetc%2Fpasswd": "passwd",
    "filename*=plain%20name.ogg": "plain name.ogg",
    "filename=\"a.mp3\"; filename*=UTF-8''%D1%80.mp3": "р.mp3",
    "filename*0*=utf-8''%D1%80; filename*1=%41.opus": "р%41.opus",
    "filename*2=c; filename*0=a; filename*1=b": "abc",
    "filename*0*=utf-8''%D1; filename*1*=%80.ogg": "р.ogg",
}


@pytest.mark.parametrize("parameter", FILE_NAMES)
@pytest.mark.parametrize("order", ['name="file"; {}', "{}; name=file"])
def test_file_names_are_read_as_clients_write_them(spool: Spool, parameter: str, order: str) -> None:
    body = form(part(order.format(parameter), b"sound"))
    assert read(spool, [body])[0].file == UploadedFile(FILE_NAMES[parameter], 5)


@given(stem=st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=40))
def test_file_names_are_read_as_the_standard_library_writes_them(spool: Spool, stem: str) -> None:
    for name in (f"{stem}.webm", ("utf-8", "", f"{stem}.webm")):
        message = Message()
        message.add_header("x", "form-data", name="file", filename=name)
        header = str(message["x"]).removeprefix("form-data; ")
        expected = f"{stem}.webm".replace("\\", "/").rpartition("/")[2]
        assert read(spool, [form(part(header, b"sound"))])[0].file == UploadedFile(expected, 5)


def test_a_latin_1_file_name_is_no_obstacle(spool: Spool) -> None:
    body = form(upload(file_name="müsik.ogg")).replace("ü".encode(), b"\xfc")
    assert read(spool, [body])[0].file == UploadedFile("müsik.ogg", 5)


def test_a_file_may_be_as_long_as_the_limit_and_several_blocks(spool: Spool) -> None:
    content = bytes(range(256)) * (10 * MIB // 256)
    fields, found = read(spool, pieces(form(upload(content)), [300_007]))
    assert found == content
    assert fields.file == UploadedFile("speech.ogg", len(content))


# A door that is forgiving.


def read_forgiving(spool: Spool, body: bytes, *, keep: bool = True) -> tuple[Form, bytes]:
    """What the door of another part makes of a form."""
    messages: list[dict[str, Any]] = [{"type": "http.request", "body": body, "more_body": True}]
    waiting = iter([*messages, {"type": "http.request"}])

    async def receive() -> dict[str, Any]:
        return next(waiting)

    async def run() -> tuple[Form, bytes]:
        request = Request({"type": "http", "headers": [(b"content-type", FORM_TYPE.encode())]}, receive)
        async with spooled(spool) as file:
            kept = file if keep else None
            form = await read_form(request, kept, max_file_bytes=None, part="audio", forgiving=True)
            return form, file.path.read_bytes()

    return asyncio.run(run())


def test_the_file_may_have_another_part_and_no_name(spool: Spool) -> None:
    body = form(text("audio", "sound"), text("model", "m"))
    assert read_forgiving(spool, body) == (Form((("model", "m"),), UploadedFile("", 5)), b"sound")


def test_files_in_other_parts_are_dropped(spool: Spool) -> None:
    body = form(upload(b"x" * 3 * BLOCK), part('name="audio"; filename="a.ogg"', b"sound"), upload(b"y"))
    assert read_forgiving(spool, body) == (Form((), UploadedFile("a.ogg", 5)), b"sound")


def test_a_missing_and_an_empty_file_are_told_apart(spool: Spool) -> None:
    assert read_forgiving(spool, form(text("model", "m")))[0].file is None
    assert read_forgiving(spool, form(part('name="audio"; filename="a"', b"")))[0].file == UploadedFile("a", 0)


def test_what_is_wrong_is_told_of_the_doors_own_part(spool: Spool) -> None:
    with pytest.raises(OptionError) as told:
        read_forgiving(spool, form(text("audio", "1"), text("audio", "2")))
    assert told.value.option == "audio"
    with pytest.raises(OptionError) as told:
        read_forgiving(spool, b"")
    assert told.value.option == "audio"


def test_a_file_that_nobody_keeps_is_still_counted(spool: Spool) -> None:
    body = form(text("audio", "sound" * BLOCK), text("model", "m"))
    assert read_forgiving(spool, body, keep=False) == (Form((("model", "m"),), UploadedFile("", 5 * BLOCK)), b"")


# What is refused, over a socket.


@dataclass
class Served:
    """A server with one route that reads forms; the biggest file it takes is 2 MiB."""

    client: httpx2.Client
    port: int
    spool: Spool
    heard: threading.Event
    """The handler has ended."""
    error: list[Exception]
    """How it ended, where it failed."""

    def post(self, body: bytes | Iterable[bytes], content_type: str | None = FORM_TYPE) -> httpx2.Response:
        headers = {} if content_type is None else {"content-type": content_type}
        return self.client.post(PATH, content=body, headers=headers)

    def refusal(self, body: bytes, content_type: str | None = FORM_TYPE) -> tuple[str | None, str]:
        """`param` and message of a 400."""
        answer = self.post(body, content_type)
        assert answer.status_code == 400, answer.text
        error = answer.json()["error"]
        return error["param"], error["message"]

    def spooled_files(self) -> list[str]:
        return [path.name for path in self.spool.folder.iterdir() if path.name != ".lock"]

    @contextmanager
    def connection(self) -> Iterator[socket.socket]:
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
            yield connection


def application(
    spool: Spool, max_file_bytes: int, *, ended: Callable[[Exception | None], None] = lambda _: None
) -> Starlette:
    async def transcriptions(request: Request) -> Response:
        failure: Exception | None = None
        try:
            async with spooled(spool) as file:
                form = await read_form(request, file, max_file_bytes=max_file_bytes)
                require_file(form)
                assert form.file is not None
                with file.path.open("rb") as content:
                    sha256 = await asyncio.to_thread(hashlib.file_digest, content, "sha256")
            return JSONResponse({"fields": form.fields, "size": form.file.size, "sha256": sha256.hexdigest()})
        except Exception as error:
            failure = error
            raise
        finally:
            ended(failure)

    def memory(_request: Request) -> Response:
        status = Path("/proc/self/status").read_text()
        return JSONResponse({name: int(kib) for name, kib in re.findall(r"(Vm\w+):\s+(\d+) kB", status)})

    async def on_error(request: Request, error: Exception) -> Response:
        return respond(request.url.path, error)

    return Starlette(
        routes=[Route(PATH, transcriptions, methods=["POST"]), Route("/memory", memory)],
        exception_handlers={MolvaError: on_error, ClientDisconnect: on_error},
    )


@contextmanager
def serving(app: Any) -> Iterator[int]:
    """The port of a server in a thread."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    server = Uvicorn(app, ws_frame_max_bytes=1024, drain_s=5)
    thread = threading.Thread(target=asyncio.run, args=(server.serve(sockets=[listener]),))
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(15)
    assert not thread.is_alive()


@pytest.fixture
def served(spool: Spool) -> Iterator[Served]:
    heard, errors = threading.Event(), []

    def ended(error: Exception | None) -> None:
        errors.extend([error] if error else [])
        heard.set()

    # The limit of other routes is far below what is sent here.
    app = BodyLimit(
        application(spool, 2 * MIB, ended=ended),
        lambda: Limits(body_bytes=100, max_audio_s=1, inference_timeout_s=None),
    )
    with serving(app) as port, httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        yield Served(client, port, spool, heard, errors)
    assert [path for path in spool.folder.iterdir() if path.name != ".lock"] == []


def test_a_form_as_a_client_library_writes_it(served: Served) -> None:
    content = bytes(range(256)) * 5000
    answer = served.client.post(
        PATH,
        data={"model": "whisper-1", "timestamp_granularities[]": ["word", "segment"], "prompt": "Ёж\r\n"},
        files={"file": ("речь.ogg", content)},
    )
    assert answer.json() == {
        "fields": [
            ["model", "whisper-1"],
            ["timestamp_granularities[]", "word"],
            ["timestamp_granularities[]", "segment"],
            ["prompt", "Ёж\r\n"],
        ],
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def test_a_chunked_body_needs_no_length(served: Served) -> None:
    body = form(text("model", "m"), upload(b"x" * MIB))
    assert served.post(iter(pieces(body, [70_001]))).json()["size"] == MIB


BAD_FORMS = {
    "no file": (form(text("model", "m")), "file", "no file"),
    "no parts": (b"--bound--\r\n", "file", "no file"),
    "no body": (b"", "file", "cut short"),
    "empty file": (form(upload(b"")), "file", "empty"),
    "two files": (form(upload(), upload()), "file", "more than one"),
    "a file elsewhere": (form(part('name="audio"; filename="a.ogg"', b"x")), "audio", "part 'file' only"),
    "file as text": (form(text("file", "speech.ogg")), "file", "no file name"),
    "cut in a part": (form(upload())[:-12], "file", "cut short"),
    "cut in a header": (form(upload())[:30], "file", "cut short"),
    "other boundary": (form(upload()).replace(b"bound", b"other"), "file", "malformed"),
    "bare line feeds": (form(upload()).replace(b"\r\n", b"\n"), "file", "malformed"),
    "no disposition": (form(b"Content-Type: audio/ogg\r\n\r\nx"), "file", "Content-Disposition"),
    "no name": (form(part('filename="a.ogg"', b"x")), "file", "Content-Disposition"),
    "attachment": (form(upload()).replace(b"form-data", b"attachment"), "file", "Content-Disposition"),
    "not UTF-8": (form(part('name="prompt"', b"\xff"), upload()), "prompt", "not UTF-8"),
    "base64": (
        form(part('name="prompt"', b"eA==", "Content-Transfer-Encoding: base64"), upload()),
        "prompt",
        "Content-Transfer-Encoding 'base64'",
    ),
    "long field": (form(text("prompt", "x" * (64 * 1024 + 1)), upload()), "prompt", "longer than 64 KiB"),
    "much text": (form(*[text(f"f{i}", "x" * 60_000) for i in range(5)], upload()), "f4", "in all"),
    "many fields": (form(*[text(f"f{i}", "") for i in range(MAX_FIELDS + 1)], upload()), "f64", "more than 64 fields"),
    "long reference": (form(text(REFERENCES, "x" * (3 * MIB + 1)), upload()), REFERENCES, "longer than 3072 KiB"),
    "many references": (form(*[text(REFERENCES, "x" * 3 * MIB)] * 5, upload()), REFERENCES, "in all"),
    "long header": (form(upload(file_name="x" * 4100)), "file", "header size"),
    "many headers": (form(part('name="a"', b"", *[f"x-{i}: y" for i in range(8)])), "file", "header count"),
    "long name": (form(part(f'name="{"n" * 500}"; filename="a"', b"x")), "n" * 64, "part 'file' only"),
}


@pytest.mark.parametrize("case", BAD_FORMS)
def test_a_bad_form_is_refused_and_the_field_is_named(served: Served, case: str) -> None:
    body, param, message = BAD_FORMS[case]
    named, told = served.refusal(body)
    assert named == param
    assert message in told


def test_limits_are_what_is_still_taken(served: Served) -> None:
    names = [f"f{i}" for i in range(MAX_FIELDS - 5)]
    body = form(
        *[text(REFERENCES, "x" * MIB)] * 4,
        text("prompt", "x" * 64 * 1024),
        *(text(name, "x" * 3000) for name in names),
        upload(b"x" * 2 * MIB),
    )
    answer = served.post(body).json()
    assert (len(answer["fields"]), answer["size"]) == (MAX_FIELDS, 2 * MIB)


@pytest.mark.parametrize("encoding", ["binary", "8bit", "7BIT"])
def test_encodings_that_encode_nothing_are_taken(served: Served, encoding: str) -> None:
    body = form(part('name="file"; filename="a"', b"sound", f"Content-Transfer-Encoding: {encoding}"))
    assert served.post(body).json()["size"] == 5


@pytest.mark.parametrize(
    ("content_type", "message"),
    [
        (None, "multipart/form-data"),
        ("application/json", "multipart/form-data"),
        ("audio/ogg; boundary=bound", "multipart/form-data"),
        ("multipart/mixed; boundary=bound", "multipart/form-data"),
        ("multipart/form-data", "boundary"),
        ('multipart/form-data; boundary=""', "boundary"),
        ("multipart/form-data; boundary=" + "x" * 300, "oundary"),
    ],
)
def test_a_wrong_content_type_is_refused(served: Served, content_type: str | None, message: str) -> None:
    param, told = served.refusal(form(upload()), content_type)
    assert param == "file"
    assert message in told


def head(*lines: str) -> bytes:
    return "\r\n".join([f"POST {PATH} HTTP/1.1", "Host: x", *lines, "", ""]).encode()


def answer_on(connection: socket.socket) -> tuple[bytes, dict[str, Any]]:
    """All status lines, and the body of the last answer."""
    received = b""
    while not (found := re.search(rb"content-length: (\d+)\r\n(.*?)\r\n\r\n", received, re.DOTALL)) or len(
        received
    ) < found.end() + int(found[1]):
        more = connection.recv(65536)
        assert more, received
        received += more
    return b" ".join(re.findall(rb"HTTP/1.1 (\d+)", received)), json.loads(received[found.end() :])


@pytest.mark.parametrize(
    ("lines", "status", "param"),
    [
        ((f"Content-Type: {FORM_TYPE}", f"Content-Length: {19 * MIB}"), b"413", "file"),
        ((f"Content-Type: {FORM_TYPE}", f"Content-Length: {10**18}"), b"413", "file"),
        (("Content-Type: audio/ogg", "Content-Length: 1000"), b"400", "file"),
        (("Content-Type: multipart/form-data", "Content-Length: 1000"), b"400", "file"),
    ],
)
@pytest.mark.parametrize("expect", [(), ("Expect: 100-continue",)])
def test_what_the_headers_tell_is_refused_before_the_body_is_asked_for(
    served: Served, lines: tuple[str, ...], status: bytes, param: str, expect: tuple[str, ...]
) -> None:
    with served.connection() as connection:
        connection.sendall(head(*lines, *expect))
        statuses, answer = answer_on(connection)
    assert (statuses, answer["error"]["param"]) == (status, param)


def test_a_client_that_waits_for_100_continue_gets_it(served: Served) -> None:
    body = form(upload())
    with served.connection() as connection:
        connection.sendall(head(f"Content-Type: {FORM_TYPE}", f"Content-Length: {len(body)}", "Expect: 100-continue"))
        assert connection.recv(65536).startswith(b"HTTP/1.1 100 ")
        connection.sendall(body)
        statuses, answer = answer_on(connection)
    assert (statuses, answer["size"]) == (b"200", 5)


@pytest.mark.parametrize("chunked", [True, False])
def test_a_file_over_the_limit_is_refused_by_count(served: Served, chunked: bool) -> None:
    body = form(upload(b"x" * (2 * MIB + 1)))
    answer = served.post(iter(pieces(body, [100_000])) if chunked else body)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["message"]) == (413, "file", "The upload is larger than 2 MiB.")
    assert served.spooled_files() == []
    assert served.post(form(upload())).status_code == 200


def test_a_body_without_end_is_refused_by_count(served: Served) -> None:
    endless = form(upload()) + b"\r\n" * 10 * MIB
    assert served.post(iter(pieces(endless, [200_000]))).status_code == 413


def test_a_client_that_goes_away_leaves_nothing(served: Served) -> None:
    body = form(upload(b"x" * MIB))
    with served.connection() as connection:
        connection.sendall(head(f"Content-Type: {FORM_TYPE}", f"Content-Length: {len(body)}") + body[: MIB // 2])
    assert served.heard.wait(20)
    assert isinstance(served.error[0], ClientDisconnect)
    assert served.spooled_files() == []


def test_an_upload_that_is_cancelled_while_it_writes_leaves_nothing(tmp_path: Path) -> None:
    writing, go_on = threading.Event(), threading.Event()

    class Slow(SpoolFile):
        def write(self, data: bytes | bytearray) -> None:
            writing.set()
            assert go_on.wait(20)
            super().write(data)

    class SlowSpool(Spool):
        def file(self, *, keep_free: int = 0) -> SpoolFile:
            return Slow(self.folder)

    spool = SlowSpool(tmp_path)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": form(upload(b"x" * BLOCK)), "more_body": True}

    async def handle() -> None:
        request = Request({"type": "http", "headers": [(b"content-type", FORM_TYPE.encode())]}, receive)
        async with spooled(spool) as file:
            await read_form(request, file, max_file_bytes=None)

    async def run() -> None:
        task = asyncio.ensure_future(handle())
        await asyncio.to_thread(writing.wait, 20)
        task.cancel()
        go_on.set()
        await asyncio.wait({task})
        assert task.cancelled()

    asyncio.run(run())
    assert [path.name for path in spool.folder.iterdir()] == [".lock"]
    spool.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_told_with_507(tmp_path: Path) -> None:
    class Full(SpoolFile):
        def __init__(self, folder: Path, *, keep_free: int = 0) -> None:
            super().__init__(folder, keep_free=keep_free)
            self._file.close()
            self._file = Path("/dev/full").open("wb", buffering=0)  # noqa: SIM115

    class FullSpool(Spool):
        def file(self, *, keep_free: int = 0) -> SpoolFile:
            return Full(self.folder)

    spool = FullSpool(tmp_path)
    with serving(application(spool, 10 * MIB)) as port:
        answer = httpx2.post(
            f"http://127.0.0.1:{port}{PATH}", content=form(upload()), headers={"content-type": FORM_TYPE}
        )
    assert (answer.status_code, answer.json()["error"]["message"]) == (507, str(SpoolFull()))
    assert [path.name for path in spool.folder.iterdir()] == [".lock"]
    spool.close()


# What it costs.


def main(folder: str) -> None:
    """A server in a process of its own; the first line it prints is its port."""
    with serving(application(Spool(Path(folder)), 400 * MIB)) as port:
        print(port, flush=True)  # noqa: T201
        sys.stdin.read()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")
def test_memory_stays_flat_while_300_mb_arrive(tmp_path: Path) -> None:
    command = [sys.executable, "-c", f"from {__name__} import main; main({str(tmp_path)!r})"]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    )
    assert process.stdout is not None
    try:
        port = int(process.stdout.readline())
        block = bytes(range(256)) * 4096

        def body() -> Iterator[bytes]:
            before, after = form(upload(b"|")).split(b"|")
            yield before
            for _ in range(300):
                yield block
            yield after

        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as client:
            assert client.post(PATH, content=form(upload()), headers={"content-type": FORM_TYPE}).status_code == 200
            before = client.get("/memory").json()["VmRSS"]
            answer = client.post(PATH, content=body(), headers={"content-type": FORM_TYPE})
            assert answer.json()["size"] == 300 * MIB
            peak = client.get("/memory").json()["VmHWM"]
        assert peak - before < 30 * 1024
    finally:
        process.communicate()
