"""Says a recording to an OpenAI transcription service of Pipecat, in a pipeline as its users build it.

Run by the Python of .venv-clients: `pipecat_driver.py VARIANT BASE_URL API_KEY RECORDING WORDS`. Waits for as many
words as were said, and prints what came as one JSON object.
"""

import asyncio
import contextlib
import json
import sys
import wave
from typing import Any

from pipecat.audio.utils import create_stream_resampler
from pipecat.audio.vad.silero import SileroVADAnalyzer
from pipecat.audio.vad.vad_analyzer import VADParams
from pipecat.frames.frames import (
    EndFrame,
    InputAudioRawFrame,
    InterimTranscriptionFrame,
    ProposedUserStoppedSpeakingFrame,
    TranscriptionFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.audio.vad_processor import VADProcessor
from pipecat.services.openai.stt import OpenAIRealtimeSTTService, OpenAISTTService
from pipecat.transcriptions.language import Language
from pipecat.workers.runner import WorkerRunner

FRAME_S = 0.02
SILENCE_S = 2.0
"""After the speech: more than any of the detectors here waits for."""
PATIENCE_S = 60.0
"""For the last word, after the sound."""


def segmented(base_url: str, api_key: str) -> list[Any]:
    """An upload for each utterance."""
    stt = OpenAISTTService(
        base_url=base_url,
        api_key=api_key,
        settings=OpenAISTTService.Settings(language=Language.RU),
    )
    return [VADProcessor(vad_analyzer=SileroVADAnalyzer()), stt]


def probabilities(base_url: str, api_key: str) -> list[Any]:
    """The same with a probability for each token."""
    stt = OpenAISTTService(
        base_url=base_url,
        api_key=api_key,
        include_prob_metrics=True,
        settings=OpenAISTTService.Settings(language=Language.RU),
    )
    return [VADProcessor(vad_analyzer=SileroVADAnalyzer()), stt]


def realtime(base_url: str, api_key: str) -> list[Any]:
    """A session; the pipeline hears where an utterance ends."""
    stt = OpenAIRealtimeSTTService(
        base_url=base_url,
        api_key=api_key,
        settings=OpenAIRealtimeSTTService.Settings(language=Language.RU),
    )
    return [VADProcessor(vad_analyzer=SileroVADAnalyzer(params=VADParams(stop_secs=0.8))), steadied(stt)]


def realtime_server_vad(base_url: str, api_key: str) -> list[Any]:
    """A session; the server hears where an utterance ends."""
    stt = OpenAIRealtimeSTTService(
        base_url=base_url,
        api_key=api_key,
        turn_detection={"type": "server_vad"},
        settings=OpenAIRealtimeSTTService.Settings(model="gpt-transcribe", language=Language.RU),
    )
    return [steadied(stt)]


def steadied(stt: OpenAIRealtimeSTTService) -> OpenAIRealtimeSTTService:
    """One that sends the same sound on a slow machine, too.

    By itself its resampler drops what it holds where no sound has come for 0.2 s, and the words may be others then.
    """
    stt._resampler = create_stream_resampler(clear_after_secs=None)
    return stt


UPLOADS = (segmented, probabilities)
SESSIONS = (realtime, realtime_server_vad)
VARIANTS = {variant.__name__.replace("_", "-"): variant for variant in UPLOADS + SESSIONS}


async def converse(processors: list[Any], recording: str, *, words: int, pause_s: float) -> dict[str, list[Any]]:
    """Play the recording, wait for the finals of all that was said, and end."""
    heard: dict[str, list[Any]] = {"finals": [], "partials": [], "ends": [], "errors": [], "logprobs": []}
    worker = PipelineWorker(Pipeline(processors))
    started, settled = asyncio.Event(), asyncio.Event()

    async def on_started(_worker: Any, _frame: Any) -> None:
        started.set()

    async def on_frame(_worker: Any, frame: Any) -> None:
        if isinstance(frame, TranscriptionFrame):
            heard["finals"].append(frame.text)
            heard["logprobs"] += [token.logprob for token in getattr(frame.result, "logprobs", None) or []]
        elif isinstance(frame, InterimTranscriptionFrame):
            heard["partials"].append(frame.text)
        else:
            heard["ends"].append(type(frame).__name__)
        if len(" ".join(heard["finals"]).split()) >= words:
            settled.set()

    async def on_error(_worker: Any, frame: Any) -> None:
        heard["errors"].append(frame.error)
        settled.set()

    worker.set_reached_downstream_filter(
        (TranscriptionFrame, InterimTranscriptionFrame, VADUserStoppedSpeakingFrame, ProposedUserStoppedSpeakingFrame)
    )
    worker.add_event_handler("on_pipeline_started", on_started)
    worker.add_event_handler("on_frame_reached_downstream", on_frame)
    worker.add_event_handler("on_pipeline_error", on_error)

    async def play() -> None:
        await started.wait()
        with wave.open(recording) as file:
            rate = file.getframerate()
            audio = file.readframes(file.getnframes()) + bytes(2 * round(SILENCE_S * rate))
        size = 2 * round(FRAME_S * rate)
        clock = asyncio.get_running_loop()
        begin = clock.time()
        for i, position in enumerate(range(0, len(audio), size)):
            await asyncio.sleep(begin + i * pause_s - clock.time())
            frame = InputAudioRawFrame(audio=audio[position : position + size], sample_rate=rate, num_channels=1)
            await worker.queue_frame(frame)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(settled.wait(), PATIENCE_S)
        await worker.queue_frame(EndFrame())

    runner = WorkerRunner()
    await runner.add_workers(worker)
    await asyncio.gather(runner.run(), play())
    return heard


async def main(variant: str, base_url: str, api_key: str, recording: str, words: str) -> None:
    session = VARIANTS[variant] in SESSIONS
    if session:
        base_url = base_url.replace("http", "ws", 1) + "/realtime"
    processors, pause_s = VARIANTS[variant](base_url, api_key), FRAME_S if session else 0.0
    json.dump(await converse(processors, recording, words=int(words), pause_s=pause_s), sys.stdout)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
