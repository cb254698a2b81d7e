"""Lines of the log: whose work they are about, and what never is in them."""

import json
import logging
import threading
from collections.abc import Iterator

import pytest
from pydantic import BaseModel, ValidationError

from molva import logs
from molva.errors import MolvaError
from molva.runtime.futures import in_context

log = logging.getLogger("molva.test")


class Written:
    """What is logged."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    @property
    def lines(self) -> list[str]:
        return self._capsys.readouterr().err.splitlines()


@pytest.fixture
def stderr(capsys: pytest.CaptureFixture[str]) -> Iterator[Written]:
    """Afterwards logging is as it was."""
    root, ours, forms = (logging.getLogger(name) for name in (None, "molva", "python_multipart"))
    before = root.handlers[:], root.level, ours.level, forms.level
    root.handlers.clear()  # others' are not to be closed
    yield Written(capsys)
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    ours.setLevel(before[2])
    forms.setLevel(before[3])


def test_people_read_the_line_and_whose_it_is(stderr: Written) -> None:
    logs.start_logging("info")
    log.info("before")
    with logs.about(request_id="r1"), logs.about(job_id="j1"):
        log.info("inside")
    before, inside = stderr.lines
    assert before.endswith(" INFO molva.test: before")
    assert inside.endswith(" INFO molva.test: inside request_id=r1 job_id=j1")


def test_programs_read_one_object_a_line(stderr: Written) -> None:
    logs.start_logging("info", "json")
    with logs.about(request_id="r" * 500):
        log.warning("two\nlines", extra={"status": 200, "key": None})
    [line] = stderr.lines
    told = json.loads(line)
    assert told.pop("time").endswith("+00:00")
    assert told == {
        "level": "warning",
        "logger": "molva.test",
        "message": "two\nlines",
        "request_id": "r" * logs.MAX_ID,
        "status": 200,
    }


def test_a_thread_that_works_for_a_request_says_so(stderr: Written) -> None:
    logs.start_logging("info")
    with logs.about(request_id="r1"):
        work = in_context(lambda: log.info("in a thread"))
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    [line] = stderr.lines
    assert line.endswith("in a thread request_id=r1")


@pytest.mark.parametrize("name", ["httpx2", "uvicorn.error", "faster_whisper", "libav.mp3", "websockets.server"])
def test_libraries_are_heard_from_warnings_on(stderr: Written, name: str) -> None:
    logs.start_logging("debug")
    logging.getLogger(name).info("what somebody said")
    logging.getLogger(name).warning("trouble")
    log.debug("ours")
    assert [line.rpartition(": ")[2] for line in stderr.lines] == ["trouble", "ours"]


class Stored(BaseModel):
    number: int


@pytest.mark.parametrize("log_format", ["human", "json"])
def test_a_trace_has_everything_but_what_pydantic_quotes(stderr: Written, log_format: logs.LogFormat) -> None:
    logs.start_logging("info", log_format)
    heard = "what" + "somebody" + "said"
    try:
        try:
            Stored.model_validate({"number": heard})
        except ValidationError as error:
            raise MolvaError("it broke") from error
    except MolvaError:
        log.exception("failed")
    text = "\n".join(stderr.lines)
    assert "whatsomebodysaid" not in text
    assert "ValidationError: 1 in Stored" in text
    assert "MolvaError: it broke" in text
    assert "test_logs.py" in text
