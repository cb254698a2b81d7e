"""Bodies that are kept in memory: how large each may be, and how much all of them."""

from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from molva.errors import Busy, PayloadTooLarge
from molva.http.dialects import respond
from molva.http.state import Limits

UPLOADS = "/v1/audio/"
"""Below it are forms that go to the disk; http/multipart.py has their limit."""
JOBS = "/jobs"
"""Takes such forms too, of any size."""

RETRY_AFTER_S = 5.0


class BodyLimit:
    """Refuses bodies over the limit: by the header before a byte is read, and by count where the header lies.

    So it does with those that there is no memory for beside the others, which have it until they are answered. The
    framework has a middleware for the first; its answer is plain text that cannot be given another body.
    """

    def __init__(self, app: ASGIApp, limits: Callable[[], Limits]) -> None:
        """`limits` is asked once for each request."""
        self._app = app
        self._limits = limits
        self._held = 0
        """Bytes of all bodies that are in memory now."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] == JOBS or scope["path"].startswith(UPLOADS):
            await self._app(scope, receive, send)
            return
        given, limits = Headers(scope=scope).get("content-length", "0"), self._limits()
        declared, together = int(given) if given.isdigit() else 0, max(limits.bodies_bytes, limits.body_bytes)
        if declared > limits.body_bytes:
            await respond(scope["path"], PayloadTooLarge())(scope, receive, send)
            return
        if declared and self._held + declared > together:
            await respond(scope["path"], Busy(RETRY_AFTER_S))(scope, receive, send)
            return
        received = 0

        async def receive_counted() -> Message:
            nonlocal received
            message = await receive()
            size = len(message.get("body", b""))
            received += size
            self._held += size
            # The application's error handler answers.
            if received > limits.body_bytes:
                raise PayloadTooLarge
            if size and self._held > together:
                raise Busy(RETRY_AFTER_S)
            return message

        try:
            await self._app(scope, receive_counted, send)
        finally:
            self._held -= received
