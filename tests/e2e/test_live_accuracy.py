"""Streaming costs no accuracy: the small model, held-out speech, real sockets."""

import asyncio
import json
from pathlib import Path

import jiwer
import numpy as np
import pytest
import soxr
import websockets

from molva.engines.base import Engine, Options
from molva.engines.gigaam.model import GigaamFiles, load_gigaam
from molva.engines.silero import load_vad
from molva.http.state import Limits
from molva.runtime.scheduler import Scheduler
from molva.runtime.transcription import transcribe_all
from molva.samples import SAMPLE_RATE, Samples, seconds
from molva.speech.live import Decode, Final, LiveRule, LiveSession
from molva.transcript import Transcript
from tests.conftest import SEEN, TINY, UNSEEN, Clip, read_flac
from tests.http.conftest import serving, wav
from tests.text import plain

LONG = read_flac(TINY / "unseen" / "long.flac")
SEGMENTS = json.loads((TINY / "unseen" / "long.json").read_text(encoding="utf-8"))["segments"]
PACED = 7
"""Segments that are streamed in real time."""


def load(folder: Path, head: str) -> Engine:
    files = GigaamFiles(
        encoder=folder / ("v3_ctc.onnx" if head == "ctc" else "v3_rnnt_encoder.onnx"),
        vocabulary=folder / "v3_vocab.txt",
        config=folder / "config.json",
        decoder=None if head == "ctc" else folder / "v3_rnnt_decoder.onnx",
        joint=None if head == "ctc" else folder / "v3_rnnt_joint.onnx",
    )
    return load_gigaam(files, model=f"gigaam-v3-{head}", variant=head)


async def stream(url: str, pcm: bytes, frame: int, *, rate: int, pace: bool) -> list[str]:
    """Texts of the finals for audio that is sent in frames of `frame` bytes."""
    finals = []

    async def send(socket: websockets.ClientConnection) -> None:
        await socket.send(json.dumps({"type": "configure", "sample_rate": rate}))
        started = asyncio.get_running_loop().time()
        for start in range(0, len(pcm), frame):
            await socket.send(pcm[start : start + frame])
            if pace:
                due = started + (start + frame) / 2 / rate
                await asyncio.sleep(due - asyncio.get_running_loop().time())
        await socket.send('{"type":"stop"}')

    async with websockets.connect(url) as socket:
        assert json.loads(await socket.recv())["type"] == "ready"
        sending = asyncio.ensure_future(send(socket))
        async for text in socket:
            message = json.loads(text)
            assert message["type"] in ("partial", "final")
            if message["type"] == "final":
                finals.append(message["text"])
        await sending
    return finals


def pcm16(samples: Samples) -> bytes:
    return (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_finals_at_real_time_pace_are_as_accurate_as_the_file(tiny_dir: Path) -> None:
    """Within half a point of word error: 70 s in 20 ms frames at 48 kHz, both heads."""
    reference = plain(" ".join(segment["reference"] for segment in SEGMENTS[:PACED]))
    at_48k = soxr.resample(LONG[: round(SEGMENTS[PACED]["start"] * SAMPLE_RATE)], SAMPLE_RATE, 48_000)

    async def both(urls: list[str]) -> list[list[str]]:
        return await asyncio.gather(*(stream(url, pcm16(at_48k), 1920, rate=48_000, pace=True) for url in urls))

    limits = Limits(body_bytes=20_000_000, max_audio_s=7200, inference_timeout_s=60)
    with (
        serving(load(tiny_dir, "rnnt"), limits=limits) as rnnt,
        serving(load(tiny_dir, "ctc"), limits=limits) as ctc,
    ):
        heard = asyncio.run(both([rnnt.ws_url, ctc.ws_url]))
        files = [server.client.post("/v1/transcribe", content=wav(at_48k, 48_000)) for server in (rnnt, ctc)]
    for finals, answer in zip(heard, files, strict=True):
        assert answer.status_code == 200
        of_file = jiwer.wer(reference, plain(answer.json()["text"]))
        of_stream = jiwer.wer(reference, plain(" ".join(finals)))
        assert of_stream <= of_file + 0.005
        assert of_file < 0.68


def position_of(window: Samples, audio: Samples) -> int:
    """Where `window` was cut out of `audio`."""
    offset = audio.tobytes().find(window.tobytes())
    assert offset >= 0
    assert offset % 4 == 0
    return offset // 4


def listen(engine: Engine, audio: Samples) -> list[tuple[Final, Decode]]:
    """Each utterance's final and the window it came from; partials are answered at once."""
    session = LiveSession(load_vad(), LiveRule())
    told: list[tuple[Final, Decode]] = []
    newest: Decode | None = None
    blocks = [audio[start : start + 320] for start in range(0, audio.size, 320)]
    waiting = [action for block in blocks for action in session.feed(block)]
    waiting += session.flush()
    while waiting:
        action = waiting.pop(0)
        if isinstance(action, Decode):
            newest = action
            waiting[:0] = session.answer(action, engine.transcribe([action.samples], Options())[0])
        elif isinstance(action, Final) and action.text:
            assert newest is not None
            told.append((action, newest))
    return told


@pytest.mark.parametrize("head", ["rnnt", "ctc"])
def test_a_final_is_the_file_decode_of_its_cut(tiny_dir: Path, head: str) -> None:
    """Exactly the same text, and the same word times, counted from the session's start."""
    engine = load(tiny_dir, head)
    scheduler = Scheduler(1)
    lane = scheduler.lane(engine)

    def transcribe(cut: Samples) -> Transcript:
        return transcribe_all(cut, lane, load_vad(), Options())

    told = listen(engine, LONG)
    assert len(told) >= 14
    for final, decode in told:
        of_file = transcribe(decode.samples)
        start = seconds(position_of(decode.samples, LONG))
        assert final.text == of_file.text
        assert [word.text for word in final.words] == [word.text for word in of_file.words]
        times = [[(word.start, word.end) for word in heard.words] for heard in (final, of_file)]
        assert np.allclose(times[0], np.array(times[1]) + start, atol=0.0011)
    scheduler.close()


@pytest.mark.slow
def test_frames_of_any_size_give_the_same_finals(tiny_dir: Path) -> None:
    rate = 8_000
    pcm = pcm16(soxr.resample(np.concatenate([SEEN[3].samples, np.zeros(16_000, np.float32)]), SAMPLE_RATE, rate))
    with serving(load(tiny_dir, "rnnt")) as server:
        heard = [
            asyncio.run(stream(server.ws_url, pcm, frame, rate=rate, pace=False))
            for frame in (1, 4096, rate // 10 * 2, rate * 5 * 2)
        ]
    assert heard == [heard[0]] * 4
    assert heard[0][0]


@pytest.mark.parametrize("clip", UNSEEN, ids=lambda clip: clip.path.stem)
def test_partials_and_finals_are_asked_for_in_time(clip: Clip) -> None:
    """The first partial 0.6 s after the onset, the final by 0.5 s of silence and what the VAD takes to notice it."""
    session = LiveSession(load_vad(), LiveRule())
    audio = np.concatenate([clip.samples, np.zeros(SAMPLE_RATE, np.float32)])
    requested = []
    for start in range(0, audio.size, 320):
        requested += [(seconds(start + 320), action) for action in session.feed(audio[start : start + 320])]
    assert clip.speech_start is not None
    assert clip.speech_end is not None
    assert clip.speech_start < requested[0][0] <= clip.speech_start + 0.6
    heard_end = requested[-1][0]
    assert isinstance(requested[-1][1], Decode)
    assert requested[-1][1].is_final
    assert clip.speech_end + 0.4 < heard_end <= clip.speech_end + 0.5 + 0.1
