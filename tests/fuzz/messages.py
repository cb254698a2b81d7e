"""Messages of live clients, one by one."""

import json
from contextlib import suppress

from pydantic import ValidationError

from molva.http.openai.realtime_events import Append, BetaUpdate, EventError, GaUpdate, event_error, parse
from molva.http.openai.realtime_settings import DEFAULT, Settings, patched
from molva.http.websocket import CLIENT_MESSAGE
from molva.speech.live import LiveRule


def native_messages(data: bytes) -> None:
    """The text of a message."""
    with suppress(ValidationError):
        CLIENT_MESSAGE.validate_json(data.decode("utf-8", "replace"))


def realtime_events(data: bytes) -> None:
    """Events of one session, a line for each."""
    settings = DEFAULT
    for text in data.decode("utf-8", "replace").split("\n"):
        try:
            settings = _take(settings, text)
        except EventError as error:
            json.dumps(event_error(error), ensure_ascii=False, allow_nan=False).encode()


def _take(settings: Settings, text: str) -> Settings:
    """What the session is set to after an event. Raises EventError."""
    event = parse(text)
    if isinstance(event, Append):
        assert len(settings.to_pcm16(event.decode())) % 2 == 0 or settings.format.type == "audio/pcm"
    elif isinstance(event, GaUpdate | BetaUpdate):
        settings = patched(settings, event.session.patch)
        settings.rule(LiveRule())
        hash(settings.options)
        for beta in (False, True):
            told = settings.told("whisper-base", beta=beta)
            json.dumps(told, ensure_ascii=False, allow_nan=False).encode()
    return settings
