"""A form with one file, read while it arrives: the file goes to the disk, the text fields stay in memory."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from starlette.requests import Request

from molva.errors import OptionError, PayloadTooLarge
from molva.spool import Spool, SpoolFile

FILE = "file"
"""The one part that may hold a file, and has to. What is wrong with the form as a whole is told of it too."""
MAX_FIELDS = 64
MAX_FIELD_BYTES = 64 * 2**10
MAX_FIELDS_BYTES = 256 * 2**10
"""Of all text fields but the references."""

REFERENCES = "known_speaker_references[]"
"""Seconds of audio as data URLs: larger than any other text."""
MAX_REFERENCE_BYTES = 2**20
MAX_REFERENCES_BYTES = 4 * 2**20

MAX_HEADERS = 8
MAX_HEADER_BYTES = 4096
"""Of one header line of a part."""
BESIDE_FILE_BYTES = 8 * 2**20
"""What a body may hold beside the file: fields, headers, boundaries, and what stands before and after them."""

BLOCK = 2**20
"""Bytes of the file that are collected before a thread writes them."""
SLICE = 64 * 2**10
"""Bytes parsed before others have their turn: where lines look like boundaries, that may take 0.2 us a byte."""

ENCODINGS = frozenset({"binary", "8bit", "7bit"})
"""Content-Transfer-Encodings that encode nothing."""

_PARAMETER = re.compile(r';\s*([^\s=;"]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^;]*)', re.DOTALL)
_EXTENSION = re.compile(r"\.([a-z0-9]{1,8})$", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class UploadedFile:
    """What is known of the file without looking into it."""

    extension: str
    """Of the name the client gave, in lower case and without the dot; "" where there is none. A hint, no more."""
    size: int
    """Bytes; never 0."""


@dataclass(frozen=True, slots=True)
class Form:
    """A form that was read to its end."""

    fields: tuple[tuple[str, str], ...]
    """Name and value of each text field, in order; names may repeat."""
    file: UploadedFile


@asynccontextmanager
async def spooled(spool: Spool) -> AsyncIterator[SpoolFile]:
    """A spool file that is removed in a thread: the event loop has no tenth of a second for that. Raises SpoolFull."""
    file = spool.file()
    try:
        yield file
    finally:
        await asyncio.to_thread(file.close)


async def read_form(request: Request, spool_file: SpoolFile, *, max_file_bytes: int | None) -> Form:
    """The request's form; the bytes of its file are in `spool_file` then. None is no limit.

    What the headers tell is refused before the body is asked for. Memory does not grow with the file, and the event
    loop does not wait for the disk. Raises OptionError that names the field, PayloadTooLarge, SpoolFull where the disk
    is full, and ClientDisconnect where the client has gone away.
    """
    reader = _FormReader(request.headers.get("content-type", ""), max_file_bytes)
    declared = request.headers.get("content-length", "")
    if declared.isdecimal():
        reader.check_size(int(declared))
    async for chunk in request.stream():
        for start in range(0, len(chunk), SLICE):
            reader.feed(chunk[start : start + SLICE])
            await asyncio.sleep(0)
        if len(reader.file) >= BLOCK:
            await asyncio.to_thread(spool_file.write, reader.take_file())
    form = reader.finish()
    await asyncio.to_thread(spool_file.write, reader.take_file())
    return form


@dataclass(slots=True)
class _Allowance:
    """How much text fields of one kind may hold, in bytes."""

    each: int
    left: int


class _FormReader:
    """Bytes of the body -> fields, and the bytes of the file as they come. No I/O."""

    def __init__(self, content_type: str, max_file_bytes: int | None) -> None:
        self.file = bytearray()
        """Bytes of the file that nobody has taken yet."""
        self._max_file_bytes = max_file_bytes
        self._body_bytes = 0
        self._file_bytes = 0
        self._file_name: str | None = None
        self._fields: list[tuple[str, str]] = []
        self._text = _Allowance(MAX_FIELD_BYTES, MAX_FIELDS_BYTES)
        self._references = _Allowance(MAX_REFERENCE_BYTES, MAX_REFERENCES_BYTES)
        self._complete = False

        # Of the part that is being read.
        self._headers: dict[str, str] = {}
        self._header_name = bytearray()
        self._header_value = bytearray()
        self._name = ""
        self._is_file = False
        self._value = bytearray()

        try:
            self._parser = MultipartParser(
                _boundary(content_type),
                {
                    "on_part_begin": self._begin_part,
                    "on_header_field": self._add_header_name,
                    "on_header_value": self._add_header_value,
                    "on_header_end": self._end_header,
                    "on_headers_finished": self._end_headers,
                    "on_part_data": self._add_data,
                    "on_part_end": self._end_part,
                    "on_end": self._end_form,
                },
                max_header_count=MAX_HEADERS,
                max_header_size=MAX_HEADER_BYTES,
            )
        except FormParserError as error:
            raise OptionError(FILE, f"Content-Type: {error}.") from error

    def check_size(self, body_bytes: int) -> None:
        """Raises PayloadTooLarge where no allowed file makes a body of so many bytes."""
        if self._max_file_bytes is not None and body_bytes > self._max_file_bytes + BESIDE_FILE_BYTES:
            raise _too_large(self._max_file_bytes)

    def feed(self, chunk: bytes) -> None:
        """The next bytes of the body. Raises OptionError and PayloadTooLarge."""
        self._body_bytes += len(chunk)
        self.check_size(self._body_bytes)
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise OptionError(FILE, f"The form is malformed: {error}.") from error

    def take_file(self) -> bytearray:
        """The bytes of the file since the last call."""
        taken, self.file = self.file, bytearray()
        return taken

    def finish(self) -> Form:
        """The body has ended. Raises OptionError where it should not have."""
        if not self._complete:
            raise OptionError(FILE, "The form is cut short: its last boundary is missing.")
        if self._file_name is None:
            raise OptionError(FILE, f"The form has no file. Send it as the part '{FILE}'.")
        if not self._file_bytes:
            raise OptionError(FILE, "The file is empty.")
        extension = _EXTENSION.search(self._file_name)
        return Form(tuple(self._fields), UploadedFile(extension[1].lower() if extension else "", self._file_bytes))

    def _begin_part(self) -> None:
        self._headers = {}
        self._value = bytearray()

    def _add_header_name(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _add_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _end_header(self) -> None:
        # Latin-1 in file names is not unheard of; the names that matter are ASCII.
        name, value = (text.decode("utf-8", "replace") for text in (self._header_name, self._header_value))
        self._headers[name.lower()] = value
        self._header_name.clear()
        self._header_value.clear()

    def _end_headers(self) -> None:
        kind, parameters = _parse(self._headers.get("content-disposition", ""))
        if kind != "form-data" or "name" not in parameters:
            raise OptionError(FILE, "Each part needs a header like 'Content-Disposition: form-data; name=\"model\"'.")
        self._name = parameters["name"]
        encoding = self._headers.get("content-transfer-encoding", "binary").strip().lower()
        if encoding not in ENCODINGS:
            raise self._refused(f"Content-Transfer-Encoding {encoding[:40]!r} is not supported; send the bytes as is")
        file_name = _file_name(parameters)
        self._is_file = file_name is not None
        if self._is_file and self._name != FILE:
            raise self._refused(f"a file is taken in the part '{FILE}' only")
        if self._is_file and self._file_name is not None:
            raise self._refused("more than one file was sent")
        if not self._is_file and self._name == FILE:
            raise self._refused("this part has no file name, so it is text. With curl: -F file=@speech.ogg")
        if not self._is_file and len(self._fields) == MAX_FIELDS:
            raise self._refused(f"the form has more than {MAX_FIELDS} fields")
        self._file_name = file_name if self._is_file else self._file_name

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        if self._is_file:
            self._file_bytes += end - start
            if self._max_file_bytes is not None and self._file_bytes > self._max_file_bytes:
                raise _too_large(self._max_file_bytes)
            with memoryview(data) as view:
                self.file += view[start:end]
            return
        allowance = self._references if self._name == REFERENCES else self._text
        self._value += data[start:end]
        allowance.left -= end - start
        if len(self._value) > allowance.each:
            raise self._refused(f"longer than {allowance.each // 1024} KiB")
        if allowance.left < 0:
            raise self._refused("the text fields are too long in all")

    def _end_part(self) -> None:
        if self._is_file:
            return
        try:
            self._fields.append((self._name, self._value.decode("utf-8")))
        except UnicodeDecodeError:
            raise self._refused("not UTF-8") from None

    def _end_form(self) -> None:
        self._complete = True

    def _refused(self, problem: str) -> OptionError:
        name = self._name[:64]
        return OptionError(name, f"Field '{name}': {problem}.")


def _too_large(max_file_bytes: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"The upload is larger than {max_file_bytes / 2**20:g} MiB.")


def _boundary(content_type: str) -> bytes:
    kind, parameters = _parse(content_type)
    if kind != "multipart/form-data":
        raise OptionError(FILE, "The body must be a form of type multipart/form-data.")
    if not parameters.get("boundary"):
        raise OptionError(FILE, "The Content-Type must name the form's boundary.")
    return parameters["boundary"].encode("latin-1")


def _parse(header: str) -> tuple[str, dict[str, str]]:
    """`form-data; name="x"` -> its first word in lower case, and its parameters, unquoted, by name in lower case."""
    kind, semicolon, rest = header.partition(";")
    parameters = {name.lower(): _unquoted(value) for name, value in _PARAMETER.findall(semicolon + rest)}
    return kind.strip().lower(), parameters


def _unquoted(value: str) -> str:
    value = value.strip()
    if len(value) > 1 and value[0] == value[-1] == '"':
        return re.sub(r"\\(.)", r"\1", value[1:-1], flags=re.DOTALL)
    return value


def _file_name(parameters: dict[str, str]) -> str | None:
    """The file name as it was sent; None where the part is not a file.

    Some clients send names that are not ASCII as RFC 2231 has it: filename*=utf-8''%D1%8F.ogg, or in pieces,
    filename*0 and so on. The end is all that is needed of it, so nothing is decoded.
    """
    if name := parameters.get("filename"):
        return name
    pieces = [value for key, value in parameters.items() if key.startswith("filename*")]
    return "".join(pieces) if pieces else parameters.get("filename")
