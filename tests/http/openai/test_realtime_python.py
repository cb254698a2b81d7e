"""OpenAI's own Python package against /v1/realtime, unmodified, with real speech."""

import asyncio
import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI, OpenAI

from molva.engines.gigaam.model import load_gigaam
from tests.conftest import SEEN
from tests.engines.gigaam.test_model import files_of
from tests.http.conftest import Running, serving
from tests.http.openai.realtime import COMPLETED, DELTA, pcm24
from tests.http.wsclient import silence

# The package opens its connections in a way that websockets no longer likes, and deprecates its beta classes.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

CLIPS = tuple(clip for clip in SEEN if clip.path.stem in {"ru_0143", "ru_0537"})
PIECE = 9_600
"""Bytes of 0.2 s."""


@pytest.fixture(scope="module")
def server(tiny_dir: Path) -> Iterator[Running]:
    with serving(load_gigaam(files_of("rnnt", tiny_dir), model="tiny", variant="rnnt")) as running:
        yield running


def pieces(data: bytes) -> list[str]:
    return [base64.b64encode(data[start : start + PIECE]).decode() for start in range(0, len(data), PIECE)]


def heard(connection: Any, count: int) -> list[str]:
    """So many transcripts, each of which was told in deltas before."""
    deltas: dict[str, str] = {}
    transcripts: list[str] = []
    for event in connection:
        assert event.type != "error", event
        if event.type == DELTA:
            deltas[event.item_id] = deltas.get(event.item_id, "") + event.delta
        elif event.type == COMPLETED:
            assert deltas[event.item_id] == event.transcript
            assert event.usage.type == "duration"
            transcripts.append(event.transcript)
            if len(transcripts) == count:
                break
    return transcripts


def test_ga_with_server_vad(server: Running) -> None:
    session: Any = {
        "type": "transcription",
        "audio": {
            "input": {
                "format": {"type": "audio/pcm", "rate": 24000},
                "transcription": {"model": "gpt-4o-transcribe", "language": "ru"},
                "turn_detection": {"type": "server_vad"},
            }
        },
    }
    with (
        OpenAI(base_url=f"{server.url}/v1", api_key="none") as client,
        client.realtime.connect(extra_query={"intent": "transcription"}) as connection,
    ):
        connection.session.update(session=session)
        for clip in CLIPS:
            for piece in pieces(pcm24(clip.samples, silence(1))):
                connection.input_audio_buffer.append(audio=piece)
        assert heard(connection, len(CLIPS)) == [clip.rnnt for clip in CLIPS]


def test_ga_with_commits_on_an_event_loop(server: Running) -> None:
    session: Any = {"type": "transcription", "audio": {"input": {"turn_detection": None}}}

    async def run() -> list[str]:
        transcripts = []
        async with (
            AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none") as client,
            client.realtime.connect(model="gpt-4o-transcribe") as connection,
        ):
            await connection.session.update(session=session)
            for clip in CLIPS:
                for piece in pieces(pcm24(clip.samples)):
                    await connection.input_audio_buffer.append(audio=piece)
                await connection.input_audio_buffer.commit()
                async for event in connection:
                    assert event.type != "error", event
                    if event.type == "conversation.item.input_audio_transcription.completed":
                        transcripts.append(event.transcript)
                        break
        return transcripts

    assert asyncio.run(run()) == [clip.rnnt for clip in CLIPS]


def test_beta(server: Running) -> None:
    address = f"{server.url}/v1"
    with (
        OpenAI(base_url=address, websocket_base_url=address.replace("http", "ws", 1), api_key="none") as client,
        client.beta.realtime.connect(model="gpt-4o-transcribe", extra_query={"intent": "transcription"}) as connection,
    ):
        assert str(connection.recv().type) == "transcription_session.created"
        connection.transcription_session.update(
            session={"input_audio_format": "pcm16", "turn_detection": {"type": "server_vad"}}
        )
        updated = connection.recv()
        assert updated.type == "transcription_session.updated"
        assert updated.session.input_audio_format == "pcm16"
        for piece in pieces(pcm24(CLIPS[0].samples, silence(1))):
            connection.input_audio_buffer.append(audio=piece)
        assert heard(connection, 1) == [CLIPS[0].rnnt]


def test_a_page_with_a_token(server: Running) -> None:
    session: Any = {"type": "transcription", "audio": {"input": {"turn_detection": None}}}
    with OpenAI(base_url=f"{server.url}/v1", api_key="none") as client:
        token = client.realtime.client_secrets.create(session=session).value
    with (
        OpenAI(base_url=f"{server.url}/v1", api_key=token) as page,
        page.realtime.connect(extra_query={"intent": "transcription"}) as connection,
    ):
        for piece in pieces(pcm24(CLIPS[0].samples)):
            connection.input_audio_buffer.append(audio=piece)
        connection.input_audio_buffer.commit()
        assert heard(connection, 1) == [CLIPS[0].rnnt]
