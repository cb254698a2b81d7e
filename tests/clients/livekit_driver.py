"""Says a recording to the OpenAI speech-to-text class of LiveKit's agents, as its users call it.

Run by the Python of .venv-clients: `livekit_driver.py VARIANT BASE_URL API_KEY RECORDING WORDS`. Waits for as many
words as were said, and prints what came as one JSON object.
"""

import asyncio
import json
import sys
import wave
from collections.abc import Iterator
from typing import Any

from livekit import rtc
from livekit.agents import inference, stt, utils
from livekit.plugins import openai

FRAME_S = 0.02
SILENCE_S = 2.0
"""After the speech: more than any of the detectors here waits for."""
PATIENCE_S = 60.0
"""For the last word, after the sound."""


def recognize(base_url: str, api_key: str) -> Any:
    """An upload of the whole recording."""
    return openai.STT(base_url=base_url, api_key=api_key, language="ru")


def recognize_whisper(base_url: str, api_key: str) -> Any:
    """The same by the model of which LiveKit asks for more than text."""
    return openai.STT(base_url=base_url, api_key=api_key, model="whisper-1", language="ru")


def recognize_languages(base_url: str, api_key: str) -> Any:
    """The same by a model to which LiveKit sends a list of languages."""
    return openai.STT(base_url=base_url, api_key=api_key, model="gpt-transcribe", language="ru")


def segmented(base_url: str, api_key: str) -> Any:
    """An upload for each utterance, as an agent's session does it."""
    return stt.StreamAdapter(
        stt=openai.STT(base_url=base_url, api_key=api_key, language="ru"),
        vad=inference.VAD(model="silero", min_silence_duration=0.8),
    )


def realtime(base_url: str, api_key: str) -> Any:
    """A session; the server hears where an utterance ends."""
    return openai.STT(base_url=base_url, api_key=api_key, language="ru", use_realtime=True)


def realtime_local_vad(base_url: str, api_key: str) -> Any:
    """A session; LiveKit hears where an utterance ends."""
    return openai.STT(
        base_url=base_url,
        api_key=api_key,
        model="gpt-realtime-whisper",
        language="ru",
        vad=inference.VAD(model="silero", min_silence_duration=0.8),
    )


def realtime_languages(base_url: str, api_key: str) -> Any:
    """The same by a model to which LiveKit sends a list of languages and one of keywords."""
    return openai.STT(
        base_url=base_url,
        api_key=api_key,
        model="gpt-live-transcribe",
        language="ru",
        vad=inference.VAD(model="silero", min_silence_duration=0.8),
    )


UPLOADS = (recognize, recognize_whisper, recognize_languages)
SESSIONS = (realtime, realtime_local_vad, realtime_languages)
VARIANTS = {variant.__name__.replace("_", "-"): variant for variant in (*UPLOADS, segmented, *SESSIONS)}


def frames(recording: str, *, silence_s: float) -> Iterator[Any]:
    """The recording and silence after it."""
    with wave.open(recording) as file:
        rate = file.getframerate()
        audio = file.readframes(file.getnframes()) + bytes(2 * round(silence_s * rate))
    size = 2 * round(FRAME_S * rate)
    for position in range(0, len(audio), size):
        piece = audio[position : position + size]
        yield rtc.AudioFrame(data=piece, sample_rate=rate, num_channels=1, samples_per_channel=len(piece) // 2)


async def upload(client: Any, recording: str) -> dict[str, Any]:
    """Send the recording whole."""
    event = await client.recognize(buffer=list(frames(recording, silence_s=0)))
    best = event.alternatives[0]
    return {"finals": [best.text], "languages": [best.language]}


async def converse(client: Any, recording: str, *, words: int, pause_s: float) -> dict[str, Any]:
    """Play the recording and wait for the finals of all that was said."""
    heard: dict[str, list[str]] = {"events": [], "finals": [], "partials": [], "languages": [], "errors": []}
    client.on("error", lambda error: heard["errors"].append(str(error)))
    stream = client.stream()
    settled = asyncio.Event()

    async def listen() -> None:
        async for event in stream:
            heard["events"].append(event.type.value)
            if event.type == stt.SpeechEventType.FINAL_TRANSCRIPT:
                heard["finals"].append(event.alternatives[0].text)
                heard["languages"].append(event.alternatives[0].language)
                if len(" ".join(heard["finals"]).split()) >= words:
                    settled.set()
            elif event.type == stt.SpeechEventType.INTERIM_TRANSCRIPT:
                heard["partials"].append(event.alternatives[0].text)

    listening = asyncio.create_task(listen())
    clock = asyncio.get_running_loop()
    begin = clock.time()
    for i, frame in enumerate(frames(recording, silence_s=SILENCE_S)):
        await asyncio.sleep(begin + i * pause_s - clock.time())
        stream.push_frame(frame)
    arriving = asyncio.create_task(settled.wait())
    await asyncio.wait([arriving, listening], timeout=PATIENCE_S, return_when=asyncio.FIRST_COMPLETED)
    arriving.cancel()
    await stream.aclose()
    await asyncio.wait([listening])
    return heard


async def main(variant: str, base_url: str, api_key: str, recording: str, words: str) -> None:
    async with utils.http_context.open():
        client = VARIANTS[variant](base_url, api_key)
        if VARIANTS[variant] in UPLOADS:
            heard = await upload(client, recording)
        else:
            pause_s = FRAME_S if VARIANTS[variant] in SESSIONS else 0.0
            heard = await converse(client, recording, words=int(words), pause_s=pause_s)
        await client.aclose()
    json.dump(heard, sys.stdout)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
