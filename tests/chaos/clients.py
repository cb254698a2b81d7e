"""Clients of each door, and the account that they give of how each thing they asked for has ended."""

import json
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any, Protocol

import httpx2
import numpy as np
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from molva.samples import SAMPLE_RATE, Samples
from tests.chaos.server import DIRECT
from tests.conftest import TINY, read_flac
from tests.http.conftest import wav
from tests.http.openai.realtime import COMPLETED, FAILED, pcm24
from tests.http.openai.realtime import connected as connected_realtime
from tests.http.wsclient import Client, connected

LOST_AFTER_S = 120.0
"""What has not been answered for so long is lost."""
PACE = 8
"""How much faster than real time the live client speaks."""
FRAME_S = 0.1
CLOSED_WITHIN_S = 0.5
PAUSE_S = 0.1
"""Between two things that a client asks for, and before it asks again where nobody answered."""

LENGTHS_S = {
    "request": (4, 12),
    "sse": (6, 30),
    "openai": (5, 10),
    "live": (9, 15),
    "realtime": (7, 11),
    "job": (20, 60),
}
"""Of the recordings of each door."""


class End(StrEnum):
    """How something that was asked for has ended."""

    DONE = "done"
    """With the result that an undisturbed server gives."""
    TOLD = "told"
    """Refused or failed, with a code."""
    CUT = "cut"
    """The connection went without a word: the client knows, and tries again."""
    LOST = "lost"
    """No answer, a wrong one, or a failure without a code."""


@dataclass(frozen=True)
class Account:
    """Of one thing that was asked for."""

    door: str
    end: End
    detail: str = ""
    request_id: str = ""
    """Under which the server's log has it, where it was let in."""


class Address(Protocol):
    """Where the server is."""

    @property
    def url(self) -> str: ...

    @property
    def ws_url(self) -> str: ...


@cache
def samples_of(door: str, number: int) -> Samples:
    """Real speech, another piece of it for each door and number."""
    speech = read_flac(TINY / "unseen" / "long.flac")
    length_s = LENGTHS_S[door][number]
    return np.roll(speech, -SAMPLE_RATE * 17 * number)[: SAMPLE_RATE * length_s]


@cache
def recording(door: str, number: int) -> bytes:
    """The same as a WAV file."""
    return wav(samples_of(door, number))


def code_of(answer: httpx2.Response) -> str | None:
    """The stable code of a refusal, in any door's words: OpenAI has codes for few errors, and a type for each."""
    try:
        body = answer.json()
    except ValueError:
        return None
    if not isinstance(body, dict):
        return None
    problem = body.get("error")
    code = problem.get("code") or problem.get("type") if isinstance(problem, dict) else body.get("code")
    return code if isinstance(code, str) else None


def ask(server: Address, number: int) -> tuple[Account, str]:
    """Have a recording transcribed by one request; the account of it and the text."""
    return _post(server, "request", "/v1/transcribe", content=recording("request", number))


def ask_openai(server: Address, number: int) -> tuple[Account, str]:
    """The same through the door in OpenAI's shape."""
    form = {"files": {"file": ("speech.wav", recording("openai", number))}, "data": {"model": "whisper-1"}}
    return _post(server, "openai", "/v1/audio/transcriptions", **form)


def _post(server: Address, door: str, path: str, **sent: Any) -> tuple[Account, str]:
    request_id = str(uuid.uuid4())
    headers = {"x-request-id": request_id}
    try:
        answer = httpx2.post(server.url + path, headers=headers, timeout=LOST_AFTER_S, **DIRECT, **sent)
    except httpx2.TimeoutException:
        return Account(door, End.LOST, f"no answer in {LOST_AFTER_S:.0f} s"), ""
    except httpx2.TransportError as error:
        return Account(door, End.CUT, type(error).__name__, request_id), ""
    if answer.status_code == 200:
        return Account(door, End.DONE), str(answer.json()["text"])
    return _refused(door, answer), ""


def _refused(door: str, answer: httpx2.Response) -> Account:
    code = code_of(answer)
    return Account(door, End.LOST if code is None else End.TOLD, code or answer.text[:200])


def read_events(server: Address, number: int) -> tuple[Account, str]:
    """Have a recording transcribed as a stream of events; the account of it and the text of all finals."""
    finals: list[str] = []
    url, content = f"{server.url}/v1/transcribe/stream", recording("sse", number)
    request_id = str(uuid.uuid4())
    headers = {"x-request-id": request_id}
    try:
        with httpx2.stream("POST", url, content=content, headers=headers, timeout=LOST_AFTER_S, **DIRECT) as answer:
            if answer.status_code != 200:
                answer.read()
                return _refused("sse", answer), ""
            for line in answer.iter_lines():
                if line.startswith("data: "):
                    event = json.loads(line.removeprefix("data: "))
                    if event["type"] == "error":
                        return Account("sse", End.TOLD, event["code"]), ""
                    finals.append(event["text"])
    except httpx2.TimeoutException:
        return Account("sse", End.LOST, f"no event in {LOST_AFTER_S:.0f} s"), ""
    except httpx2.TransportError as error:
        return Account("sse", End.CUT, type(error).__name__, request_id), ""
    return Account("sse", End.DONE), " ".join(filter(None, finals))


def speak(server: Address, number: int) -> tuple[Account, str]:
    """Say a recording in a live session; the account of it and the text of all finals."""
    finals: list[str] = []
    request_id = str(uuid.uuid4())
    try:
        with connected(server, additional_headers={"x-request-id": request_id}) as client:
            first = client.read()
            if first["type"] != "ready":
                return Account("live", End.TOLD if "code" in first else End.LOST, str(first)), ""
            client.send(type="configure", sample_rate=SAMPLE_RATE)
            samples, frame = samples_of("live", number), int(FRAME_S * SAMPLE_RATE)
            told = threading.Thread(target=_listen, args=(client, finals), daemon=True)
            told.start()
            try:
                for start in range(0, len(samples), frame):
                    client.say(samples[start : start + frame])
                    time.sleep(FRAME_S / PACE)
                client.send(type="stop")
            except ConnectionClosed:
                pass  # what the server has said of it is read to the end all the same
            told.join(LOST_AFTER_S)
            if told.is_alive():
                return Account("live", End.LOST, f"no end in {LOST_AFTER_S:.0f} s after stop"), ""
            return _account_of_session(client, finals, request_id), " ".join(filter(None, finals))
    except (TimeoutError, AssertionError) as error:
        return Account("live", End.LOST, f"no session: {error!r}"), ""
    except InvalidStatus as error:
        return Account("live", End.TOLD, str(error)), ""
    except (InvalidHandshake, ConnectionClosed, OSError, EOFError) as error:
        if isinstance(error, ConnectionClosed) and error.rcvd is not None:
            return Account("live", End.TOLD, str(error.rcvd)), ""
        return Account("live", End.CUT, repr(error), request_id), ""


def _listen(client: Client, finals: list[str]) -> None:
    """Take the text of finals, and `error CODE` for errors, until the connection ends."""
    while True:
        try:
            message = json.loads(client.connection.recv())
        except ConnectionClosed:
            return
        if message["type"] == "final":
            finals.append(message["text"])
        elif message["type"] == "error":
            finals.append(f"error {message['code']}")


def _account_of_session(client: Client, finals: list[str], request_id: str) -> Account:
    code, reason = client.ended
    errors = [text for text in finals if text.startswith("error ")]
    if errors:
        return Account("live", End.TOLD, errors[0])
    if code == 1006:
        return Account("live", End.CUT, "no Close", request_id)
    return Account("live", End.DONE) if code == 1000 else Account("live", End.TOLD, f"{code} {reason}")


def dictate(server: Address, number: int) -> tuple[Account, str]:
    """Say a recording in a realtime session and commit it; the account of it and the transcript."""
    data = pcm24(samples_of("realtime", number))
    frame = int(FRAME_S * 24_000) * 2
    request_id = str(uuid.uuid4())
    try:
        with connected_realtime(server, additional_headers={"x-request-id": request_id}) as client:
            client.send(
                "session.update",
                session={"type": "transcription", "audio": {"input": {"turn_detection": None}}},
            )
            for wanted in ("session.created", "session.updated"):
                event = client.read(LOST_AFTER_S)
                if event["type"] == "error":
                    return Account("realtime", End.TOLD, event["error"]["code"] or event["error"]["type"]), ""
                assert event["type"] == wanted, event
            for start in range(0, len(data), frame):
                client.append(data[start : start + frame])
                time.sleep(FRAME_S / PACE)
            client.send("input_audio_buffer.commit")
            while True:
                event = client.read(LOST_AFTER_S)
                if event["type"] == COMPLETED:
                    with suppress(TimeoutError):  # a server that drains has committed by itself, and closes
                        client.read(CLOSED_WITHIN_S)
                    return Account("realtime", End.DONE), event["transcript"]
                if event["type"] in (FAILED, "error"):
                    return Account("realtime", End.TOLD, event["error"]["code"] or event["error"]["type"]), ""
    except (TimeoutError, AssertionError) as error:
        return Account("realtime", End.LOST, repr(error)), ""
    except InvalidHandshake as error:
        return Account("realtime", End.TOLD, str(error)), ""
    except ConnectionClosed as error:
        told = error.rcvd is not None  # a Close, which has its reason
        return Account("realtime", End.TOLD if told else End.CUT, str(error), request_id), ""
    except (OSError, EOFError) as error:
        return Account("realtime", End.CUT, repr(error), request_id), ""


DOORS: dict[str, Callable[[Address, int], tuple[Account, str]]] = {
    "request": ask,
    "sse": read_events,
    "openai": ask_openai,
    "live": speak,
    "realtime": dictate,
}
"""What clients do again and again, but for jobs."""
