"""Who said what, live: plays a recording to /v1/ws, and holds the speakers of the words in finals against its turns."""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.optimize import linear_sum_assignment
from websockets.asyncio.client import connect

from bench.diarization import read_turns
from bench.process import running_server
from bench.recording import FRAME_S, RATE, Recording, read
from molva.transcript import Turn, Word

LEARNING_S = 20.0
"""What comes before is not judged: voices have to be heard first."""
MIN_RIGHT = 0.9


async def play(url: str, recording: Recording, pace: float) -> list[Word]:
    """The words of all finals. `pace`: how many times faster than real time."""
    words: list[Word] = []
    async with connect(url, compression=None, max_queue=None, ping_interval=None) as line:
        if not json.loads(await line.recv()).get("diarization"):
            raise RuntimeError("the server has no speaker models")
        await line.send(json.dumps({"type": "configure", "sample_rate": RATE, "diarization": True}))

        async def receive() -> None:
            async for text in line:
                message = json.loads(text)
                if message["type"] == "final":
                    words.extend(
                        Word(told["word"], told["start"], told["end"], told["confidence"], told.get("speaker"))
                        for told in message["words"]
                    )

        receiving = asyncio.ensure_future(receive())
        start = asyncio.get_running_loop().time()
        for number, frame in enumerate(recording.frames):
            await asyncio.sleep(max(start + number * FRAME_S / pace - asyncio.get_running_loop().time(), 0))
            await line.send(frame)
        await line.send('{"type":"stop"}')
        await receiving
    return words


def right_words(words: Sequence[Word], turns: Sequence[Turn]) -> list[bool]:
    """Whether each word has its speaker, under the one mapping of numbers to names that suits the whole best.

    A word in no turn counts as one of the nearest.
    """

    def distance(word: Word, turn: Turn) -> float:
        middle = (word.start + word.end) / 2
        return max(turn.start - middle, middle - turn.end, 0.0)

    told = [min(turns, key=lambda turn: distance(word, turn)).speaker for word in words]
    numbers = sorted({word.speaker for word in words if word.speaker is not None})
    together = np.zeros((len(numbers), max(told, default=0) + 1))
    for word, name in zip(words, told, strict=True):
        if word.speaker is not None:
            together[numbers.index(word.speaker), name] += 1
    pairs = linear_sum_assignment(-together)
    names = {numbers[row]: int(column) for row, column in zip(*pairs, strict=True)}
    return [
        word.speaker is not None and names.get(word.speaker) == name for word, name in zip(words, told, strict=True)
    ]


def main() -> int:
    """Print the figures; 1 where too few words have their speaker."""
    parser = argparse.ArgumentParser(prog="python -m bench.live_speakers", description=__doc__)
    parser.add_argument("recording", type=Path)
    parser.add_argument("turns", type=Path, help="JSON: [{speaker, start_s, end_s}]")
    parser.add_argument("--speaker-models", type=Path, required=True, help="folder of the speaker models")
    parser.add_argument("--model", default="whisper-base")
    parser.add_argument("--model-dir", type=Path, required=True, help="folder of the model, which may be written to")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--pace", type=float, default=1.0, help="times real time")
    arguments = parser.parse_args()
    turns = read_turns(arguments.turns)
    for file in arguments.speaker_models.glob("*.onnx"):
        if not (link := arguments.model_dir / file.name).exists():
            link.symlink_to(file.resolve())
    flags = ["--model", arguments.model, "--model-dir", str(arguments.model_dir), "--precision", arguments.precision]
    with running_server([*flags, "--log-level", "warning"]) as server:
        words = asyncio.run(play(server.url, Recording(read(arguments.recording)), arguments.pace))
    right = right_words(words, turns)
    judged = [good for good, word in zip(right, words, strict=True) if word.start >= LEARNING_S]
    share = sum(judged) / max(len(judged), 1)
    print(f"words              {len(words):8d}")
    print(
        f"speakers           {len({word.speaker for word in words} - {None}):8d} of {len({t.speaker for t in turns})}"
    )
    print(f"right              {sum(right) / max(len(right), 1):8.1%}")
    print(f"right after {LEARNING_S:.0f} s   {share:8.1%} of {len(judged)}")
    print(f"without a speaker  {sum(word.speaker is None for word in words):8d}")
    return 0 if judged and share >= MIN_RIGHT else 1


if __name__ == "__main__":
    sys.exit(main())
