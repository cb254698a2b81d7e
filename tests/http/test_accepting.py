"""What is told of connections that cannot be taken."""

import asyncio
import errno
import logging
import os

import pytest

from molva.http.accepting import TOLD_EVERY_S, AcceptErrors


def lack(number: int = errno.EMFILE, message: str = "socket.accept() out of system resource") -> dict[str, object]:
    return {"message": message, "exception": OSError(number, os.strerror(number))}


def told(caplog: pytest.LogCaptureFixture, name: str) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == name]


def test_a_lack_is_told_once_in_a_while_and_says_what_helps(caplog: pytest.LogCaptureFixture) -> None:
    now = 100.0
    handler, loop = AcceptErrors(lambda: now), asyncio.new_event_loop()
    with caplog.at_level(logging.DEBUG):
        for _ in range(2048):
            handler(loop, lack())
        now += TOLD_EVERY_S
        handler(loop, lack(errno.ENFILE))
    loop.close()
    assert told(caplog, "asyncio") == []
    assert len(told(caplog, "molva.http.accepting")) == 2
    assert "ulimit -n" in told(caplog, "molva.http.accepting")[0]


@pytest.mark.parametrize(
    "context",
    [
        lack(errno.EBADF),
        lack(message="Fatal error on transport"),
        {"message": "socket.accept() out of system resource"},
        {"message": "Task exception was never retrieved", "exception": ValueError("x")},
    ],
)
def test_all_else_is_told_as_asyncio_does(caplog: pytest.LogCaptureFixture, context: dict[str, object]) -> None:
    loop = asyncio.new_event_loop()
    AcceptErrors()(loop, context)
    loop.close()
    [message] = told(caplog, "asyncio")
    assert str(context["message"]) in message
