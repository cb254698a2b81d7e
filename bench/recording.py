"""What the sessions say: a conversation put together from the repository's clips, or any file."""

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr

from molva.audio.array import open_audio
from molva.engines.silero import load_vad
from molva.samples import SAMPLE_RATE, Samples, seconds
from molva.speech.endpoint import SpeechDetector, SpeechRule
from molva.speech.live import LiveRule
from molva.speech.vad import FRAME, VadStream

CLIPS = Path(__file__).parent.parent / "tests" / "data" / "gigaam-tiny-ru"

RATE = 48_000
"""Hz, of what is sent; the rate of browsers and telephony bridges."""

FRAME_S = 0.02
"""Seconds of one message, as WebRTC sends them."""

FRAME_BYTES = 2 * int(FRAME_S * RATE)

SEED = 7
NOISE = 0.0005
"""Of pauses, root mean square: -66 dB."""

PAUSE_S = (0.6, 1.2)
"""Between two clips of one turn."""

TURN_S = (6.0, 9.0)
"""While the other side speaks."""

CLIPS_PER_TURN = 2


@dataclass(frozen=True)
class Utterance:
    """Speech between two pauses that end an utterance; seconds of the stream."""

    start: float
    end: float


def read(path: Path) -> Samples:
    """A file of any format."""
    with open_audio(path) as reader:
        return np.concatenate(list(reader))


def conversation() -> Samples:
    """One side of a conversation: speech for about 60 % of the time, always the same."""
    noise = np.random.default_rng(SEED)

    def pause(bounds_s: tuple[float, float]) -> Samples:
        n_samples = int(noise.uniform(*bounds_s) * SAMPLE_RATE)
        return noise.standard_normal(n_samples, np.float32) * np.float32(NOISE)

    def parts() -> Iterator[Samples]:
        for number, path in enumerate(clips()):
            yield pause(PAUSE_S if number % CLIPS_PER_TURN else TURN_S)
            yield read(path)

    return np.concatenate(list(parts()))


def clips() -> list[Path]:
    """Clips that the small model was trained on, and others, in turn."""
    lists = [
        [CLIPS / folder / entry["filename"] for entry in json.loads((CLIPS / folder / "manifest.json").read_bytes())]
        for folder in ("unseen", "seen")
    ]
    return [path for pair in itertools.zip_longest(*lists) for path in pair if path is not None]


class Recording:
    """A recording that is played in a loop, from different places."""

    def __init__(self, samples: Samples) -> None:
        """`samples`: mono, 16 kHz."""
        whole = samples.size // round(FRAME_S * SAMPLE_RATE) * round(FRAME_S * SAMPLE_RATE)
        self.samples = samples[:whole]
        resampled = soxr.resample(self.samples, SAMPLE_RATE, RATE, quality="HQ")
        pcm = (np.clip(resampled, -1, 1) * 32767).astype("<i2").tobytes()
        self.frames = [pcm[i : i + FRAME_BYTES] for i in range(0, len(pcm) - FRAME_BYTES + 1, FRAME_BYTES)]
        """PCM16 messages of FRAME_S each."""

    @property
    def duration_s(self) -> float:
        return seconds(self.samples.size)

    def utterances(self, first_frame: int, n_frames: int) -> list[Utterance]:
        """What is said in `n_frames` messages from `first_frame` on, by molva's own voice activity and endpoint."""
        frame = round(FRAME_S * SAMPLE_RATE)
        played = np.take(self.samples, np.arange(first_frame * frame, (first_frame + n_frames) * frame), mode="wrap")
        vad, detector = VadStream(load_vad()), SpeechDetector(SpeechRule(min_silence=LiveRule().min_silence))
        spans = detector.feed(np.concatenate([vad.feed(block) for block in np.split(played, n_frames)]))
        spans += detector.flush()
        return [Utterance(span.start * FRAME / SAMPLE_RATE, span.end * FRAME / SAMPLE_RATE) for span in spans]
