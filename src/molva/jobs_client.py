"""A client of the jobs door: recordings out, jobs and their results in. It knows no terminal.

with JobsClient("http://127.0.0.1:9876") as client:
    job_id = client.submit(Path("talk.mp3"), {"language": "ru"})
    for name, event in client.watch(job_id):
        print(name, event)
    print(client.result(job_id, "text"))
"""

import io
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeAlias
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

import httpx2

from molva.errors import OptionError
from molva.loopback import is_loopback

Job: TypeAlias = dict[str, Any]
"""As the server tells it; docs/jobs.md has the fields."""

CONNECT_TIMEOUT_S = 10.0
ANSWER_TIMEOUT_S = 300.0
"""A server has to write down what it takes, and may have to fetch it; but it answers."""
SILENCE_S = 60.0
"""Of a stream that has a comment every 15 s."""
RETRY_S = 5.0
"""Before the next try, where the server does not say."""
PAGE = 500
SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}


class Refused(ConnectionError):
    """The server's answer is an error. The message is for people."""

    def __init__(self, message: str, *, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class NotReady(Refused):
    """The server's model is not in memory yet; the submission made it load."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message, status=HTTPStatus.SERVICE_UNAVAILABLE)
        self.retry_after_s = retry_after_s


def base_url(url: str) -> str:
    """A server's address without a slash at its end. Raises OptionError for what is no address."""
    try:
        given = urlsplit(url if "://" in url else f"http://{url}")
        known = given.scheme in SCHEMES and given.hostname is not None and given.port != 0  # the port may be wrong too
    except ValueError:
        known = False
    if not known:
        raise OptionError("url", f"'{url[:200]}' is no address of a server; http://127.0.0.1:9876 would be one.")
    path = given.path.rstrip("/").removesuffix("/v1/ws")  # the address of the live door is known from `molva listen`
    return urlunsplit((SCHEMES[given.scheme], given.netloc, path, "", ""))


class JobsClient:
    """A server's jobs. A context manager; calls block.

    All raise Refused for what the server refuses, and ConnectionError where it cannot be reached.
    """

    def __init__(self, url: str, *, key: str | None = None) -> None:
        """`key` is for servers that ask for one. Raises OptionError for what is no address."""
        self._url = base_url(url)
        self._client = httpx2.Client(
            headers={"Authorization": f"Bearer {key}"} if key else None,
            timeout=httpx2.Timeout(ANSWER_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
            # A proxy for the outside world knows nothing of this machine's own addresses.
            trust_env=not is_loopback(urlsplit(self._url).hostname or ""),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def submit(
        self,
        file: Path,
        fields: Mapping[str, str],
        *,
        idempotency_key: str | None = None,
        on_sent: Callable[[int], None] = lambda _: None,
    ) -> str:
        """Send a recording, which is never in memory as a whole; the id of its job.

        `on_sent` is told how many bytes more are on their way. Raises NotReady, and OSError where the file cannot be
        read.
        """
        with _Told(file, on_sent) as audio:
            answer = self._answer(
                "POST",
                "/jobs",
                files={"audio": (file.name, audio)},
                data=dict(fields),
                headers={"Idempotency-Key": idempotency_key} if idempotency_key is not None else {},
            )
        return str(_object(answer)["job_id"])

    def get(self, job_id: str) -> Job:
        """A job with its segments."""
        return _object(self._answer("GET", _path(job_id)))

    def jobs(self, *, status: str = "", limit: int) -> Iterator[Job]:
        """At most `limit` jobs without their segments, newest first; `status` is a list with commas."""
        cursor = None
        while limit > 0:
            query = {"status": status, "limit": str(min(limit, PAGE))} | ({"cursor": cursor} if cursor else {})
            page = _object(self._answer("GET", "/jobs", params=query))
            yield from page["jobs"]
            limit -= len(page["jobs"])
            cursor = page["next_cursor"]
            if cursor is None:
                return

    def cancel(self, job_id: str, *, purge: bool = False) -> Job:
        """End a job; with `purge`, forget it in whatever state it is."""
        return _object(self._answer("DELETE", _path(job_id), params={"purge": "true"} if purge else {}))

    def result(self, job_id: str, format_name: str) -> str:
        """The transcript in a format of `molva transcribe`."""
        return self._answer("GET", _path(job_id, "/result"), params={"format": format_name}).text

    def watch(self, job_id: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Name and data of each event: `progress` as it gets on, then `done` or `error`.

        Raises ConnectionError where the stream ends before the job does: the job goes on.
        """
        with self._open("GET", _path(job_id, "/stream"), timeout=httpx2.Timeout(SILENCE_S)) as answer:
            name = ""
            for line in _lines(answer.iter_bytes()):
                field, _, value = line.partition(b": ")
                if field == b"event":
                    name = value.decode()
                elif field == b"data":
                    yield name, json.loads(value)
                    if name in ("done", "error"):
                        return
        raise ConnectionError(f"the server stopped before job {job_id} ended; the job goes on when it is back")

    def _answer(self, method: str, path: str, **options: Any) -> httpx2.Response:
        with self._open(method, path, **options) as answer:
            answer.read()
        return answer

    @contextmanager
    def _open(self, method: str, path: str, **options: Any) -> Iterator[httpx2.Response]:
        """An answer whose body is still to be read."""
        try:
            with self._client.stream(method, self._url + path, **options) as answer:
                if not answer.is_success:
                    answer.read()
                    raise _refusal(answer, self._url)
                yield answer
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            raise ConnectionError(f"no server answers at {self._url} ({error}); `molva serve` starts one") from error
        except httpx2.TransportError as error:
            reason = str(error) or type(error).__name__
            raise ConnectionError(f"the connection to {self._url} broke off: {reason}") from error


class _Told(io.FileIO):
    """A file that tells what is read of it."""

    def __init__(self, file: Path, tell: Callable[[int], None]) -> None:
        super().__init__(file)
        self._tell = tell

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(-1 if size is None else size) or b""
        self._tell(len(data))
        return data


def _lines(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Lines of a stream. Only a line feed ends one: texts may hold what Unicode knows for line ends."""
    pending = bytearray()
    for chunk in chunks:
        pending += chunk
        if b"\n" in chunk:
            *lines, pending = pending.split(b"\n")
            yield from map(bytes, lines)


def _path(job_id: str, rest: str = "") -> str:
    try:
        return f"/jobs/{UUID(job_id)}{rest}"
    except ValueError:
        raise OptionError("id", f"'{job_id[:64]}' is no id of a job; `molva jobs list` shows them.") from None


def _object(answer: httpx2.Response) -> dict[str, Any]:
    with suppress(ValueError):
        found = answer.json()
        if isinstance(found, dict):
            return found
    raise Refused("what answers there is no speech-to-text server", status=answer.status_code)


def _refusal(answer: httpx2.Response, url: str) -> Refused:
    """What an answer that is an error says."""
    body: dict[str, Any] = {}
    with suppress(Refused):
        body = _object(answer)
    code, text = body.get("code"), body.get("error")
    message = text if isinstance(text, str) and text else f"HTTP {answer.status_code}"
    if answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE and code in ("model_not_ready", "initializing"):
        wait = answer.headers.get("retry-after", "")
        return NotReady(f"the model is {body.get('state', 'loading')}", float(wait) if wait.isdecimal() else RETRY_S)
    if answer.status_code == HTTPStatus.UNAUTHORIZED:
        message = f"{url} asks for a key: set MOLVA_API_KEY to one, or give --api-key ({message})"
    elif answer.status_code == HTTPStatus.NOT_FOUND and code != "job_not_found":
        message = f"{url} has no jobs: they are switched off there, or it is another server"
    return Refused(message, status=answer.status_code)
