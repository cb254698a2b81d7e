"""What the tests of OpenAI's door share: uploads, and servers that must leave none behind."""

import json
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest

from molva.engines.base import Engine, Hypothesis, Options
from molva.engines.fake import FakeEngine, Script, count_seconds
from molva.http.state import ServerState
from molva.models.catalog import CATALOG
from molva.models.store import ModelStore
from molva.runtime.loading import sample_speech
from molva.samples import Samples
from molva.transcript import word_separator
from tests.http.conftest import Running, serving, wav

SPEECH = wav(sample_speech())
SPEECH_TEXT = "слово0 слово1 слово2 слово3 слово4"
SILENCE = wav(np.zeros(16_000, np.float32))
LONG_SPEECH = wav(np.tile(np.concatenate([sample_speech(), np.zeros(4 * 16_000, np.float32)]), 6))
"""Six utterances with pauses of four seconds: 54 s, six windows."""

TRANSCRIPTIONS = "/v1/audio/transcriptions"
TRANSLATIONS = "/v1/audio/translations"
ROUTES = [TRANSCRIPTIONS, TRANSLATIONS]


class Speaker(FakeEngine):
    """A fake engine under the name of a model of the catalog. It hears one language, and spaces it as it is written."""

    def __init__(self, model: str, language: str, script: Script = count_seconds) -> None:
        super().__init__(script)
        spec = CATALOG[model]
        self.language = language
        self.info = replace(
            self.info,
            model=model,
            family="whisper" if spec.family == "whisper" else "gigaam",
            languages=spec.languages,
            tasks=("transcribe", "translate") if spec.translates else ("transcribe",),
        )

    def _hypothesis(self, window: Samples, options: Options) -> Hypothesis:
        heard = super()._hypothesis(window, options)
        language = options.language or self.language
        text = word_separator("en" if options.task == "translate" else language).join(word.text for word in heard.words)
        return replace(heard, text=text, language=language)


def uploads(state: ServerState) -> list[Path]:
    """Files that the server keeps now."""
    return [path for path in state.spool.folder.iterdir() if path.name != ".lock"]


@contextmanager
def serving_openai(engine: Engine | None, **options: Any) -> Iterator[Running]:
    """A server which has every place free and no upload left when the block ends."""
    with serving(engine, **options) as server:
        yield server
        server.wait_until(lambda state: not uploads(state))
        if engine is not None and not server.state.draining:
            recognizer = server.state.recognizer
            assert recognizer is not None
            server.wait_until(lambda state: not recognizer.admission.sessions.taken)


def store_of(folder: Path, *models: str) -> ModelStore:
    """A store that takes these models of the catalog for installed."""
    store = ModelStore(folder)
    for name in models:
        for file in CATALOG[name].files:
            path = store.folder(CATALOG[name]) / file.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    return store


@pytest.fixture
def ask(server: Running) -> Callable[..., httpx2.Response]:
    """Send a recording with fields to the module's server."""

    def ask(*, path: str = TRANSCRIPTIONS, file: bytes = SPEECH, **fields: Any) -> httpx2.Response:
        return post(server, file, path=path, **fields)

    return ask


def post(server: Running, file: bytes = SPEECH, *, path: str = TRANSCRIPTIONS, **fields: Any) -> httpx2.Response:
    """A recording and fields, sent as a form on a connection of its own."""
    return httpx2.post(server.url + path, files={"file": ("speech.wav", file)}, data=fields, timeout=30)


@contextmanager
def sent(server: Running, file: bytes, *, path: str = TRANSCRIPTIONS, cut: int = 0, **fields: str) -> Iterator[None]:
    """A request whose client goes away, without a word, at the end of the block; `cut` bytes of it never come."""
    request = httpx2.Request("POST", server.url + path, files={"file": ("speech.wav", file)}, data=fields)
    body = request.read()
    head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    address = (request.url.host, request.url.port or 80)
    with socket.create_connection(address, 10) as connection:
        connection.sendall(f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body[: len(body) - cut])
        yield


def told(answer: httpx2.Response) -> dict[str, Any]:
    """What stands under "error", which is all there is, with its four keys."""
    body = answer.json()
    assert body.keys() == {"error"}
    assert body["error"].keys() == {"message", "type", "param", "code"}
    assert body["error"]["message"]
    error: dict[str, Any] = body["error"]
    return error


def events(answer: httpx2.Response) -> list[dict[str, Any]]:
    """The events of a stream, whose frames must be exactly as the contract has them; `[DONE]` is one without a type."""
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-cache"
    frames = answer.text.split("\n\n")
    assert frames.pop() == ""
    assert all(frame == ": keep-alive" or re.fullmatch(r"data: (\{.*\}|\[DONE\])", frame) for frame in frames)
    data = [frame.removeprefix("data: ") for frame in frames if frame != ": keep-alive"]
    assert "[DONE]" not in data[:-1]
    return [{} if text == "[DONE]" else json.loads(text) for text in data]
