"""Asks a hub for one file. Knows redirects, tokens and status codes; nothing of disks or of trying again."""

import re
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Self
from urllib.parse import quote

import httpx2

from molva.errors import DownloadError, HubUnreachable
from molva.models.headers import content_range, length, retry_after_s, strong_etag
from molva.models.reachability import answers

DEFAULT_ENDPOINT = "https://huggingface.co"

CONNECT_TIMEOUT_S = 5.0
FIRST_ANSWER_TIMEOUT_S = 10.0
"""A hub that takes the connection and says nothing, as some firewalls do, is as good as none."""
READ_TIMEOUT_S = 30.0
MAX_REDIRECTS = 10

_SHA256 = re.compile(r"[0-9a-f]{64}")
_GIT_SHA1 = re.compile(r"[0-9a-f]{40}")

_WAYS_OUT = (
    "Check the network, set HF_ENDPOINT to a mirror that can be reached, "
    "or put the model's files into the model folder yourself."
)


class Interrupted(Exception):
    """No bytes for now, for a reason that may pass."""

    def __init__(self, reason: str, *, retry_after_s: float | None = None, unreachable: bool = False) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s
        self.unreachable = unreachable


class NotAtHub(DownloadError):
    """The hub does not have this file."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the hub says about a file; None for what it does not say."""

    commit: str | None
    """The commit the file was taken from."""
    size: int | None
    """Bytes."""
    etag: str | None
    """Stands for the file's exact bytes."""
    sha256: str | None
    git_sha1: str | None
    """The git blob id, which the hub gives for files that are not in LFS."""


@dataclass(frozen=True, slots=True)
class Held:
    """The first bytes of a file, from an earlier answer."""

    size: int
    """Bytes, at least one."""
    etag: str


@dataclass(frozen=True, slots=True)
class Answer:
    """A file's bytes from `start` on."""

    facts: Facts
    start: int
    chunks: Iterator[bytes]
    """Raises Interrupted when the connection breaks."""


class Hub:
    """A connection to the hub at `endpoint`. `token` goes to that host only, never to one it redirects to."""

    def __init__(self, endpoint: str, token: str | None = None) -> None:
        self._endpoint = endpoint.rstrip("/")
        self._endpoint_url = _url(
            self._endpoint, f"'{endpoint}' is not a hub's address, which looks like {DEFAULT_ENDPOINT}"
        )
        self._token = token
        self._answered = False
        self._client = httpx2.Client(
            timeout=httpx2.Timeout(READ_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
            # Ranges and lengths are about the file's own bytes, not about compressed ones.
            headers={"User-Agent": "molva", "Accept-Encoding": "identity"},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._client.close()

    @contextmanager
    def open(self, repository: str, revision: str, name: str, held: Held | None = None) -> Iterator[Answer]:
        """A file's bytes: those after `held` when the hub can go on there, else all of them.

        Raises HubUnreachable when there is no connection at all, NotAtHub, DownloadError when asking again is of no
        use, and Interrupted when it may be.
        """
        url = httpx2.URL(f"{self._endpoint}/{repository}/resolve/{quote(revision, safe='')}/{quote(name)}")
        trail = self._get(url, held)
        start = _start(trail, held)
        if start is None:
            trail[-1].close()
            trail = self._get(url, None)
            start = 0
        response = trail[-1]
        try:
            _check_status(response, start, repository, name)
            # The body of a 416 is a remark, not bytes of the file.
            chunks = iter(()) if response.status_code == httpx2.codes.RANGE_NOT_SATISFIABLE else _chunks(response)
            yield Answer(_facts(trail), start, chunks)
        finally:
            response.close()

    def _get(self, url: httpx2.URL, held: Held | None) -> list[httpx2.Response]:
        """The redirects that were followed, then the answer, whose body is still to be read."""
        headers = {} if held is None else {"Range": f"bytes={held.size}-"}
        trail = [self._send(url, headers)]
        while trail[-1].has_redirect_location:
            response = trail[-1]
            response.close()
            if len(trail) > MAX_REDIRECTS:
                raise DownloadError(f"{url.host} redirects without end.")
            location = response.headers["Location"]
            target = _url(location, f"{response.url.host} redirects to what is not a web address", base=response.url)
            trail.append(self._send(target, headers))
        return trail

    def _send(self, url: httpx2.URL, headers: dict[str, str]) -> httpx2.Response:
        if self._token and _origin(url) == _origin(self._endpoint_url):
            headers = headers | {"Authorization": f"Bearer {self._token}"}
        if not self._answered and not _is_proxied(url) and not answers(*_origin(url)[1:], CONNECT_TIMEOUT_S):
            raise HubUnreachable(f"{_unreachable(url, 'no connection')}. {_WAYS_OUT}")
        patience = READ_TIMEOUT_S if self._answered else FIRST_ANSWER_TIMEOUT_S
        timeout = httpx2.Timeout(patience, connect=CONNECT_TIMEOUT_S)
        try:
            request = self._client.build_request("GET", url, headers=headers, timeout=timeout)
            response = self._client.send(request, stream=True)
        except httpx2.ReadTimeout as error:
            if self._answered:
                raise Interrupted(_broken(url, error)) from error
            raise HubUnreachable(f"{_unreachable(url, 'it does not answer')}. {_WAYS_OUT}") from error
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ProxyError) as error:
            if self._answered:
                raise Interrupted(_unreachable(url, error), unreachable=True) from error
            raise HubUnreachable(f"{_unreachable(url, error)}. {_WAYS_OUT}") from error
        except httpx2.TransportError as error:
            raise Interrupted(_broken(url, error)) from error
        self._answered = True
        return response


def _url(text: str, complaint: str, base: httpx2.URL | None = None) -> httpx2.URL:
    """`text` as a web address, relative to `base`. Raises DownloadError with `complaint` when it is none."""
    try:
        url = base.join(text) if base else httpx2.URL(text)
    except httpx2.InvalidURL as error:
        raise DownloadError(f"{complaint}.") from error
    if url.scheme not in {"http", "https"} or not url.host:
        raise DownloadError(f"{complaint}.")
    return url


def _origin(url: httpx2.URL) -> tuple[str, str, int]:
    return url.scheme, url.host, url.port or (443 if url.scheme == "https" else 80)


def _is_proxied(url: httpx2.URL) -> bool:
    proxies = urllib.request.getproxies()
    return bool(proxies.get(url.scheme) or proxies.get("all")) and not urllib.request.proxy_bypass(url.host)


def _unreachable(url: httpx2.URL, reason: object) -> str:
    return f"{url.host} cannot be reached ({reason})"


def _broken(url: httpx2.URL, error: httpx2.TransportError) -> str:
    return f"the connection to {url.host} broke ({error or type(error).__name__})"


def _chunks(response: httpx2.Response) -> Iterator[bytes]:
    try:
        yield from response.iter_raw()
    except httpx2.TransportError as error:
        raise Interrupted(_broken(response.url, error)) from error


def _start(trail: list[httpx2.Response], held: Held | None) -> int | None:
    """Where the bytes of the answer begin; None when they cannot be joined to those that are held."""
    response = trail[-1]
    if response.status_code not in {httpx2.codes.PARTIAL_CONTENT, httpx2.codes.RANGE_NOT_SATISFIABLE}:
        return 0
    span = content_range(response.headers.get("Content-Range"))
    facts = _facts(trail)
    if held is None or span is None or facts.etag != held.etag or span.total not in {None, facts.size}:
        return None
    continues = span.start == held.size if span.start is not None else span.total == held.size
    return held.size if continues else None


def _facts(trail: list[httpx2.Response]) -> Facts:
    """The hub names a file in its first answer (X-Linked-*), from where it redirects to the bytes."""
    answer = trail[-1]
    linked = _first(trail, "X-Linked-Etag")
    etag = strong_etag(linked or answer.headers.get("ETag"))
    # Other servers put other things into an ETag.
    named = etag if etag and (linked or "X-Repo-Commit" in answer.headers) else ""
    size = length(_first(trail, "X-Linked-Size"))
    if size is None and (span := content_range(answer.headers.get("Content-Range"))):
        size = span.total
    elif size is None and answer.status_code == httpx2.codes.OK:
        size = length(answer.headers.get("Content-Length"))
    return Facts(
        commit=_first(trail, "X-Repo-Commit"),
        size=size,
        etag=etag,
        sha256=named if _SHA256.fullmatch(named) else None,
        git_sha1=named if _GIT_SHA1.fullmatch(named) else None,
    )


def _first(trail: list[httpx2.Response], header: str) -> str | None:
    return next((response.headers[header] for response in trail if header in response.headers), None)


def _check_status(response: httpx2.Response, start: int, repository: str, name: str) -> None:
    status, host = response.status_code, response.url.host
    if status == httpx2.codes.OK or start > 0:
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise DownloadError(f"{host} sends {name} compressed, which it was asked not to do.")
        return
    if status in {httpx2.codes.UNAUTHORIZED, httpx2.codes.FORBIDDEN}:
        raise DownloadError(
            f"{host} refuses {repository} (HTTP {status}). Set HF_TOKEN to a token that may read it, "
            "or HF_ENDPOINT to another hub."
        )
    if status == httpx2.codes.NOT_FOUND:
        raise NotAtHub(f"{host} does not have {name} of {repository} (HTTP 404).")
    if status in {httpx2.codes.REQUEST_TIMEOUT, httpx2.codes.TOO_MANY_REQUESTS} or response.is_server_error:
        wait = retry_after_s(response.headers.get("Retry-After"), datetime.now(UTC))
        raise Interrupted(f"{host} is busy or out of order (HTTP {status})", retry_after_s=wait)
    raise DownloadError(f"{host} answers HTTP {status} when asked for {name} of {repository}.")
