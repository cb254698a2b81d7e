"""A form with one file, read while it arrives: the file goes to the disk, the text fields stay in memory."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from starlette.requests import Request

from molva.errors import OptionError, PayloadTooLarge
from molva.http.filenames import sent_name
from molva.spool import Spool, SpoolFile

MAX_FIELDS = 64
MAX_FIELD_BYTES = 64 * 2**10
MAX_FIELDS_BYTES = 256 * 2**10
"""Of all text fields but the references."""

REFERENCES = "known_speaker_references[]"
"""Seconds of audio as data URLs: larger than any other text."""
MAX_REFERENCE_BYTES = 3 * 2**20
"""Ten seconds of WAV, 48 kHz and stereo, are 2.6 million letters of base64."""
MAX_REFERENCES_BYTES = 4 * MAX_REFERENCE_BYTES

MAX_HEADERS = 8
MAX_HEADER_BYTES = 4096
"""Of one header line of a part."""
BESIDE_FILE_BYTES = MAX_REFERENCES_BYTES + 4 * 2**20
"""What a body may hold beside the file: fields, headers, boundaries, and what stands before and after them."""

BLOCK = 2**20
"""Bytes of the file that are collected before a thread writes them."""
SLICE = 64 * 2**10
"""Bytes parsed before others have their turn: where lines look like boundaries, that may take 0.2 us a byte."""

ENCODINGS = frozenset({"binary", "8bit", "7bit"})
"""Content-Transfer-Encodings that encode nothing."""

_PARAMETER = re.compile(r';\s*([^\s=;"]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^;]*)', re.DOTALL)


@dataclass(frozen=True, slots=True)
class UploadedFile:
    """What is known of the file without looking into it."""

    name: str
    """As the client called it, see `filenames`; "" where it did not."""
    size: int
    """Bytes."""


@dataclass(frozen=True, slots=True)
class Form:
    """A form that was read to its end."""

    fields: tuple[tuple[str, str], ...]
    """Name and value of each text field, in order; names may repeat."""
    file: UploadedFile | None
    """None where the form has none. It may be empty."""


@asynccontextmanager
async def spooled(spool: Spool, *, keep_free: int = 0) -> AsyncIterator[SpoolFile]:
    """A spool file that is removed in a thread: the event loop has no tenth of a second for that.

    `keep_free`: see SpoolFile. Raises SpoolError.
    """
    file = spool.file(keep_free=keep_free)
    try:
        yield file
    finally:
        await asyncio.to_thread(file.close)


async def read_form(
    request: Request,
    spool_file: SpoolFile | None,
    *,
    max_file_bytes: int | None,
    part: str = "file",
    forgiving: bool = False,
) -> Form:
    """The request's form; the bytes of its file are in `spool_file` then, or nowhere. None is no limit.

    `part` is the one that may hold a file; what is wrong with the form as a whole is told of it. Files in other parts
    are refused, and so is text in that one; where the door is `forgiving`, the former are dropped as they come, and
    that one is the file whether it has a name or not.

    What the headers tell is refused before the body is asked for. Memory does not grow with the file, and the event
    loop does not wait for the disk. Raises OptionError that names the field, PayloadTooLarge, SpoolFull where the disk
    is full, SpoolError where it cannot be written otherwise, and ClientDisconnect where the client has gone away.
    """
    reader = _FormReader(
        request.headers.get("content-type", ""), max_file_bytes=max_file_bytes, part=part, forgiving=forgiving
    )
    declared = request.headers.get("content-length", "")
    if declared.isdecimal():
        reader.check_size(int(declared))
    async for chunk in request.stream():
        for start in range(0, len(chunk), SLICE):
            reader.feed(chunk[start : start + SLICE])
            await asyncio.sleep(0)
        if len(reader.file) >= BLOCK:
            await _keep(reader.take_file(), spool_file)
    form = reader.finish()
    await _keep(reader.take_file(), spool_file)
    return form


async def _keep(data: bytearray, spool_file: SpoolFile | None) -> None:
    if spool_file is not None:
        await asyncio.to_thread(spool_file.write, data)


@dataclass(slots=True)
class _Allowance:
    """How much text fields of one kind may hold, in bytes."""

    each: int
    left: int


class _FormReader:
    """Bytes of the body -> fields, and the bytes of the file as they come. No I/O."""

    def __init__(self, content_type: str, *, max_file_bytes: int | None, part: str, forgiving: bool) -> None:
        self.file = bytearray()
        """Bytes of the file that nobody has taken yet."""
        self._max_file_bytes = max_file_bytes
        self._part = part
        self._forgiving = forgiving
        self._body_bytes = 0
        self._begun = False
        """Whether there was anything but line ends yet."""
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
        self._holds: Literal["file", "text", "nothing of interest"] = "text"
        self._value = bytearray()

        try:
            self._parser = MultipartParser(
                self._boundary(content_type),
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
            raise OptionError(part, f"Content-Type: {error}.") from error

    def check_size(self, body_bytes: int) -> None:
        """Raises PayloadTooLarge where no allowed file makes a body of so many bytes."""
        if self._max_file_bytes is not None and body_bytes > self._max_file_bytes + BESIDE_FILE_BYTES:
            raise _too_large(self._max_file_bytes)

    def feed(self, chunk: bytes) -> None:
        """The next bytes of the body. Raises OptionError and PayloadTooLarge."""
        self._body_bytes += len(chunk)
        self.check_size(self._body_bytes)
        if not self._begun:
            # Behind a line end the parser would skip anything, but to the end of the chunk only: whether a form is
            # well-formed must not depend on how it arrives.
            chunk = chunk.lstrip(b"\r\n")
            self._begun = bool(chunk)
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise OptionError(self._part, f"The form is malformed: {error}.") from error

    def take_file(self) -> bytearray:
        """The bytes of the file since the last call."""
        taken, self.file = self.file, bytearray()
        return taken

    def finish(self) -> Form:
        """The body has ended. Raises OptionError where it should not have."""
        if not self._complete:
            raise OptionError(self._part, "The form is cut short: its last boundary is missing.")
        file = None if self._file_name is None else UploadedFile(self._file_name, self._file_bytes)
        return Form(tuple(self._fields), file)

    def _begin_part(self) -> None:
        self._headers = {}
        self._value = bytearray()

    def _add_header_name(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _add_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _end_header(self) -> None:
        self._headers[_decoded(self._header_name).lower()] = _decoded(self._header_value)
        self._header_name.clear()
        self._header_value.clear()

    def _end_headers(self) -> None:
        kind, parameters = _parse(self._headers.get("content-disposition", ""))
        if kind != "form-data" or "name" not in parameters:
            raise OptionError(
                self._part, "Each part needs a header like 'Content-Disposition: form-data; name=\"model\"'."
            )
        self._name = parameters["name"]
        encoding = self._headers.get("content-transfer-encoding", "binary").strip().lower()
        if encoding not in ENCODINGS:
            raise self._refused(f"Content-Transfer-Encoding {encoding[:40]!r} is not supported; send the bytes as is")
        file_name = sent_name(parameters)
        if self._name == self._part:
            if file_name is None and not self._forgiving:
                raise self._refused(
                    f"this part has no file name, so it is text. With curl: -F {self._part}=@speech.ogg"
                )
            if self._file_name is not None:
                raise self._refused("more than one file was sent")
            self._file_name = file_name or ""
            self._holds = "file"
        elif file_name is not None:
            if not self._forgiving:
                raise self._refused(f"a file is taken in the part '{self._part}' only")
            self._holds = "nothing of interest"
        else:
            if len(self._fields) == MAX_FIELDS:
                raise self._refused(f"the form has more than {MAX_FIELDS} fields")
            self._holds = "text"

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        if self._holds == "file":
            self._file_bytes += end - start
            if self._max_file_bytes is not None and self._file_bytes > self._max_file_bytes:
                raise _too_large(self._max_file_bytes)
            with memoryview(data) as view:
                self.file += view[start:end]
        elif self._holds == "text":
            self._add_text(data[start:end])

    def _add_text(self, data: bytes) -> None:
        allowance = self._references if self._name == REFERENCES else self._text
        self._value += data
        allowance.left -= len(data)
        if len(self._value) > allowance.each:
            raise self._refused(f"longer than {allowance.each // 1024} KiB")
        if allowance.left < 0:
            raise self._refused("the text fields are too long in all")

    def _end_part(self) -> None:
        if self._holds != "text":
            return
        try:
            self._fields.append((self._name, self._value.decode("utf-8")))
        except UnicodeDecodeError:
            raise self._refused("not UTF-8") from None

    def _end_form(self) -> None:
        self._complete = True

    def _boundary(self, content_type: str) -> bytes:
        kind, parameters = _parse(content_type)
        if kind != "multipart/form-data":
            raise OptionError(self._part, "The body must be a form of type multipart/form-data.")
        if not parameters.get("boundary"):
            raise OptionError(self._part, "The Content-Type must name the form's boundary.")
        return parameters["boundary"].encode("latin-1")

    def _refused(self, problem: str) -> OptionError:
        name = self._name[:64]
        return OptionError(name, f"Field '{name}': {problem}.")


def _too_large(max_file_bytes: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"The upload is larger than {max_file_bytes / 2**20:g} MiB.")


def _parse(header: str) -> tuple[str, dict[str, str]]:
    """`form-data; name="x"` -> its first word in lower case, and its parameters, unquoted, by name in lower case."""
    kind, semicolon, rest = header.partition(";")
    parameters = {name.lower(): _unquoted(value) for name, value in _PARAMETER.findall(semicolon + rest)}
    return kind.strip().lower(), parameters


def _unquoted(value: str) -> str:
    value = value.strip()
    if len(value) > 1 and value[0] == value[-1] == '"':
        # A backslash before anything else is one of a Windows path.
        return re.sub(r"\\([\\\"])", r"\1", value[1:-1])
    return value


def _decoded(header: bytearray) -> str:
    """Latin-1 in file names is not unheard of; the names that matter are ASCII."""
    try:
        return header.decode("utf-8")
    except UnicodeDecodeError:
        return header.decode("latin-1")
