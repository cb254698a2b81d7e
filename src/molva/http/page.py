"""`/`: the page for people. Plain files, read once; nothing that a client sends reaches the disk."""

import gzip
import hashlib
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from molva import assets
from molva.http.middleware import PAGE, PAGE_FILES

router = APIRouter()

TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "media-src 'self' blob:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    )
)
"""Content-Security-Policy: nothing but this server's own files, nothing written into the page as text."""

HEADERS = {
    "content-security-policy": POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(self), display-capture=(self)",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    # Asked for again each time, answered with 304 mostly: modules of two versions never meet.
    "cache-control": "no-cache",
    "vary": "accept-encoding",
}


@dataclass(frozen=True)
class PageFile:
    """One file of the page."""

    content: bytes
    compressed: bytes
    media_type: str
    tag: str

    def answer(self, request: Request) -> Response:
        """The file, compressed for whoever takes that, or that the browser has it already."""
        headers = {**HEADERS, "etag": self.tag}
        if self.tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        if not _takes_gzip(request.headers.get("accept-encoding", "")):
            return Response(self.content, media_type=self.media_type, headers=headers)
        return Response(self.compressed, media_type=self.media_type, headers={**headers, "content-encoding": "gzip"})


def _takes_gzip(accepted: str) -> bool:
    """Whether this Accept-Encoding has it; `q=0` refuses it."""
    for coding in accepted.split(","):
        name, _, weight = coding.replace(" ", "").partition(";q=")
        if name == "gzip":
            return weight == "" or weight.strip("0.") != ""
    return False


def _read(file: Traversable) -> PageFile:
    content = file.read_bytes()
    suffix = file.name[file.name.rindex(".") :]
    tag = f'W/"{hashlib.sha256(content).hexdigest()[:32]}"'  # weak: it stands for both forms
    return PageFile(content, gzip.compress(content, mtime=0), TYPES[suffix], tag)


FILES = {file.name: _read(file) for file in (resources.files(assets) / "page").iterdir()}
"""By name."""


@router.get(PAGE, include_in_schema=False)
async def page(request: Request) -> Response:
    """The page itself."""
    return FILES["index.html"].answer(request)


@router.get(PAGE_FILES + "{name}", include_in_schema=False)
async def page_file(request: Request, name: str) -> Response:
    """What it consists of."""
    file = FILES.get(name)
    if file is None:
        raise HTTPException(404)
    return file.answer(request)
