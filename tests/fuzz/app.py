"""The whole application without its sockets: one event loop over a scripted engine, asked by ASGI."""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import h11
from starlette.types import Message

from molva.database import Database
from molva.engines.fake import FakeEngine
from molva.engines.silero import load_vad
from molva.errors import ModelNotInstalled
from molva.http.app import create_app
from molva.http.state import Limits, ServerState
from molva.jobs import sqlite as jobs_sqlite
from molva.jobs.service import Jobs
from molva.jobs.shelf import AudioShelf
from molva.jobs.sqlite import SqliteJobStore
from molva.models.store import ModelStore
from molva.outbound.policy import AddressPolicy
from molva.runtime.admission import Admission
from molva.runtime.fleet import Lease
from molva.runtime.scheduler import Scheduler
from molva.spool import Spool, SpoolFile
from molva.webhooks import sqlite as webhooks_sqlite
from tests.http.conftest import recognizer_over

PATIENCE_S = 30
"""So long a request or a session may take that fuzzing made up; longer ones hang."""


class Application:
    """One for a process, which ends with it."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.loop.set_exception_handler(self._note)
        self._unseen: list[BaseException] = []
        self._folder = tempfile.TemporaryDirectory(prefix="molva-fuzz-")
        self.state, self._asgi = self.loop.run_until_complete(self._build(Path(self._folder.name)))

    def ask(self, scope: dict[str, Any], receive: Callable[[], Awaitable[Message]]) -> list[Message]:
        """What the application sends. Raises what it raises, also what only its log would have told."""
        sent: list[Message] = []

        async def send(message: Message) -> None:
            if "status" in message:
                # Refuses headers that no answer may have.
                h11.Response(status_code=message["status"], headers=message.get("headers", []))
            sent.append(message)

        async def run() -> None:
            async with asyncio.timeout(PATIENCE_S):
                await self._asgi({"asgi": {"version": "3.0", "spec_version": "2.3"}, **scope}, receive, send)

        self.loop.run_until_complete(run())
        if self._unseen:
            raise self._unseen.pop()
        return sent

    def _note(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self._unseen.append(context.get("exception") or AssertionError(context["message"]))

    async def _build(self, folder: Path) -> tuple[ServerState, Any]:
        policy = AddressPolicy()
        database = Database(folder / "molva.db", [webhooks_sqlite.TABLES, jobs_sqlite.TABLES])

        async def lend_nothing(_name: str) -> Lease:
            raise ModelNotInstalled

        def check_url(url: str) -> None:
            policy.check_url(url)

        def fetch(url: str, into: SpoolFile) -> None:
            check_url(url)
            into.write(b"not a recording")

        shelf = AudioShelf(folder / "recordings")
        state = ServerState(
            model="fake",
            device="cpu",
            limits=Limits(body_bytes=5_000, max_audio_s=7200, inference_timeout_s=PATIENCE_S, upload_bytes=5_000),
            spool=Spool(folder / "spool"),
            store=ModelStore(folder / "models"),
            jobs=Jobs(SqliteJobStore(database), shelf, lend_nothing, load_vad(), register=lambda _url: None),
            check_webhook_url=check_url,
            fetch=fetch,
        )
        admission = Admission(2, max_waiting=2, timeout_s=PATIENCE_S)
        recognizer = recognizer_over(FakeEngine(), Scheduler(1), admission)
        state.serve_with(recognizer)
        (await recognizer.lease(timeout_s=PATIENCE_S)).release()
        return state, create_app(state)


APPLICATION = Application()
