"""Streams a WAV file to a speech-to-text server and prints what it hears, while it hears it.

    pip install websockets
    python live.py ws://127.0.0.1:9876/v1/ws speech.wav

The file must be 16-bit mono, at 8000, 16000, 24000, 44100 or 48000 Hz. A microphone is the same: send what it records.
"""

import asyncio
import json
import sys
import wave

from websockets.asyncio.client import ClientConnection, connect

FRAMES_PER_SECOND = 10


async def main(url: str, path: str) -> None:
    with wave.open(path) as file:
        if (file.getnchannels(), file.getsampwidth()) != (1, 2):
            sys.exit(f"{path}: not 16-bit mono")
        async with connect(url) as server:
            # The server speaks first, as soon as it has a place for us. It may also say that it is busy.
            ready = json.loads(await server.recv())
            if ready["type"] != "ready":
                sys.exit(ready["message"])
            # Audio without this is taken for 48 kHz.
            await server.send(json.dumps({"type": "configure", "sample_rate": file.getframerate()}))

            # Sending and receiving go on at the same time: the text comes while we speak.
            sending = asyncio.create_task(send(server, file))
            await receive(server)
            await sending


async def send(server: ClientConnection, file: wave.Wave_read) -> None:
    """Send the file as fast as it would be spoken."""
    while frame := file.readframes(file.getframerate() // FRAMES_PER_SECOND):
        await server.send(frame)  # bytes become a binary message
        await asyncio.sleep(1 / FRAMES_PER_SECOND)
    await server.send('{"type": "stop"}')  # brings the last final


async def receive(server: ClientConnection) -> None:
    """Print what comes. After our stop and its last final, the server closes the connection."""
    async for text in server:
        message = json.loads(text)
        match message["type"]:
            case "partial":  # what is heard so far of this utterance; the next one replaces it
                print("...", message["text"], flush=True)
            case "final":  # the whole utterance, which never changes again
                print(">>>", message["text"], flush=True)
            case "error":
                print(message["message"], file=sys.stderr)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: live.py ws://127.0.0.1:9876/v1/ws FILE.wav")
    try:
        asyncio.run(main(sys.argv[1], sys.argv[2]))
    except OSError as error:  # no server, or no file
        sys.exit(str(error))
